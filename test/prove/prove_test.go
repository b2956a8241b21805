package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "../.."

func table(t *testing.T) []Guard {
	t.Helper()
	guards, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if len(guards) < 60 {
		t.Fatalf("the table has %d guards", len(guards))
	}
	return guards
}

// The table cannot rot in silence: whoever moves a guard or a test moves its entry.
func TestTableIsOfThisTree(t *testing.T) {
	for _, fault := range faults(root, table(t)) {
		t.Error(fault)
	}
}

func TestPageIsOfTheTable(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, status))
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range pageFaults(root, string(page), table(t)) {
		t.Errorf("%s: %s", status, fault)
	}
	var got, want []string
	for _, row := range rowsOf(string(page)) {
		got = append(got, row.id)
	}
	for _, span := range []struct {
		kind        string
		first, last int
	}{{"R", 1, 60}, {"T", 4, 35}, {"T", 40, 40}, {"T", 43, 50}} {
		for n := span.first; n <= span.last; n++ {
			want = append(want, fmt.Sprintf("%s%02d", span.kind, n))
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows of %s (-want +got):\n%s", status, diff)
	}
}

func TestChosen(t *testing.T) {
	all := []Guard{{ID: "one", Rows: []string{"R01", "T07"}}, {ID: "two", Rows: []string{"R02"}}, {ID: "three", Rows: []string{"R01"}}}
	for _, tt := range []struct {
		name, pattern, from string
		want                []string
	}{
		{"all", "", "", []string{"one", "two", "three"}},
		{"by id", "two", "", []string{"two"}},
		{"by row", "R01", "", []string{"one", "three"}},
		{"a part of an id is none", "on", "", nil},
		{"from one on", "", "two", []string{"two", "three"}},
		{"by row, from one on", "R01", "two", []string{"three"}},
	} {
		got, err := chosen(all, tt.pattern, tt.from)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, g := range got {
			ids = append(ids, g.ID)
		}
		if !slices.Equal(ids, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, ids, tt.want)
		}
	}
	for _, bad := range [][2]string{{"(", ""}, {"", "four"}} {
		if _, err := chosen(all, bad[0], bad[1]); err == nil {
			t.Errorf("-run %q -from %q is taken", bad[0], bad[1])
		}
	}
}

// tree is a module with one guard and its test.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":       "module example.test/door\n\ngo 1.26\n",
		"door/door.go": "package door\n\nfunc Opens(key string) bool { return key == \"right\" }\n",
		"door/door_test.go": `package door

import "testing"

func TestWrongKey(t *testing.T) {
	t.Run("a wrong key", func(t *testing.T) {
		if Opens("wrong") {
			t.Error("a wrong key opens")
		}
	})
}

func TestNothing(*testing.T) {}

func TestNeverGreen(t *testing.T) { t.Error("always") }
`,
	} {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// guardOf is the tree's guard after an edit.
func guardOf(edit func(*Guard)) Guard {
	g := Guard{
		ID: "right-key", Rows: []string{"R01"}, Without: "any key opens", File: "door/door.go",
		Guard: `key == "right"`, Gone: "key != \"\"", Package: "door", Test: "TestWrongKey",
	}
	edit(&g)
	return g
}

func TestProve(t *testing.T) {
	t.Parallel()
	dir := tree(t)
	for _, tt := range []struct {
		name string
		edit func(*Guard)
		want verdict
		says string
	}{
		{"a test that notices", func(*Guard) {}, red, "a wrong key opens"},
		{"a case that notices", func(g *Guard) { g.Test = "TestWrongKey/a wrong key" }, red, "a wrong key opens"},
		{"a test that does not notice", func(g *Guard) { g.Test = "TestNothing" }, green, "any key opens"},
		{"a removal that does not compile", func(g *Guard) { g.Gone = "nonsense" }, broken, "does not compile"},
		{"a removal that crashes", func(g *Guard) { g.Gone = "[]bool{}[len(key)]" }, broken, "hung or crashed: panic: "},
		{"a case that there is not", func(g *Guard) { g.Test = "TestWrongKey/no key" }, broken, "did not run"},
		{"a test that fails anyway", func(g *Guard) { g.Test = "TestNeverGreen" }, broken, "not green with the guard in place"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			err := prove(t.Context(), &out, dir, []Guard{guardOf(tt.edit)}, true)
			if unproven := errors.Is(err, errUnproven); unproven != (tt.want != red) || err != nil && !unproven {
				t.Errorf("it ends with %v", err)
			}
			if !strings.Contains(out.String(), "[1/1] "+string(tt.want)+" ") || !strings.Contains(out.String(), tt.says) {
				t.Errorf("want %s and %q:\n%s", tt.want, tt.says, out.String())
			}
		})
	}
	text, err := os.ReadFile(filepath.Join(dir, "door/door.go"))
	if err != nil || !strings.Contains(string(text), `key == "right"`) {
		t.Errorf("the tree was changed: %v\n%s", err, text)
	}
}

func TestProveStopsAndSaysWhereToGoOn(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	err := prove(ctx, &out, tree(t), []Guard{guardOf(func(*Guard) {})}, false)
	if !errors.Is(err, context.Canceled) || !strings.Contains(out.String(), "-from right-key") {
		t.Errorf("it ends with %v and says\n%s", err, out.String())
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	dir := tree(t)
	for _, tt := range []struct {
		name string
		edit func(*Guard)
		want string
	}{
		{"nothing", func(*Guard) {}, ""},
		{"a guard that has moved", func(g *Guard) { g.Guard = "key == 'right'" }, "stands 0 times"},
		{"a text that is no one place", func(g *Guard) { g.Guard = "key" }, "stands 2 times"},
		{"a removal that removes nothing", func(g *Guard) { g.Gone = g.Guard }, "nothing of door/door.go is removed"},
		{"a file that is gone", func(g *Guard) { g.File = "door/window.go" }, "no such file"},
		{"a test that is gone", func(g *Guard) { g.Test = "TestRightKey" }, "door has no TestRightKey"},
		{"no rows", func(g *Guard) { g.Rows = nil }, "it lacks"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(faults(dir, []Guard{guardOf(tt.edit)}), "\n")
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	g := guardOf(func(*Guard) {})
	if got := faults(dir, []Guard{g, g}); len(got) != 1 || !strings.Contains(got[0], "there twice") {
		t.Errorf("twice the same: %q", got)
	}
}

func TestPageFaults(t *testing.T) {
	t.Parallel()
	dir := tree(t)
	guards := []Guard{guardOf(func(*Guard) {})}
	good := "| R01 | Only the right key opens. | `door` TestWrongKey | `right-key` |\n"
	for _, tt := range []struct{ name, page, want string }{
		{"what holds", good, ""},
		{"what does not hold yet", good + "| R02 | Not yet: no lock. | none: no lock | none: no lock |\n", ""},
		{"what holds in part", good + "| R02 | Not yet: no lock. | `door` TestNothing | none: no lock |\n", ""},
		{"a test that is gone", strings.Replace(good, "TestWrongKey", "TestRightKey", 1), "there is no door.TestRightKey"},
		{"other guards", strings.Replace(good, "`right-key`", "`left-key`", 1), "its guards are `right-key`"},
		{"no guard and no reason", good + "| R02 | It shuts. | `door` TestNothing | |\n", "no guard serves it"},
		{"no test and no reason", good + "| R02 | It shuts. | by looking | none: a door |\n", "names no test"},
		{"a row twice", good + good, "there twice"},
		{"a row of the table that is missing", "", "which the page does not have"},
	} {
		got := strings.Join(pageFaults(dir, tt.page, guards), "\n")
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestWritePage(t *testing.T) {
	t.Parallel()
	dir := tree(t)
	file := filepath.Join(dir, status)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	const head = "# Status\n\n| row | what holds | proved by | guards |\n| --- | --- | --- | --- |\n"
	before := head + "| R01 | Only the right key opens. | `door` TestWrongKey | |\n| R02 | Not yet: no lock. | none: x | none: no lock |\n"
	want := head + "| R01 | Only the right key opens. | `door` TestWrongKey | `right-key` |\n| R02 | Not yet: no lock. | none: x | none: no lock |\n"
	if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writePage(dir, []Guard{guardOf(func(*Guard) {})}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
