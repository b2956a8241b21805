package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

const root = "../.."

var (
	link = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	code = regexp.MustCompile("`[^`]*`")
)

// pages are the documents of the module, by their paths from its root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(filepath.ToSlash(file), root+"/")
		if d.IsDir() {
			if base := d.Name(); file != root && (strings.HasPrefix(base, ".") || base == "testdata" || base == "bin") {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".md" {
			return nil
		}
		text, err := os.ReadFile(file)
		all[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 15 {
		t.Fatalf("found %d documents, want all of them", len(all))
	}
	return all
}

func TestLinksLeadSomewhere(t *testing.T) {
	all := pages(t)
	for _, fault := range broken(all, func(file string) bool {
		_, err := os.Stat(filepath.Join(root, file))
		return err == nil
	}) {
		t.Error(fault)
	}
}

func TestBrokenLinksAreFound(t *testing.T) {
	give := map[string]string{
		"docs/a.md": "# Top\n[b](b.md) [c](b.md#two-words-again) [self](#top) [out](https://example.com/x) [code](../cmd)\n" +
			"## `kubectl get`: what, and *why*?\n[it](#kubectl-get-what-and-why)\n`[not](a link)` \n```\n[nor](this)\n# Nor this\n```\n",
		"docs/b.md": "# Two words\n\n# Two words\n\n## Two words, again\n[first](#two-words) [second](#two-words-1)\n",
		"README.md": "[a](docs/a.md#nor-this) [b](docs/missing.md) [c](docs/b.md#two-words-2) [d](docs/b.md#Two-words)\n",
	}
	want := []string{
		"README.md: docs/a.md#nor-this: there is no such heading",
		"README.md: docs/missing.md: there is no such file",
		"README.md: docs/b.md#two-words-2: there is no such heading",
		"README.md: docs/b.md#Two-words: there is no such heading",
	}
	if diff := cmp.Diff(want, broken(give, func(file string) bool { return file == "cmd" })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// broken says which links within the documents lead nowhere. exists tells of files that
// are no documents.
func broken(all map[string]string, exists func(file string) bool) []string {
	anchors := make(map[string]map[string]bool)
	for page, text := range all {
		anchors[page] = anchorsOf(text)
	}
	var faults []string
	for page, text := range all {
		for _, found := range link.FindAllStringSubmatch(code.ReplaceAllString(prose(text), ""), -1) {
			target := found[1]
			if strings.Contains(target, ":") {
				continue // it leads out
			}
			file, anchor, _ := strings.Cut(target, "#")
			to := page
			if file != "" {
				to = path.Join(path.Dir(page), file)
			}
			headings, isPage := anchors[to]
			switch {
			case !isPage && !exists(to):
				faults = append(faults, fmt.Sprintf("%s: %s: there is no such file", page, target))
			case anchor != "" && !headings[anchor]:
				faults = append(faults, fmt.Sprintf("%s: %s: there is no such heading", page, target))
			}
		}
	}
	return faults
}

// prose is a document without its blocks of code.
func prose(text string) string {
	var kept strings.Builder
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		if !fenced {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// anchorsOf are the names by which a document's headings are linked to, as GitHub makes
// them.
func anchorsOf(text string) map[string]bool {
	anchors := make(map[string]bool)
	seen := make(map[string]int)
	for line := range strings.Lines(prose(text)) {
		hashes := len(line) - len(strings.TrimLeft(line, "#"))
		if hashes == 0 || hashes > 6 || !strings.HasPrefix(line[hashes:], " ") {
			continue
		}
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(line[hashes:]))
		if n := seen[slug]; n > 0 {
			anchors[fmt.Sprintf("%s-%d", slug, n)] = true
		} else {
			anchors[slug] = true
		}
		seen[slug]++
	}
	return anchors
}
