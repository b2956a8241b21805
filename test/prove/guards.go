package main

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Guard is one piece of the product that a requirement or a threat rests on.
type Guard struct {
	// ID names the entry, here and in docs/security-status.md.
	ID string `json:"id"`
	// Rows of docs/security-status.md that it serves.
	Rows []string `json:"rows"`
	// Without says what would be so if it were not there.
	Without string `json:"without"`
	// File that it stands in, from the module's root.
	File string `json:"file"`
	// Guard is its exact text, which the file holds once.
	Guard string `json:"guard"`
	// Gone is the text in its place that removes it.
	Gone string `json:"gone"`
	// Package of the test, from the module's root.
	Package string `json:"package"`
	// Test that must fail then: TestName, or TestName/case.
	Test string `json:"test"`
}

//go:embed guards/*.yaml
var tables embed.FS

// load reads the table. A key that no Guard has is an error.
func load() ([]Guard, error) {
	files, err := tables.ReadDir("guards")
	if err != nil {
		return nil, err
	}
	var all []Guard
	for _, file := range files {
		text, err := tables.ReadFile("guards/" + file.Name())
		if err != nil {
			return nil, err
		}
		var part []Guard
		if err := yaml.UnmarshalStrict(text, &part); err != nil {
			return nil, fmt.Errorf("read guards/%s: %w", file.Name(), err)
		}
		all = append(all, part...)
	}
	return all, nil
}

// faults says what is wrong with a table as far as reading the tree at root can tell.
// Whether a test notices is for the run to find out.
func faults(root string, guards []Guard) []string {
	var found []string
	seen := map[string]bool{}
	tests := map[string]map[string]bool{}
	for _, g := range guards {
		fault := func(format string, args ...any) {
			found = append(found, fmt.Sprintf("guard %q: ", g.ID)+fmt.Sprintf(format, args...))
		}
		if g.ID == "" || g.Without == "" || g.Guard == "" || len(g.Rows) == 0 {
			fault("it lacks an id, its rows, what would be so without it, or its text")
		}
		if seen[g.ID] {
			fault("the id is there twice")
		}
		seen[g.ID] = true
		if _, err := removed(root, g); err != nil {
			fault("%v", err)
		}
		if _, ok := tests[g.Package]; !ok {
			tests[g.Package] = testsOf(root, g.Package)
		}
		if name, _, _ := strings.Cut(g.Test, "/"); !tests[g.Package][name] {
			fault("%s has no %s", g.Package, name)
		}
	}
	return found
}

// removed returns the file without the guard.
func removed(root string, g Guard) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(g.File)))
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), g.Guard); n != 1 {
		return "", fmt.Errorf("its text stands %d times in %s and must stand there once", n, g.File)
	}
	if g.Guard == g.Gone {
		return "", fmt.Errorf("nothing of %s is removed", g.File)
	}
	return strings.Replace(string(text), g.Guard, g.Gone, 1), nil
}

// testsOf names the test functions of a package.
func testsOf(root, pkg string) map[string]bool {
	names := map[string]bool{}
	files, _ := filepath.Glob(filepath.Join(root, filepath.FromSlash(pkg), "*_test.go")) // the pattern is sound
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w*)\(`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // its tests are then missing, which is a fault
		}
		for _, match := range function.FindAllStringSubmatch(string(text), -1) {
			names[match[1]] = true
		}
	}
	return names
}

// chosen returns the guards that the pattern names by id or by row, from one of them on.
func chosen(guards []Guard, pattern, from string) ([]Guard, error) {
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	if from != "" {
		at := slices.IndexFunc(guards, func(g Guard) bool { return g.ID == from })
		if at < 0 {
			return nil, fmt.Errorf("-from: no guard is called %q", from)
		}
		guards = guards[at:]
	}
	if pattern == "" {
		return guards, nil
	}
	return slices.DeleteFunc(slices.Clone(guards), func(g Guard) bool {
		return !re.MatchString(g.ID) && !slices.ContainsFunc(g.Rows, re.MatchString)
	}), nil
}
