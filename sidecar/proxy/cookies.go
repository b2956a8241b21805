package proxy

import (
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/sidecar/identity/wire"
)

const (
	maxCookies     = 100
	maxCookieBytes = 16 << 10
	blank          = " \t"
)

// CookieValue returns the value of one of the sidecar's own cookies. It is not ok
// where the request holds it twice: a sibling domain can add one, and which came
// from here is for nobody to guess.
func CookieValue(r *http.Request, name string) (value string, ok bool) {
	value, ok = wire.Only(wire.CookieLine(r.Header), name)
	if !ok || !isCookieValue(value) {
		return "", false
	}
	return value, true
}

// cleanCookies joins the Cookie headers as RFC 9113, section 8.2.3 does, refuses
// what servers would read differently where it concerns a cookie that decides
// anything, and removes the sidecar's own. Other cookies keep every byte, however
// odd.
func (h *Hygiene) cleanCookies(r *http.Request) *Refusal {
	if len(r.Header["Cookie"]) == 0 {
		return nil
	}
	line := wire.CookieLine(r.Header)
	if len(line) > maxCookieBytes || strings.Count(line, ";") >= maxCookies {
		return &Refusal{
			Status: http.StatusRequestHeaderFieldsTooLarge, Code: CodeCookieSize,
			Detail: "The request carries too many cookies. Delete this site's cookies and sign in again.",
		}
	}
	if hasControl(line) {
		return ambiguousCookie()
	}
	// What is judged is what goes on: one of the sidecar's own cookies may close a
	// quote that is open without it.
	rest, exact := h.withoutOwn(line)
	if !exact || !h.significant.unambiguous(rest) {
		return ambiguousCookie()
	}
	wire.SetCookieLine(r.Header, rest)
	return nil
}

// withoutOwn removes the sidecar's cookies, and reports whether all of them came
// under their exact names.
func (h *Hygiene) withoutOwn(line string) (rest string, exact bool) {
	exact = true
	rest = wire.Without(line, func(p wire.Pair) bool {
		own := h.own.alike(p)
		exact = exact && (!own || h.own.exact(p.Name))
		return own
	})
	return rest, exact
}

func ambiguousCookie() *Refusal {
	return malformed(CodeCookie, "A cookie of this request can be read in more than one way. "+
		"Delete this site's cookies and sign in again.")
}

func hasControl(line string) bool {
	for i := range len(line) {
		if line[i] < ' ' || line[i] == 0x7f {
			return true
		}
	}
	return false
}

// names are cookies that must come under their exact names.
type names struct {
	spelled []string
	// alike knows the cookies that any server could take for one of them.
	alike func(wire.Pair) bool
}

func newNames(spelled []string) names { return names{spelled: spelled, alike: wire.Named(spelled)} }

func (n names) exact(name string) bool { return slices.Contains(n.spelled, name) }

// unambiguous reports whether every server finds the same significant cookies in
// the line: each at most once, under its exact name, with a value of plain
// cookie-octets (RFC 6265, section 4.1.1), and none inside anything else.
func (n names) unambiguous(line string) bool {
	if len(n.spelled) == 0 {
		return true
	}
	seen := make([]string, 0, 8) // on the stack
	var quoted quotes
	for piece := range strings.SplitSeq(line, ";") {
		switch p, ok := wire.ReadPair(piece); {
		case !ok:
		case !n.alike(p):
			if n.within(piece) {
				return false
			}
		case !n.exact(p.Name), p.Bare, !isCookieValue(p.Value), slices.Contains(seen, p.Name), quoted.open():
			return false
		default:
			seen = append(seen, p.Name)
		}
		quoted.read(piece)
	}
	return true
}

// within reports whether a cookie holds a significant one for servers that
// separate cookies by a comma (RFC 2109) or a blank (Python's http.cookies), or
// that look into a quoted value.
func (n names) within(piece string) bool {
	for at := range len(piece) {
		if piece[at] != '=' {
			continue
		}
		before := strings.TrimRight(piece[:at], ` "`)
		start := strings.LastIndexAny(before, `=, "`) + 1
		startsWord := start > 0 && before[start-1] != '='
		if startsWord && n.alike(wire.Pair{Name: before[start:]}) {
			return true
		}
	}
	return false
}

// quotes follows a quoted value across semicolons, in both readings that servers
// have of a backslash in it.
type quotes struct{ plain, escaped bool }

func (q *quotes) open() bool { return q.plain || q.escaped }

func (q *quotes) read(piece string) {
	if strings.IndexByte(piece, '"') < 0 {
		return // it neither opens nor closes any
	}
	_, value, _ := strings.Cut(piece, "=")
	value, starts := strings.CutPrefix(strings.TrimLeft(value, blank), `"`)
	q.plain = staysOpen(q.plain, starts, piece, value, false)
	q.escaped = staysOpen(q.escaped, starts, piece, value, true)
}

// staysOpen reports whether a quoted value reaches beyond the piece. One that was
// open before may end anywhere in it; a new one starts with the value.
func staysOpen(open, starts bool, piece, value string, escapes bool) bool {
	switch {
	case open:
		return !closes(piece, escapes)
	case starts:
		return !closes(value, escapes)
	default:
		return false
	}
}

func closes(s string, escapes bool) bool {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && escapes:
			i++
		case s[i] == '"':
			return true
		}
	}
	return false
}

// isCookieValue reports whether a value consists of cookie-octets.
func isCookieValue(value string) bool {
	for i := range len(value) {
		switch c := value[i]; {
		case c <= ' ', c >= 0x7f, c == '"', c == ',', c == ';', c == '\\':
			return false
		}
	}
	return true
}
