package soak_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/PuerkitoBio/goquery"
)

// newClient returns one that keeps enough connections for everybody, and that waits
// for no answer for ever.
func newClient() *http.Client {
	return &http.Client{
		Timeout:       15 * time.Second,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 5 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// browser is one sign-in at the app, and what the sidecar gave it.
type browser struct {
	r              *run
	session, token string
}

// answer is one; its status is 0 where none came.
type answer struct {
	status         int
	location, body string
}

func (r *run) open(user string) *browser { return &browser{r: r, session: r.app.open(user)} }

// away reports whether the answer says to try again, or did not come.
func (a *answer) away() bool { return a.status == 0 || a.status == http.StatusServiceUnavailable }

func (b *browser) get(path string) *answer { return b.send(http.MethodGet, path, nil) }

// submit sends the form of a page; the zero answer where it has none.
func (b *browser) submit(page *answer, action string, fields map[string]string) *answer {
	form := page.doc().Find("form").FilterFunction(func(_ int, f *goquery.Selection) bool {
		target, _, _ := strings.Cut(f.AttrOr("action", ""), "?")
		return strings.HasSuffix(target, action)
	}).First()
	if form.Length() == 0 {
		return &answer{}
	}
	values := url.Values{}
	form.Find("input[type=hidden]").Each(func(_ int, input *goquery.Selection) {
		values.Set(input.AttrOr("name", ""), input.AttrOr("value", ""))
	})
	for name, value := range fields {
		values.Set(name, value)
	}
	return b.send(http.MethodPost, form.AttrOr("action", ""), values)
}

// send sends a request to any of the sidecars.
func (b *browser) send(method, path string, form url.Values) *answer {
	base := b.r.sidecars[rand.IntN(len(b.r.sidecars))].url
	r, err := http.NewRequestWithContext(context.WithoutCancel(b.r.Context()), method, base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return &answer{}
	}
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Cookie", "session="+b.session)
	if b.token != "" {
		r.Header.Set("Cookie", "session="+b.session+"; sallyport="+b.token)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", base)
	}
	response, err := b.r.client.Do(r)
	if err != nil {
		return &answer{}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return &answer{}
	}
	for _, cookie := range response.Cookies() {
		if cookie.Name == "sallyport" {
			b.token = cookie.Value
		}
	}
	a := &answer{status: response.StatusCode, body: string(body)}
	if to, err := url.Parse(response.Header.Get("Location")); err == nil {
		a.location = to.RequestURI()
	}
	return a
}

func (a *answer) doc() *goquery.Document {
	doc, err := goquery.NewDocumentFromReader(strings.NewReader(a.body))
	if err != nil {
		return &goquery.Document{Selection: &goquery.Selection{}}
	}
	return doc
}

func (a *answer) text(testID string) string {
	return strings.TrimSpace(a.doc().Find(`[data-testid="` + testID + `"]`).First().Text())
}

func (a *answer) codes() []string {
	return a.doc().Find(`[data-testid="recovery-code"]`).Map(func(_ int, s *goquery.Selection) string {
		return strings.TrimSpace(s.Text())
	})
}

// pool is a number of sessions, of which any may be taken; the oldest go.
type pool struct {
	mu  sync.Mutex
	all []*browser
}

const poolSize = 300

// add adds one and returns the one that goes for it, if any.
func (p *pool) add(b *browser) *browser {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, b)
	if len(p.all) <= poolSize {
		return nil
	}
	old := p.all[0]
	p.all = p.all[1:]
	return old
}

func (p *pool) any() *browser {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.all) == 0 {
		return nil
	}
	return p.all[rand.IntN(len(p.all))]
}
