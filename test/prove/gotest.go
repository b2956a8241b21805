package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// One test may take hangs before a removal made it hang; all of a package take longer.
const (
	hangs  = "90s"
	lastly = "10m"
)

// verdict is how a test ended.
type verdict string

const (
	// red: the test failed, by what it checks.
	red verdict = "red"
	// green: the test passed.
	green verdict = "green"
	// broken: nothing can be said. It did not compile, did not run, hung or crashed.
	broken verdict = "broken"
)

// outcome is what a run of go test said.
type outcome struct {
	tests  map[string]verdict
	output map[string][]string
	build  []string
	// crash is why what failed is no failed check, "" where it is one.
	crash string
}

// event is one line of go test -json.
type event struct {
	Action, Test, Output, FailedBuild string
}

// goTest runs tests of a package by a pattern. An error means that go itself could not run.
func goTest(ctx context.Context, root, pkg, pattern string, more ...string) (*outcome, error) {
	// Nothing that takes time and finds nothing here: vet, and what debuggers read.
	args := append([]string{"test", "-json", "-count=1", "-vet=off", "-ldflags=-s -w", "-run", pattern}, more...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+pkg)...)
	cmd.Dir = root
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	o := read(out)
	if err != nil && len(o.tests) == 0 && len(o.build) == 0 {
		return nil, fmt.Errorf("go test ./%s: %w: %s", pkg, err, strings.TrimSpace(complaints.String()))
	}
	return o, nil
}

func read(stream []byte) *outcome {
	o := &outcome{tests: map[string]verdict{}, output: map[string][]string{}}
	lines := bufio.NewScanner(bytes.NewReader(stream))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue // what a program of the test wrote past it
		}
		switch e.Action {
		case "pass":
			o.tests[e.Test] = green
		case "fail":
			o.tests[e.Test] = red
			if e.FailedBuild != "" && len(o.build) == 0 {
				o.build = []string{"it does not compile"}
			}
		case "build-output":
			o.build = append(o.build, strings.TrimSpace(e.Output))
		case "output":
			if strings.HasPrefix(e.Output, "panic: ") || strings.HasPrefix(e.Output, "fatal error: ") {
				o.crash = strings.TrimSpace(e.Output)
			}
			o.output[e.Test] = append(o.output[e.Test], e.Output)
		}
	}
	return o
}

// of returns how one test ended, and why.
func (o *outcome) of(test string) (v verdict, why string) {
	name := strings.ReplaceAll(test, " ", "_")
	switch v, ran := o.tests[name]; {
	case len(o.build) > 0:
		return broken, "it does not compile: " + strings.Join(o.build, " ")
	case o.crash != "":
		return broken, "it hung or crashed: " + o.crash
	case !ran:
		return broken, test + " did not run"
	default:
		return v, o.complaint(name)
	}
}

// complaint is the first thing that a test, or a case of it, said was wrong.
func (o *outcome) complaint(test string) string {
	said := regexp.MustCompile(`^\s+\w+\.go:\d+: `)
	for _, name := range slices.Sorted(maps.Keys(o.output)) {
		if name != test && !strings.HasPrefix(name, test+"/") || o.tests[name] != red {
			continue
		}
		for _, line := range o.output[name] {
			if said.MatchString(line) {
				return strings.TrimSpace(line)
			}
		}
	}
	return ""
}

// pattern makes a -run pattern of exactly one test.
func pattern(test string) string {
	parts := strings.Split(test, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(strings.ReplaceAll(part, " ", "_")) + "$"
	}
	return strings.Join(parts, "/")
}

// without runs the guard's test on a tree without the guard. Nothing of the tree is
// touched: the compiler is told to read another file in the place of one.
func without(ctx context.Context, root, dir string, g Guard) (verdict, string, error) {
	text, err := removed(root, g)
	if err != nil {
		return "", "", err
	}
	stand := filepath.Join(dir, filepath.Base(g.File))
	if err := os.WriteFile(stand, []byte(text), 0o600); err != nil {
		return "", "", err
	}
	file, err := filepath.Abs(filepath.Join(root, filepath.FromSlash(g.File)))
	if err != nil {
		return "", "", err
	}
	doc, err := json.Marshal(map[string]any{"Replace": map[string]string{file: stand}})
	if err != nil {
		return "", "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, doc, 0o600); err != nil {
		return "", "", err
	}
	o, err := goTest(ctx, root, g.Package, pattern(g.Test), "-failfast", "-timeout", hangs, "-overlay", overlay)
	if err != nil {
		return "", "", err
	}
	v, why := o.of(g.Test)
	return v, why, nil
}

// unchanged runs the tests of some guards of one package on the tree as it is.
func unchanged(ctx context.Context, root, pkg string, guards []Guard) (*outcome, error) {
	var names []string
	for _, g := range guards {
		if name, _, _ := strings.Cut(g.Test, "/"); g.Package == pkg && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return goTest(ctx, root, pkg, "^("+strings.Join(names, "|")+")$", "-timeout", lastly)
}
