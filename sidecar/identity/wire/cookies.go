// Package wire is the sidecar's one reading of the parts of a request that
// servers are known to read differently: the Cookie header, Set-Cookie lines and
// the forwarding headers. Hygiene, identity and the proxy share it on purpose. If
// two of them read the same bytes differently, a request could be nobody's at the
// door and somebody's behind it.
//
// It imports the standard library only. It never changes a byte that it was not
// asked to remove, and never decides whether a request may pass.
package wire

import (
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const blank = " \t"

// Pair is one cookie of a Cookie header, with name and value as they were
// written. A piece without "=" is all name, and Bare.
type Pair struct {
	Name, Value string
	Bare        bool
}

// CookieLine returns all Cookie headers as one line, joined as RFC 9113,
// section 8.2.3 joins them.
func CookieLine(h http.Header) string { return strings.Join(h["Cookie"], "; ") }

// SetCookieLine replaces all Cookie headers by the line; an empty line removes
// them. It writes over the values that are there: nobody else may have them.
func SetCookieLine(h http.Header, line string) {
	if line == "" {
		h.Del("Cookie")
		return
	}
	if values := h["Cookie"]; len(values) == 1 {
		values[0] = line
		return
	}
	h["Cookie"] = []string{line}
}

// CookieLines returns the values of a Cookie header that is the line: none for an empty
// one.
func CookieLines(line string) []string {
	if line == "" {
		return nil
	}
	return []string{line}
}

// Pairs yields the cookies of a line. Blanks around a pair are not part of it,
// blanks around its "=" are.
func Pairs(line string) iter.Seq[Pair] {
	return func(yield func(Pair) bool) {
		for piece := range strings.SplitSeq(line, ";") {
			if p, ok := ReadPair(piece); ok && !yield(p) {
				return
			}
		}
	}
}

// ReadPair reads what stands between two semicolons of a line. It is not ok where
// that is nothing.
func ReadPair(piece string) (p Pair, ok bool) {
	piece = trim(piece, isBlank)
	if piece == "" {
		return Pair{}, false
	}
	name, value, ok := strings.Cut(piece, "=")
	return Pair{Name: name, Value: value, Bare: !ok}, true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// Folded is the name that the most lenient of servers would give the cookie.
func (p Pair) Folded() string { return Fold(p.lenientName()) }

// lenientName is the name that a server folds.
func (p Pair) lenientName() string {
	if p.Name != "" {
		return p.Name
	}
	// A nameless cookie is sent without its "=", so that "=a=b" may come to be
	// read as "a=b".
	name, _, _ := strings.Cut(strings.TrimLeft(p.Value, "="+blank), "=")
	return name
}

// is reports whether the cookie has a value and exactly this name.
func (p Pair) is(name string) bool { return p.Name == name && !p.Bare }

// Fold returns what lenient servers make of a cookie's name: blanks and quotes
// around it go, an escape is decoded, and space, "." and "[" become "_" as in
// PHP, to which "a[b]" is a part of "a". Case goes too. So do bytes beyond ASCII
// around it: Python and JavaScript take some for blanks, and which depends on
// whether they read Latin-1 or UTF-8. Two names with the same fold may be one cookie
// to an app.
func Fold(name string) string {
	if isPlain(name) {
		return strings.ToLower(name)
	}
	name = trim(name, isAround)
	if decoded, err := url.PathUnescape(name); err == nil {
		name = trim(decoded, isAround)
	}
	if at := strings.IndexByte(name, '['); at > 0 && strings.Contains(name[at:], "]") {
		name = name[:at]
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '.', '[':
			return '_'
		default:
			return r
		}
	}, strings.ToLower(name))
}

// isPlain reports whether every server reads the name as it is written, but for
// its case. Most names are.
func isPlain(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

func isAround(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '\'' }

// trim removes the bytes that are to go from both ends.
func trim(s string, goes func(byte) bool) string {
	for s != "" && goes(s[0]) {
		s = s[1:]
	}
	for s != "" && goes(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// Written yields the cookies with exactly this name as they are written, name and all.
func Written(line, name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for piece := range strings.SplitSeq(line, ";") {
			if p, ok := ReadPair(piece); ok && p.is(name) && !yield(trim(piece, isBlank)) {
				return
			}
		}
	}
}

// Values returns the values of the cookies with exactly this name.
func Values(line, name string) []string {
	var values []string
	for p := range Pairs(line) {
		if p.is(name) {
			values = append(values, p.Value)
		}
	}
	return values
}

// Only returns the value of the one cookie with exactly this name. It is not ok
// where there is none, or more than one.
func Only(line, name string) (value string, ok bool) {
	if !strings.Contains(line, name) { // most lines have none
		return "", false
	}
	count := 0
	for p := range Pairs(line) {
		if p.is(name) {
			value = p.Value
			count++
		}
	}
	return value, count == 1
}

// Without returns the line without the cookies that drop names. What stays keeps
// every byte and its order.
func Without(line string, drop func(Pair) bool) string {
	kept := make([]string, 0, 16) // on the stack, and enough for most lines
	dropped := false
	for piece := range strings.SplitSeq(line, ";") {
		if p, ok := ReadPair(piece); ok && drop(p) {
			dropped = true
			continue
		}
		kept = append(kept, piece)
	}
	if !dropped {
		return line
	}
	rest := strings.TrimLeft(strings.Join(kept, ";"), blank)
	if strings.Trim(rest, ";"+blank) == "" {
		return ""
	}
	return rest
}

// Named returns a predicate for Without: a cookie that any server could take for
// one of the names.
func Named(names []string) func(Pair) bool {
	folds := make([]string, len(names))
	for i, name := range names {
		folds[i] = Fold(name)
	}
	return func(p Pair) bool {
		name := p.lenientName()
		if isPlain(name) { // the fold need not be written down to be compared
			return slices.ContainsFunc(folds, func(fold string) bool {
				return len(fold) == len(name) && strings.EqualFold(fold, name)
			})
		}
		return slices.Contains(folds, Fold(name))
	}
}
