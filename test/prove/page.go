package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// status is the page that says what holds, what proves it, and what it rests on.
const status = "docs/security-status.md"

const (
	// none begins a cell that has no test, or no guard, before the reason.
	none = "none: "
	// notYet begins what does not hold.
	notYet = "Not yet"
)

// statusRow is one line of the page: | row | what holds | proved by | guards |.
type statusRow struct {
	id, holds, proof, guards string
	// line of the page.
	line int
}

func rowsOf(page string) []statusRow {
	id := regexp.MustCompile(`^[RT]\d\d$`)
	var rows []statusRow
	for i, line := range strings.Split(page, "\n") {
		cells := strings.Split(line, " | ")
		name := strings.TrimPrefix(cells[0], "| ")
		if len(cells) == 4 && id.MatchString(name) {
			rows = append(rows, statusRow{
				id: name, holds: cells[1], proof: cells[2], guards: strings.TrimSuffix(cells[3], " |"), line: i,
			})
		}
	}
	return rows
}

// guardsFor is the last cell of a row as the table has it, "" where no guard serves it.
func guardsFor(row string, guards []Guard) string {
	var ids []string
	for _, g := range guards {
		if slices.Contains(g.Rows, row) {
			ids = append(ids, "`"+g.ID+"`")
		}
	}
	return strings.Join(ids, ", ")
}

// writePage writes the last cells anew; the rest of the page is written by people.
func writePage(root string, guards []Guard) error {
	name := filepath.Join(root, filepath.FromSlash(status))
	page, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	lines := strings.Split(string(page), "\n")
	for _, row := range rowsOf(string(page)) {
		cell := guardsFor(row.id, guards)
		if cell == "" && strings.HasPrefix(row.guards, none) {
			cell = row.guards
		}
		lines[row.line] = "| " + strings.Join([]string{row.id, row.holds, row.proof, cell}, " | ") + " |"
	}
	return os.WriteFile(name, []byte(strings.Join(lines, "\n")), 0o600)
}

// pageFaults says where the page is not that of the table and of the tree.
func pageFaults(root, page string, guards []Guard) []string {
	var found []string
	rows := map[string]bool{}
	for _, row := range rowsOf(page) {
		fault := func(format string, args ...any) {
			found = append(found, row.id+": "+fmt.Sprintf(format, args...))
		}
		if rows[row.id] {
			fault("it is there twice")
		}
		rows[row.id] = true
		named, missing := proofs(root, row.proof)
		for _, test := range missing {
			fault("there is no %s", test)
		}
		if named == 0 && (!strings.HasPrefix(row.holds, notYet) || !strings.HasPrefix(row.proof, none)) {
			fault("it names no test, and does not say %q and %q", notYet, none)
		}
		want := guardsFor(row.id, guards)
		switch {
		case want == "" && !strings.HasPrefix(row.guards, none):
			fault("no guard serves it, and its last cell does not say %q and why", none)
		case want != "" && want != row.guards:
			fault("its guards are %s: go run ./test/prove -page", want)
		}
	}
	for _, g := range guards {
		for _, row := range g.Rows {
			if !rows[row] {
				found = append(found, fmt.Sprintf("guard %q serves %s, which the page does not have", g.ID, row))
			}
		}
	}
	return found
}

// proofs counts the tests that a cell names, each behind its package: `dir` TestOne,
// TestTwo. missing are those that are not there.
func proofs(root, cell string) (named int, missing []string) {
	dir := ""
	tests := map[string]bool{}
	for _, word := range regexp.MustCompile("`[^`]+`|\\b(?:Test|Fuzz)\\w+").FindAllString(cell, -1) {
		if quoted, ok := strings.CutPrefix(word, "`"); ok {
			dir = strings.TrimSuffix(quoted, "`")
			tests = testsOf(root, dir)
			continue
		}
		named++
		if !tests[word] {
			missing = append(missing, dir+"."+word)
		}
	}
	return named, missing
}
