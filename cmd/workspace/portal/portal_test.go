package portal_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"

	"github.com/sallyport/sallyport/cmd/workspace/portal"
)

var start = time.Date(2026, time.March, 2, 9, 0, 0, 0, time.UTC)

// fakeClock is a clock that tests move by hand.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// site is a portal that listens, and what it has said and heard.
type site struct {
	*httptest.Server
	app   *portal.Portal
	clock *fakeClock
	log   *lockedBuffer

	mu    sync.Mutex
	paths []string
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newSite(t *testing.T, mutate ...func(*portal.Config)) *site {
	t.Helper()
	s := &site{clock: &fakeClock{now: start}, log: &lockedBuffer{}}
	cfg := portal.Config{
		Users: portal.DemoUsers(), Clock: s.clock.Now, Log: slog.New(slog.NewJSONHandler(s.log, nil)),
		OnRequest: func(r *http.Request) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.paths = append(s.paths, r.URL.Path)
		},
	}
	for _, m := range mutate {
		m(&cfg)
	}
	app, err := portal.New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	s.app = app
	s.Server = httptest.NewServer(app.Handler())
	t.Cleanup(func() {
		app.Close()
		s.Close()
	})
	return s
}

// browser keeps cookies and shows redirects instead of following them.
type browser struct {
	t    *testing.T
	site *site
	http *http.Client
}

func (s *site) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, site: s, http: &http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// reply is an answer with its body read.
type reply struct {
	*http.Response
	body string
}

func (b *browser) do(method, path, body string, header ...string) reply {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.site.URL+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	for pair := range slices.Chunk(header, 2) {
		req.Header.Add(pair[0], pair[1])
	}
	res, err := b.http.Do(req)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatalf("%s %s: read the body: %v", method, path, err)
	}
	return reply{Response: res, body: string(got)}
}

func (b *browser) get(path string) reply {
	b.t.Helper()
	return b.do(http.MethodGet, path, "")
}

func (b *browser) post(path string, form url.Values) reply {
	b.t.Helper()
	return b.do(http.MethodPost, path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

func (b *browser) postJSON(path, body string) reply {
	b.t.Helper()
	return b.do(http.MethodPost, path, body, "Content-Type", "application/json")
}

// cookie returns the value of the session cookie that the browser holds.
func (b *browser) cookie() string {
	b.t.Helper()
	u, err := url.Parse(b.site.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.http.Jar.Cookies(u) {
		if c.Name == "session" {
			return c.Value
		}
	}
	return ""
}

// form fetches the sign-in page and returns its fields, filled in.
func (b *browser) form(path, username, password string) url.Values {
	b.t.Helper()
	doc := b.get(path).page(b.t)
	fields := url.Values{"username": {username}, "password": {password}}
	doc.Find("form[action='/login'] input[type=hidden]").Each(func(_ int, in *goquery.Selection) {
		fields.Set(in.AttrOr("name", ""), in.AttrOr("value", ""))
	})
	return fields
}

func (b *browser) signIn(username string) {
	b.t.Helper()
	if got := b.post("/login", b.form("/login", username, username+"-demo")); got.StatusCode != http.StatusSeeOther {
		b.t.Fatalf("sign-in as %s answered %d", username, got.StatusCode)
	}
}

func (s *site) as(t *testing.T, username string) *browser {
	t.Helper()
	b := s.browser(t)
	b.signIn(username)
	return b
}

func (r reply) page(t *testing.T) *goquery.Document {
	t.Helper()
	doc, err := goquery.NewDocumentFromReader(strings.NewReader(r.body))
	if err != nil {
		t.Fatalf("parse a page: %v", err)
	}
	return doc
}

func (r reply) decode(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), into); err != nil {
		t.Fatalf("decode %q: %v", r.body, err)
	}
}

func (r reply) wantStatus(t *testing.T, want int) {
	t.Helper()
	if r.StatusCode != want {
		t.Fatalf("%s %s answered %d, want %d\n%s", r.Request.Method, r.Request.URL, r.StatusCode, want, r.body)
	}
}

func (r reply) wantRedirect(t *testing.T, want string) {
	t.Helper()
	r.wantStatus(t, http.StatusSeeOther)
	if got := r.Header.Get("Location"); got != want {
		t.Errorf("Location is %q, want %q", got, want)
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	tests := map[string]struct {
		mutate func(*portal.Config)
		want   string
	}{
		"without a clock":                 {func(c *portal.Config) { c.Clock = nil }, "clock"},
		"without users":                   {func(c *portal.Config) { c.Users = nil }, "nobody"},
		"a user without a password":       {func(c *portal.Config) { c.Users[0].Password = "" }, "must be set"},
		"two users with one id":           {func(c *portal.Config) { c.Users[1].ID = c.Users[0].ID }, "is taken"},
		"two users with one name":         {func(c *portal.Config) { c.Users[1].Username = "ALICE" }, "is taken"},
		"a name that is another's e-mail": {func(c *portal.Config) { c.Users[1].Username = c.Users[0].Email }, "is taken"},
		"a random source that runs dry":   {func(c *portal.Config) { c.Random = strings.NewReader("short") }, "salt"},
		"no randomness left for the salts": {func(c *portal.Config) {
			c.Random = strings.NewReader(strings.Repeat("x", 40))
		}, "salt"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := portal.Config{Users: portal.DemoUsers(), Clock: func() time.Time { return start }}
			tc.mutate(&cfg)
			_, err := portal.New(cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("New returned %v, want an error about %q", err, tc.want)
			}
		})
	}
}

func TestOnRequestHearsOfEveryRequest(t *testing.T) {
	s := newSite(t)
	b := s.browser(t)
	b.get("/healthz")
	b.get("/nowhere")
	b.do(http.MethodPost, "/logout", "", "Sec-Fetch-Site", "cross-site")
	s.mu.Lock()
	defer s.mu.Unlock()
	if got, want := strings.Join(s.paths, " "), "/healthz /nowhere /logout"; got != want {
		t.Errorf("heard of %q, want %q", got, want)
	}
}
