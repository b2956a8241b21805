package stack

import (
	"bytes"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
)

// Prefix is where the sidecar's pages are.
const Prefix = "/my/profile/two-factor"

// Browser is a browser without JavaScript: it keeps cookies, sends what a
// navigation sends, and submits the forms that pages hold.
type Browser struct {
	// Base is the origin it visits; change it to visit another sidecar.
	Base string
	// Client of the browser; it does not follow redirects by itself.
	Client *http.Client

	t testing.TB
}

// Page is one answer.
type Page struct {
	Status int
	Header http.Header
	// URL that was asked for.
	URL  *url.URL
	Body string
	// Doc is the parsed body.
	Doc *goquery.Document

	t testing.TB
}

// NewBrowser returns a browser with no cookies.
func (s *Stack) NewBrowser() *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &Browser{Base: s.URL(), t: s.t, Client: &http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// For returns the same browser as a subtest uses it.
func (b *Browser) For(t testing.TB) *Browser {
	return &Browser{Base: b.Base, Client: b.Client, t: t}
}

// Get navigates without following redirects.
func (b *Browser) Get(path string) *Page {
	b.t.Helper()
	return b.Do(b.Request(http.MethodGet, path, nil))
}

// Visit navigates and follows redirects.
func (b *Browser) Visit(path string) *Page {
	b.t.Helper()
	return b.Follow(b.Get(path))
}

// Follow follows a page's redirects.
func (b *Browser) Follow(p *Page) *Page {
	b.t.Helper()
	for range 10 {
		if p.Status < 300 || p.Status > 399 {
			return p
		}
		p = b.Get(p.Location())
	}
	b.t.Fatalf("too many redirects, the last one to %s", p.URL)
	return nil
}

// Post sends form fields as a form navigation does, without following redirects.
func (b *Browser) Post(path string, fields url.Values) *Page {
	b.t.Helper()
	r := b.Request(http.MethodPost, path, strings.NewReader(fields.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", b.Base)
	return b.Do(r)
}

// Request makes a navigation request.
func (b *Browser) Request(method, path string, body io.Reader) *http.Request {
	b.t.Helper()
	target := path
	if strings.HasPrefix(path, "/") || path == "" {
		target = b.Base + path
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, target, body)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return r
}

// Fetch makes a request as a page's script does.
func (b *Browser) Fetch(method, path string, body io.Reader) *Page {
	b.t.Helper()
	r := b.Request(method, path, body)
	r.Header.Set("Accept", "*/*")
	r.Header.Set("Sec-Fetch-Mode", "cors")
	r.Header.Set("Sec-Fetch-Dest", "empty")
	return b.Do(r)
}

// Do sends a request.
func (b *Browser) Do(r *http.Request) *Page {
	b.t.Helper()
	response, err := b.Client.Do(r)
	if err != nil {
		b.t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatalf("%s %s: read the answer: %v", r.Method, r.URL, err)
	}
	return NewPage(b.t, response, r.URL, body)
}

// NewPage returns an answer and its body as a page.
func NewPage(t testing.TB, response *http.Response, from *url.URL, body []byte) *Page {
	t.Helper()
	doc, err := goquery.NewDocumentFromReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return &Page{Status: response.StatusCode, Header: response.Header, URL: from, Body: string(body), Doc: doc, t: t}
}

// Submit fills in and submits the page's form whose action ends in the given
// suffix; hidden fields come along.
func (b *Browser) Submit(p *Page, action string, fields map[string]string) *Page {
	b.t.Helper()
	target, values := p.Form(action)
	for name, value := range fields {
		values.Set(name, value)
	}
	return b.Post(target, values)
}

// SignIn signs in at the demo app.
func (b *Browser) SignIn(user, password string) *Page {
	b.t.Helper()
	return b.Submit(b.Visit("/login"), "/login", map[string]string{"username": user, "password": password})
}

// SignOut ends the app's session.
func (b *Browser) SignOut() *Page {
	b.t.Helper()
	return b.Post("/logout", nil)
}

// Cookie returns the value of a cookie the browser holds.
func (b *Browser) Cookie(name string) string {
	base, err := url.Parse(b.Base)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, cookie := range b.Client.Jar.Cookies(base) {
		if cookie.Name == name {
			return cookie.Value
		}
	}
	return ""
}

// Form returns the action and the fields of the form whose action ends so.
func (p *Page) Form(action string) (string, url.Values) {
	p.t.Helper()
	form := p.Doc.Find("form").FilterFunction(func(_ int, f *goquery.Selection) bool {
		return strings.HasSuffix(strings.SplitN(f.AttrOr("action", ""), "?", 2)[0], action)
	}).First()
	if form.Length() == 0 {
		p.t.Fatalf("%s (%d) has no form with action %q:\n%s", p.URL, p.Status, action, p.Body)
	}
	values := url.Values{}
	form.Find("input[name]").Each(func(_ int, input *goquery.Selection) {
		switch input.AttrOr("type", "text") {
		case "submit", "checkbox", "radio", "file":
		default:
			values.Add(input.AttrOr("name", ""), input.AttrOr("value", ""))
		}
	})
	return form.AttrOr("action", ""), values
}

// Location of a redirect, as a path.
func (p *Page) Location() string {
	p.t.Helper()
	location, err := p.URL.Parse(p.Header.Get("Location"))
	if err != nil || p.Header.Get("Location") == "" {
		p.t.Fatalf("%s answered %d without a usable Location: %q", p.URL, p.Status, p.Header.Get("Location"))
	}
	if location.Host == p.URL.Host {
		return location.RequestURI()
	}
	return location.String()
}

// Text of the element with the data-testid, white space folded; "" if absent.
func (p *Page) Text(testID string) string {
	return strings.Join(strings.Fields(p.Doc.Find(`[data-testid="`+testID+`"]`).First().Text()), " ")
}

// State of the two-factor card; "" without a card.
func (p *Page) State() string {
	return p.Doc.Find(`[data-testid="two-factor-card"]`).AttrOr("data-state", "")
}

// Secret of a pending card, in base32 without spaces.
func (p *Page) Secret() string { return strings.ReplaceAll(p.Text("totp-secret"), " ", "") }

// Codes are the recovery codes that the page shows.
func (p *Page) Codes() []string {
	return p.Doc.Find(`[data-testid="recovery-code"]`).Map(func(_ int, s *goquery.Selection) string {
		return strings.TrimSpace(s.Text())
	})
}
