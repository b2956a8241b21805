package proxy_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sidecar/proxy"
)

const prefix = "/my/profile/two-factor"

func TestReturnTo(t *testing.T) {
	for _, target := range []string{
		"/", "/a", "/a/b/", "/a?b=c&d", "/a?", "/a?next=https://evil.example//x", "/a%20b", "/%C3%BC", "/a;b=c/d", "/@user",
		"/a:b", "/a?x=%2F%2Fevil", "/a?redirect=/b/../c", "/my/profile", "/my/profile/two-factors", "/a.b/..c", "/a?b=%23",
		"/" + strings.Repeat("a", 2047),
	} {
		if got := proxy.ReturnTo(target, prefix); got != target {
			t.Errorf("%q became %q", target, got)
		}
	}
	for _, odd := range []string{
		"", "a", "a/b", "?a", "#a", "//", "//evil.example", "///evil.example", "//evil.example/%2f..", "/\\evil.example",
		"\\\\evil.example", "\\/evil.example", "/\t/evil.example", "/\n/evil.example", "\t//evil.example", " //evil.example",
		" /a", "/a b", "/%09/evil.example", "/%0a/evil.example", "/%0d%0aSet-Cookie:x", "/%5cevil.example", "/%5C/evil.example",
		"/%2f/evil.example", "/%2Fevil.example", "/%2f%2fevil.example", "/..//evil.example", "/../evil", "/a/../b", "/a/..",
		"/.", "/./a", "/a/./b", "/%2e%2e/a", "/a/%2e%2e", "/.%2e//evil.example", "/a//b", "/a%2f%2fb", "/a\\b", "/a?b\\c", "/a?b=%5c",
		"https://evil.example", "https:evil.example", "https:/evil.example", "http:evil", "javascript:alert(1)",
		"JaVaScRiPt:alert(1)", "data:text/html,x", "mailto:a@b", "//user@evil.example", "/a\x00", "/a%00", "/a\x7f", "/a%7f",
		"/a\x80", "/ü", "/a#b", "/a%", "/a%zz", "/a?b=%", "/a?b=\x01", "/a?b=%0a", "/" + strings.Repeat("a", 2048),
	} {
		if got := proxy.ReturnTo(odd, prefix); got != "/" {
			t.Errorf("%q became %q", odd, got)
		}
	}
	for _, own := range []string{
		prefix, prefix + "/", prefix + "?return_to=/a", prefix + "/challenge", prefix + "/enable?x", prefix + "/challenge/x",
		"/my/profile/two%2dfactor/disable", "/my/profile/two-factor%2fdisable",
	} {
		if got := proxy.ReturnTo(own, prefix); got != prefix {
			t.Errorf("%q became %q", own, got)
		}
	}
}

func TestReturnToFromReferer(t *testing.T) {
	for referer, want := range map[string]string{
		"http://app.example/a/b?c=d#e":                    "/a/b?c=d",
		"https://app.example/a":                           "/a",
		"https://APP.example:443/a":                       "/a",
		"http://app.example:80/a":                         "/a",
		"https://app.example":                             "/",
		"https://app.example:8443/a":                      "/",
		"https://evil.example/a":                          "/",
		"https://app.example.evil/a":                      "/",
		"https://app.example@evil.example/a":              "/",
		"https://user@app.example/a":                      "/",
		"ftp://app.example/a":                             "/",
		"//app.example/a":                                 "/",
		"/a":                                              "/",
		"app.example/a":                                   "/",
		"https:///a":                                      "/",
		"https://app.example//evil.example":               "/",
		"https://app.example/%5cevil.example":             "/",
		"https://app.example/a?b=%0d%0a":                  "/",
		"https://app.example/my/profile/two-factor/x?y":   prefix,
		"https://app.example/" + strings.Repeat("a", 3e3): "/",
		"://": "/",
		"":    "/",
	} {
		r := get("http://app.example/x", "Referer", referer)
		if got := proxy.ReturnToFromReferer(r, prefix); got != want {
			t.Errorf("%q became %q, want %q", referer, got, want)
		}
	}
	r := get("http://app.example/x", "Referer", "http://app.example/a", "Referer", "http://app.example/b")
	if got := proxy.ReturnToFromReferer(r, prefix); got != "/" {
		t.Errorf("of two Referers one became %q", got)
	}
	if got := proxy.ReturnToFromReferer(get("http://app.example/x"), prefix); got != "/" {
		t.Errorf("no Referer became %q", got)
	}
	six := get("http://app.example/x", "Referer", "https://[2001:db8::1]/a")
	six.Host = "[2001:db8::1]:443"
	if got := proxy.ReturnToFromReferer(six, prefix); got != "/a" {
		t.Errorf("an IPv6 host: %q", got)
	}
	// A host without a name must not equal a Referer without one.
	none := get("/x", "Referer", "https:///a")
	none.Host = ""
	if got := proxy.ReturnToFromReferer(none, prefix); got != "/" {
		t.Errorf("no host at all: %q", got)
	}
}

func FuzzReturnTo(f *testing.F) {
	for _, seed := range []string{
		"/a?b=c", "//evil", "/\\evil", "/%09/evil", "https:evil", "javascript:x", "/%5cevil", "/..//evil", prefix + "/enable",
		"/%2f/evil", "/a%3f//evil", "/a%23", "/\t/evil", "/my/profile/two%2dfactor/x", "/%252f%252fevil",
	} {
		f.Add(seed)
	}
	origin, _ := url.Parse("https://app.example/x/y")
	f.Fuzz(func(t *testing.T, raw string) {
		got := proxy.ReturnTo(raw, prefix)
		decoded, err := url.PathUnescape(got)
		if err != nil {
			t.Fatalf("%q became %q: %v", raw, got, err)
		}
		for _, target := range []string{got, decoded} {
			if target[0] != '/' || (len(target) > 1 && (target[1] == '/' || target[1] == '\\')) {
				t.Fatalf("%q became %q", raw, got)
			}
			if strings.ContainsFunc(target, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' }) {
				t.Fatalf("%q became %q", raw, got)
			}
		}
		// What a browser makes of it, as it is and decoded once.
		for _, target := range []string{got, decoded} {
			if origin := browserOrigin(target); origin != "" {
				t.Fatalf("%q became %q, which a browser takes to %q", raw, got, origin)
			}
		}
		u, err := url.Parse(got)
		if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" {
			t.Fatalf("%q became %q", raw, got)
		}
		if to := origin.ResolveReference(u); to.Host != origin.Host || to.Scheme != origin.Scheme {
			t.Fatalf("%q became %q, which leads to %s", raw, got, to)
		}
		if strings.HasPrefix(u.Path, prefix+"/") || (u.Path == prefix && got != prefix) {
			t.Fatalf("%q became %q", raw, got)
		}
		r := get("http://app.example/", "Referer", "http://app.example"+raw)
		if back := proxy.ReturnToFromReferer(r, prefix); back != proxy.ReturnTo(back, prefix) {
			t.Fatalf("a Referer of %q became %q", raw, back)
		}
	})
}

var scheme = regexp.MustCompile("^[A-Za-z][A-Za-z0-9+.-]*:")

// browserOrigin follows the URL standard of WHATWG for a reference on an https page:
// it returns the foreign origin that the reference leads to, "" for none.
func browserOrigin(reference string) string {
	reference = strings.TrimFunc(reference, func(c rune) bool { return c <= ' ' })
	reference = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(reference)
	if scheme.MatchString(reference) {
		return reference
	}
	// In a special scheme a backslash is a slash, and two of either begin a host.
	if slashes := strings.ReplaceAll(reference, `\`, "/"); strings.HasPrefix(slashes, "//") {
		return slashes
	}
	return ""
}

// Location headers are made of what ReturnTo returns: net/http must not make
// something else of it.
func TestReturnToSurvivesRedirect(t *testing.T) {
	for _, target := range []string{"/a?b=c", "/a/", "/%C3%BC", "/a;b", prefix} {
		w := newRecorder()
		http.Redirect(w, get("/x/y/z"), proxy.ReturnTo(target, prefix), http.StatusSeeOther)
		if got := w.Header().Get("Location"); got != target {
			t.Errorf("%q is sent as %q", target, got)
		}
	}
}
