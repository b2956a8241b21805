package proxy_test

import (
	"bufio"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sidecar/proxy"
)

// Targets as they stand in a request line. A canonical one is exempt-able.
var canonicalTargets = []string{
	"/", "/a", "/a/", "/public/logo.png", "/public/a.b.c", "/a-b_c~d", "/a:b@c", "/!$&'()*+,=", "/public?../admin",
	"/public?x=%2e%2e/&y;z", "/public?", "/a..b", "/a.", "/static/app.3f2a.js",
}

// Whatever else is the app's own business, and must reach it byte for byte.
var oddTargets = []string{
	"//", "//evil/admin", "///a", "/public//admin", "/a//", "/.", "/..", "/./a", "/../a", "/public/../admin",
	"/public/./../admin", "/public/..", "/public/.hidden", "/public/...", "/public/..;/admin", "/public;/admin",
	"/public/;a=b/admin", "/a;jsessionid=1", "/public/%2e%2e/admin", "/public/%2E./admin", "/public/.%2e/admin",
	"/public%2f..%2fadmin", "/public%2Fadmin", "/public%5cadmin", "/public%5C..%5Cadmin", `/public\admin`,
	`/public\..\admin`, `/\evil`, "/%2f%2fevil", "/public%00", "/public%00.png", "/public%0a", "/public%0d%0aX:y",
	"/public%20", "/public%09/admin", "/public%3f/admin", "/public%23/admin", "/public#/admin", "/#", "/public#",
	"/%61dmin", "/admin%", "/public/%252e%252e/admin", "/public%c0%ae%c0%ae/admin", "/public/\u00fc", "/public/\uff0e\uff0e/admin",
	"/public/%u002e/admin", "//a|b", "/%5b",
	"/x?/public#", "/public%3B/admin", "/public%E2%80%AE", "/a%2520b", "/%7Eadmin",
}

// Bytes that may not stand in a path and that browsers send all the same. Every
// server reads them alike, but Go would escape them on the way.
var unwiseTargets = []string{"/a|b", `/a"b`, "/a<b>", "/a{b}", "/a^b`", "/[::1]"}

func TestPathsReachTheAppUntouched(t *testing.T) {
	seen := make(chan string, 1)
	s := newStack(t, setup{app: func(_ http.ResponseWriter, r *http.Request) { seen <- r.RequestURI }})
	for _, target := range slices.Concat(canonicalTargets, oddTargets, unwiseTargets) {
		for _, query := range []string{"", "?", "?a=b;c=%zz&%&é=\"x\"&;", "?x=1&x=2&&#y"} {
			if strings.Contains(target, "?") {
				query = ""
			}
			c := dial(t, s.addr)
			c.send(t, "GET "+target+query+" HTTP/1.1\nHost: a\n\n")
			response := c.response(t)
			if response.StatusCode == http.StatusBadRequest && strings.Contains(target, "%") {
				continue // net/http refuses an escape that is none
			}
			want := target + query
			if strings.HasPrefix(target, "//a|") {
				want = "//a%7Cb" + query // the one form that cannot be sent as it is
			}
			if got := await(t, "the request for "+target+query, seen); got != want {
				t.Errorf("%q came as %q", want, got)
			}
			_ = c.Close()
		}
	}
}

func parse(t *testing.T, target string) (*http.Request, bool) {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n")))
	return r, err == nil
}

func TestCanonicalPath(t *testing.T) {
	for _, target := range canonicalTargets {
		r, ok := parse(t, target)
		want, _, _ := strings.Cut(target, "?")
		if got, canonical := proxy.CanonicalPath(r); !ok || got != want || !canonical {
			t.Errorf("%q: got %q, %t", target, got, canonical)
		}
	}
	for _, target := range oddTargets {
		if target == "/x?/public#" {
			continue // an odd query behind a plain path
		}
		if r, ok := parse(t, target); ok {
			if got, canonical := proxy.CanonicalPath(r); canonical {
				t.Errorf("%q: %q is taken for canonical", target, got)
			}
		}
	}
	rerouted := get("/public")
	rerouted.URL.Path = "/admin"
	if _, canonical := proxy.CanonicalPath(rerouted); canonical {
		t.Error("a path that differs from the one in use is taken for canonical")
	}
	synthetic := get("/public/x")
	synthetic.RequestURI = ""
	if got, canonical := proxy.CanonicalPath(synthetic); got != "/public/x" || !canonical {
		t.Errorf("got %q, %t", got, canonical)
	}
}

func FuzzCanonicalPath(f *testing.F) {
	for _, target := range slices.Concat(canonicalTargets, oddTargets, unwiseTargets) {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		if strings.ContainsAny(target, "\r\n") {
			return
		}
		r, ok := parse(t, target)
		if !ok {
			return
		}
		path, canonical := proxy.CanonicalPath(r)
		if !canonical {
			return
		}
		raw, _, _ := strings.Cut(target, "?")
		if path != raw || path != r.URL.Path || r.URL.Host != "" {
			t.Fatalf("%q: %q is canonical and yet read as %q", target, path, r.URL.Path)
		}
		if strings.ContainsAny(path, "%;\\#?\x00 ") || strings.Contains(path, "//") || strings.Contains(path, "/.") {
			t.Fatalf("%q is taken for canonical", path)
		}
	})
}
