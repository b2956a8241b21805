package pages_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/web/pages"
)

func TestNewRefusesALinkThatLeavesTheOrigin(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*pages.Site)
		want   string
	}{
		"no prefix":                    {func(s *pages.Site) { s.Prefix = "" }, "prefix"},
		"prefix is the root":           {func(s *pages.Site) { s.Prefix = "/" }, "prefix"},
		"prefix ends in a slash":       {func(s *pages.Site) { s.Prefix = "/two-factor/" }, "prefix"},
		"prefix names a host":          {func(s *pages.Site) { s.Prefix = "//evil.example" }, "prefix"},
		"prefix has a query":           {func(s *pages.Site) { s.Prefix = "/two-factor?x" }, "prefix"},
		"neither product nor issuer":   {func(s *pages.Site) { s.Product, s.Issuer = "", "" }, "product"},
		"logo on another host":         {func(s *pages.Site) { s.LogoURL = "https://evil.example/l.png" }, "logo"},
		"logo without a scheme":        {func(s *pages.Site) { s.LogoURL = "//evil.example/l.png" }, "logo"},
		"support is a script":          {func(s *pages.Site) { s.SupportURL = "javascript:alert(1)" }, "support"},
		"support over plain HTTP":      {func(s *pages.Site) { s.SupportURL = "http://acme.example" }, "support"},
		"sign-in hides a host":         {func(s *pages.Site) { s.SignInPath = `/\evil.example` }, "sign-in"},
		"sign-in hides it with a tab":  {func(s *pages.Site) { s.SignInPath = "/\t/evil.example" }, "sign-in"},
		"sign-in on a relative path":   {func(s *pages.Site) { s.SignInPath = "login" }, "sign-in"},
		"support mail without address": {func(s *pages.Site) { s.SupportURL = "mailto:" }, "support"},
	} {
		t.Run(name, func(t *testing.T) {
			s := site()
			test.change(&s)
			if _, err := pages.New(s); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("New = %v, want an error about the %s", err, test.want)
			}
		})
	}
	for _, support := range []string{"https://acme.example/help", "mailto:help@acme.example", "/help"} {
		s := site()
		s.SupportURL = support
		if _, err := pages.New(s); err != nil {
			t.Errorf("New with support %q: %v", support, err)
		}
	}
}

func TestEveryPageIsSoundMarkup(t *testing.T) {
	for name, write := range everyPage() {
		t.Run(name, func(t *testing.T) {
			page := render(t, func(w http.ResponseWriter) error { return write(renderer(t, site()), w) })
			wantAttrs(t, "html", page.Find("html"), map[string]string{"lang": "en"})
			wantCount(t, "h1", page.Find("h1"), 1)
			wantCount(t, "landmarks", page.Find("body > header, body > main, body > footer"), 3)
			wantText(t, "skip link", page.Find(`a[href="#content"]`), "Skip to content")
			wantCount(t, "target of the skip link", page.Find("main#content"), 1)
			wantText(t, "product", page.Find("header .product"), "Acme Workspace")
			wantAttrs(t, "support", page.Find("footer a"), map[string]string{"href": "https://acme.example/help"})
			if !strings.Contains(text(page.Find("footer")), "Protected by Sallyport") {
				t.Error("footer does not name Sallyport")
			}
			wantCount(t, "fields where typing begins", page.Find("[autofocus]"), min(1, page.Find("[autofocus]").Length()))
			wantNothingInline(t, page)
			wantSoundReferences(t, page)
			wantLabels(t, page)
			wantGuardedForms(t, page)
		})
	}
}

// wantNothingInline fails on whatever the content policy would refuse.
func wantNothingInline(t *testing.T, page answer) {
	t.Helper()
	wantCount(t, "style elements", page.Find("style"), 0)
	page.Find("script").Each(func(_ int, s *goquery.Selection) {
		if src, _ := s.Attr("src"); !strings.HasPrefix(src, prefix+"/assets/") || text(s) != "" {
			t.Errorf("script from %q with body %q", src, text(s))
		}
	})
	page.Find("*").Each(func(_ int, s *goquery.Selection) {
		for _, attr := range s.Nodes[0].Attr {
			if attr.Key == "style" || strings.HasPrefix(attr.Key, "on") {
				t.Errorf("<%s> has an inline %s", goquery.NodeName(s), attr.Key)
			}
		}
	})
}

// wantSoundReferences fails on ids used twice and on references to none.
func wantSoundReferences(t *testing.T, page answer) {
	t.Helper()
	ids := make(map[string]bool)
	page.Find("[id]").Each(func(_ int, s *goquery.Selection) {
		id := s.AttrOr("id", "")
		if ids[id] {
			t.Errorf("id %q is used twice", id)
		}
		ids[id] = true
	})
	for _, attr := range []string{"aria-describedby", "aria-labelledby", "for", "data-copy"} {
		page.Find("[" + attr + "]").Each(func(_ int, s *goquery.Selection) {
			for id := range strings.FieldsSeq(s.AttrOr(attr, "")) {
				if !ids[id] {
					t.Errorf("%s refers to %q, which does not exist", attr, id)
				}
			}
		})
	}
}

// wantLabels fails on a field without a visible label.
func wantLabels(t *testing.T, page answer) {
	t.Helper()
	page.Find("input:not([type=hidden]):not([hidden])").Each(func(_ int, s *goquery.Selection) {
		id := s.AttrOr("id", "")
		if label := page.Find(`label[for="` + id + `"]`); id == "" || text(label) == "" {
			t.Errorf("field %q has no label", s.AttrOr("name", ""))
		}
	})
}

// wantGuardedForms fails on a form that is not a POST to this prefix, or that lacks its own token.
func wantGuardedForms(t *testing.T, page answer) {
	t.Helper()
	page.Find("form").Each(func(_ int, s *goquery.Selection) {
		action, under := strings.CutPrefix(s.AttrOr("action", ""), prefix+"/")
		if !under || s.AttrOr("method", "") != "post" {
			t.Errorf("form %s %q", s.AttrOr("method", ""), s.AttrOr("action", ""))
		}
		wantAttrs(t, "token of "+action, s.Find(`input[name="csrf_token"]`), map[string]string{
			"type": "hidden", "value": "token-" + action,
		})
		wantCount(t, "submit buttons of "+action, s.Find("button[type=submit]"), 1)
	})
}

func TestEveryPageTravelsWithStrictHeaders(t *testing.T) {
	want := map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; " +
			"form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"Referrer-Policy":              "same-origin",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Cache-Control":                "no-store",
		"Vary":                         "Cookie, Authorization",
		"Content-Type":                 "text/html; charset=utf-8",
		"Content-Language":             "en",
	}
	for name, write := range everyPage() {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			w.Header().Set("Cache-Control", "public, max-age=60")
			if err := write(renderer(t, site()), w); err != nil {
				t.Fatal(err)
			}
			got := make(map[string]string)
			for key := range w.Header() {
				got[key] = strings.Join(w.Header().Values(key), " | ")
			}
			if length := got["Content-Length"]; length != strconv.Itoa(w.Body.Len()) {
				t.Errorf("Content-Length = %s for %d bytes", length, w.Body.Len())
			}
			delete(got, "Content-Length")
			delete(got, "Retry-After")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReturnPathsNeverLeaveTheOrigin(t *testing.T) {
	for _, evil := range []string{
		"//evil.example", "///evil.example", `/\evil.example`, "/\t/evil.example", "https://evil.example/", "javascript:alert(1)", "evil", "/a\nb",
		"https:evil.example", "",
	} {
		t.Run(evil, func(t *testing.T) {
			card := showCard(t, pages.Card{ReturnTo: evil})
			wantCount(t, "return_to on the card", card.Find("input[name=return_to]"), 0)
			codes := showCard(t, pages.Card{State: pages.Enabled, Codes: recoveryCodes, ReturnTo: evil})
			wantAttrs(t, "way on", codes.Find("a.onward"), map[string]string{"href": prefix})
			challenge := showChallenge(t, pages.Challenge{ReturnTo: evil})
			challenge.Find("input[name=return_to]").Each(func(_ int, s *goquery.Selection) {
				wantAttrs(t, "return_to", s, map[string]string{"value": "/"})
			})
			message := render(t, func(w http.ResponseWriter) error {
				return renderer(t, site()).Message(w, 400, pages.Message{Heading: "x", ActionText: "Go", ActionHref: evil})
			})
			wantAttrs(t, "action", message.Find("main a"), map[string]string{"href": "/"})
		})
	}
}

func TestAPageThatCannotBeRenderedWritesNothing(t *testing.T) {
	r := renderer(t, site())
	for name, write := range map[string]func(http.ResponseWriter) error{
		"token missing on the card": func(w http.ResponseWriter) error {
			return r.Card(w, 200, pages.Card{Tokens: map[string]string{"confirm": "t"}})
		},
		"token missing on the challenge": func(w http.ResponseWriter) error {
			return r.Challenge(w, 200, pages.Challenge{Tokens: map[string]string{"challenge": "t"}})
		},
		"unknown state": func(w http.ResponseWriter) error {
			return r.Card(w, 200, pages.Card{State: 7, Tokens: tokens})
		},
		"key URI of another scheme": func(w http.ResponseWriter) error {
			return r.Card(w, 200, pages.Card{State: pages.Pending, Secret: minted, KeyURI: "javascript:alert(1)", Tokens: tokens})
		},
		"key URI too long for a QR code": func(w http.ResponseWriter) error {
			return r.Card(w, 200, pages.Card{
				State: pages.Pending, Secret: minted, KeyURI: keyURI + strings.Repeat("x", 4000), Tokens: tokens,
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &untouched{}
			err := write(w)
			if err == nil {
				t.Fatal("no error")
			}
			if w.wrote {
				t.Error("something was written all the same")
			}
			if strings.Contains(err.Error(), minted) {
				t.Errorf("the error names the secret: %v", err)
			}
		})
	}
}

// untouched notices when anything is written to it.
type untouched struct {
	header http.Header
	wrote  bool
}

func (u *untouched) Header() http.Header {
	if u.header == nil {
		u.header = make(http.Header)
	}
	return u.header
}
func (u *untouched) WriteHeader(int)             { u.wrote = true }
func (u *untouched) Write(b []byte) (int, error) { u.wrote = true; return len(b), nil }

func TestAReaderWhoLeftIsReported(t *testing.T) {
	err := renderer(t, site()).Message(&gone{}, 404, pages.Message{Heading: "x"})
	if !errors.Is(err, errGone) {
		t.Errorf("Message = %v, want the connection's error", err)
	}
}

var errGone = errors.New("gone")

type gone struct{ untouched }

func (*gone) Write([]byte) (int, error) { return 0, errGone }

// FuzzChallenge looks for an account or a path that breaks out of its place.
func FuzzChallenge(f *testing.F) {
	f.Add(account, "/reports", "No.")
	f.Add(`"><script>`, "//evil.example", "<b>")
	f.Add("'onload=", `/\evil`, "&#x3c;script&#x3e;")
	r, err := pages.New(site())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, account, returnTo, problem string) {
		page := render(t, func(w http.ResponseWriter) error {
			return r.Challenge(w, 422, pages.Challenge{
				Account: account, ReturnTo: returnTo, Error: problem, ErrorField: "code", Tokens: tokens,
			})
		})
		wantCount(t, "script elements", page.Find("script"), 1)
		wantCount(t, "forms", page.Find("form"), 3)
		wantNothingInline(t, page)
		page.Find("input[name=return_to]").Each(func(_ int, s *goquery.Selection) {
			value := s.AttrOr("value", "")
			if !strings.HasPrefix(value, "/") || strings.HasPrefix(value, "//") || strings.ContainsAny(value, "\\\t\r\n") {
				t.Errorf("return_to = %q", value)
			}
		})
		wantCount(t, "bold text, which only an injected string has", page.Find("main b"), 0)
	})
}
