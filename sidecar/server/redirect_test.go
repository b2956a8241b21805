package server_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"testing"

	"github.com/sallyport/sallyport/test/stack"
)

// returns lists where a browser may be asked to go, and where it goes.
var returns = []struct{ to, want string }{
	{"/my", "/my"},
	{"/a/b?c=d&e=%2F%2Ff", "/a/b?c=d&e=%2F%2Ff"},
	{"/a%20b", "/a%20b"},
	{"", "/"},
	{"my", "/"},
	{"//evil.example", "/"},
	{"///evil.example", "/"},
	{`/\evil.example`, "/"},
	{`\\evil.example`, "/"},
	{`/\/evil.example`, "/"},
	{"/%5cevil.example", "/"},
	{"/%5Cevil.example", "/"},
	{"/%2Fevil.example", "/"},
	{"/%2f%2fevil.example", "/"},
	{"/\t/evil.example", "/"},
	{"/%09/evil.example", "/"},
	{"/%0d%0aLocation:%20https://evil.example", "/"},
	{"/a\r\nSet-Cookie: x=y", "/"},
	{"/a\x00b", "/"},
	{"/..//evil.example", "/"},
	{"/a/..//evil.example", "/"},
	{"/./evil", "/"},
	{"/%2e%2e/evil", "/"},
	{"https://evil.example/", "/"},
	{"https:evil.example", "/"},
	{"https:/evil.example", "/"},
	{"HTTP://evil.example", "/"},
	{"javascript:alert(1)", "/"},
	{"data:text/html,x", "/"},
	{" /my", "/"},
	{"/my\u2028", "/"},
	{"/／evil.example", "/"},
	{"@evil.example", "/"},
	{".evil.example", "/"},
	{"/my#//evil.example", "/"},
	{"http://127.0.0.1/my", "/"},
	{"/%5c%5cevil.example", "/"},
	{"/\\/evil.example", "/"},
	{"/.//evil.example", "/"},
	{"/%2e//evil.example", "/"},
	{"/%252f/evil.example", "/%252f/evil.example"}, // a path here, decoded once as well
	{"/a?next=//evil.example", "/a?next=//evil.example"},
	{"?//evil.example", "/"},
	{"/\u00a0/evil.example", "/"},
	{"/\ufeff//evil.example", "/"},
	{"////evil.example", "/"},
	{"/\n/evil.example", "/"},
	{"\x00//evil.example", "/"},
	{"vbscript:x", "/"},
	{"blob:https://evil.example/x", "/"},
	{"//evil.example:443/", "/"},
	{"//user@evil.example", "/"},
	{"/@evil.example", "/@evil.example"},
	{"/evil.example", "/evil.example"},
	{prefix + "/disable", prefix},
	{prefix + "/challenge?return_to=//evil.example", prefix},
	{prefix + "?return_to=//evil.example", prefix},
}

func TestReturnToStaysOnThisOrigin(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	for _, tc := range returns {
		query := "?" + url.Values{"return_to": {tc.to}}.Encode()

		// After the challenge: the page's own field, and one that was tampered with.
		p := alice.again()
		challenge := p.Get(prefix + "/challenge" + query)
		_, fields := challenge.Form("/challenge")
		if got := fields.Get("return_to"); got != tc.want {
			t.Errorf("%q: the challenge's field holds %q", tc.to, got)
		}
		done := p.Submit(challenge, "/challenge", map[string]string{"code": p.code(), "return_to": tc.to})
		wantLocation(t, done, tc.want)

		// Who is verified already goes on at once.
		wantLocation(t, p.Get(prefix+"/challenge"+query), tc.want)

		// A page that the app never sent anybody to.
		back := p.Request(http.MethodGet, "/my", nil)
		back.AddCookie(&http.Cookie{Name: "sallyport-return", Value: base64.RawURLEncoding.EncodeToString([]byte(tc.to))})
		if tc.to != "" {
			wantLocation(t, p.Do(back), tc.want)
		}
	}
}

func TestReturnToThroughEnrolmentStaysOnThisOrigin(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	p := w.signedIn("alice")
	for _, tc := range returns {
		card := p.Get(prefix + "?" + url.Values{"return_to": {tc.to}}.Encode())
		_, fields := card.Form("/enable")
		want := tc.want
		if tc.to == "" {
			want = ""
		}
		if got := fields.Get("return_to"); got != want {
			t.Errorf("%q: the card's field holds %q", tc.to, got)
		}
	}
	// A field that was tampered with, and the pages after it.
	pending := p.Submit(p.Get(prefix), "/enable", map[string]string{"return_to": "//evil.example"})
	if _, fields := pending.Form("/confirm"); fields.Get("return_to") != "/" {
		t.Errorf("the pending card's field holds %q", fields.Get("return_to"))
	}
	p.secret = pending.Secret()
	done := p.Submit(pending, "/confirm", map[string]string{"code": p.code(), "return_to": "//evil.example"})
	if onward := done.Doc.Find("a.onward").AttrOr("href", ""); onward != "/" {
		t.Errorf("the way on from the codes leads to %q", onward)
	}
}
