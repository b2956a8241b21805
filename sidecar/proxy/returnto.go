package proxy

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	home        = "/"
	maxReturnTo = 2 << 10
)

// ReturnTo returns where a browser may be sent back to: raw, if it is a path on
// this very origin, with or without a query, and else "/". Nothing is repaired.
//
// The threat: an open redirect lends this site's name to another. Browsers take
// "//host", "/\host" and, with a tab or newline dropped, "/<tab>/host" for another
// origin, and servers on the way may decode an escape or resolve a ".." once more;
// so both the path as it is and the path decoded once must be harmless.
//
// Of the sidecar's own pages, whose prefix is given (it is never empty), only the first one is ever
// returned to: the others mean something in their turn only.
func ReturnTo(raw, prefix string) string {
	if len(raw) > maxReturnTo || strings.ContainsFunc(raw, oddInTarget) {
		return home
	}
	decoded, err := url.PathUnescape(raw)
	if err != nil || !harmless(raw) || !harmless(decoded) {
		return home
	}
	u, err := url.Parse(raw)
	if err != nil || *u != (url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery, ForceQuery: u.ForceQuery}) {
		return home // it parses as more than path and query
	}
	if u.Path == prefix || strings.HasPrefix(u.Path, prefix+"/") {
		return prefix
	}
	return raw
}

// oddInTarget knows what no browser sends in a request line.
func oddInTarget(c rune) bool { return c <= ' ' || c > '~' || c == '#' }

// harmless reports whether a target starts with exactly one "/", has a path
// without empty and dot segments, and holds no backslash and no control character.
func harmless(target string) bool {
	if strings.ContainsFunc(target, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' }) {
		return false
	}
	path, _, _ := strings.Cut(target, "?")
	if !strings.HasPrefix(path, "/") || strings.Contains(path, "//") {
		return false
	}
	return !slices.ContainsFunc(strings.Split(path, "/"), func(segment string) bool {
		return segment == "." || segment == ".."
	})
}

// ReturnToFromReferer returns the page that the request was sent from, where that
// is a page of this origin, and else "/".
func ReturnToFromReferer(r *http.Request, prefix string) string {
	if len(r.Header["Referer"]) != 1 {
		return home
	}
	u, err := url.Parse(r.Header.Get("Referer"))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil {
		return home
	}
	if u.Host == "" || !strings.EqualFold(withoutPort(u.Host, u.Scheme), withoutPort(r.Host, u.Scheme)) {
		return home
	}
	target := u.EscapedPath()
	if u.RawQuery != "" {
		target += "?" + u.RawQuery
	}
	return ReturnTo(target, prefix)
}

// withoutPort removes the scheme's default port, which browsers do not send.
func withoutPort(host, scheme string) string {
	name, port, err := net.SplitHostPort(host)
	if err != nil || (scheme == "https" && port != "443") || (scheme == "http" && port != "80") {
		return host
	}
	if strings.Contains(name, ":") {
		return "[" + name + "]"
	}
	return name
}
