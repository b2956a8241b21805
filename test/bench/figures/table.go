package figures

import (
	"fmt"
	"math"
	"strings"
)

// Table is rows of figures, with a column for each contender.
type Table struct {
	columns []string
	rows    []string
	cells   map[string]map[string]string
}

// NewTable returns a table with these columns.
func NewTable(columns ...string) *Table {
	return &Table{columns: columns, cells: make(map[string]map[string]string)}
}

// Set notes a figure. Rows stand in the order in which they were first set.
func (t *Table) Set(row, column, value string) {
	if t.cells[row] == nil {
		t.cells[row] = make(map[string]string)
		t.rows = append(t.rows, row)
	}
	t.cells[row][column] = value
}

// Markdown is the table. What was not measured is a dash.
func (t *Table) Markdown() string {
	var out strings.Builder
	line := func(cells ...string) { fmt.Fprintf(&out, "| %s |\n", strings.Join(cells, " | ")) }
	line(append([]string{"what"}, t.columns...)...)
	line(strings.Fields(strings.Repeat("--- ", len(t.columns)+1))...)
	for _, row := range t.rows {
		cells := []string{row}
		for _, column := range t.columns {
			value := t.cells[row][column]
			if value == "" {
				value = "–"
			}
			cells = append(cells, value)
		}
		line(cells...)
	}
	return out.String()
}

// Show writes median and spread in one format, "" where there is no number, and the
// spread only where there is one.
func Show(format string, s Summary) string {
	if math.IsNaN(s.Median) || math.IsInf(s.Median, 0) {
		return ""
	}
	median, least, most := fmt.Sprintf(format, s.Median), fmt.Sprintf(format, s.Min), fmt.Sprintf(format, s.Max)
	if least == most {
		return median
	}
	return fmt.Sprintf("%s (%s–%s)", median, least, most)
}
