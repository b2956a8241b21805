package wire

import (
	"net/http"
	"slices"
)

// SameHeader reports whether some server could take one header name for the
// other. CGI and its heirs turn every "-" into "_" and ignore case, and some turn
// whatever else is not a letter or a digit into "_" too.
func SameHeader(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && foldHeaderByte(a[i]) != foldHeaderByte(b[i]) {
			return false
		}
	}
	return true
}

func foldHeaderByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	default:
		return '-'
	}
}

// HeaderSet is a set of header names that finds each in every spelling that
// SameHeader knows. It keeps them by length, which all spellings have in common.
type HeaderSet [][]string

// NewHeaderSet returns the set of the names.
func NewHeaderSet(names ...string) HeaderSet {
	var s HeaderSet
	for _, name := range names {
		for len(s) <= len(name) {
			s = append(s, nil)
		}
		s[len(name)] = append(s[len(name)], name)
	}
	return s
}

// Has reports whether some server could take the name for one of the set.
func (s HeaderSet) Has(name string) bool {
	return len(name) < len(s) &&
		slices.ContainsFunc(s[len(name)], func(member string) bool { return SameHeader(member, name) })
}

// DelHeader removes a header in every spelling that SameHeader knows.
func DelHeader(h http.Header, name string) {
	for key := range h {
		if SameHeader(key, name) {
			delete(h, key)
		}
	}
}
