package policy

import (
	"slices"
	"strings"
)

// nearest returns the candidate that name is probably a misspelling of, "" for
// none: it differs in case only, or by at most two letters of a longer name.
func nearest(name string, candidates []string) string {
	if len(name) > maxField {
		return ""
	}
	best, limit := "", min(2, len(name)/3)
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if strings.EqualFold(c, name) {
			return c
		}
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d <= limit {
			best, limit = c, d-1
		}
	}
	return best
}

// distance is the Levenshtein distance of two names, by bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
