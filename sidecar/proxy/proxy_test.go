package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/proxy"
)

func TestForwardTellsTheAppWhatItMayKnow(t *testing.T) {
	at := time.Date(2026, 5, 1, 14, 0, 0, 0, time.FixedZone("CEST", 2*60*60))
	request := []string{
		"Cookie", "a=1; session=s1", "Authorization", "Basic eA==", "X-Original-Url", "/admin", "X_original_url", "/admin",
		"X-Rewrite-Url", "/admin", "X-Forwarded-Uri", "/admin", "X-Forwarded-Prefix", "/admin", "X-Http-Method-Override", "DELETE",
		"X-Forwarded-For", "203.0.113.7", "X-Forwarded-Proto", "https", "Accept-Encoding", "br",
	}
	transparent := http.Header{
		"Cookie": {"a=1; session=s1"}, "Authorization": {"Basic eA=="}, "X-Forwarded-For": {"203.0.113.7, 127.0.0.1"},
		"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"app.example"}, "X-Forwarded-Port": {"443"}, "Accept-Encoding": {"br"},
	}
	overridden := http.Header{
		"X-Original-Url": {"/admin"}, "X-Rewrite-Url": {"/admin"}, "X-Forwarded-Uri": {"/admin"},
		"X-Forwarded-Prefix": {"/admin"}, "X-Http-Method-Override": {"DELETE"},
	}
	for _, tc := range []struct {
		name       string
		forwarding proxy.Forwarding
		want       []http.Header
	}{
		{"nothing verified", proxy.Forwarding{}, []http.Header{transparent, overridden, {"X-Sallyport-Verified": {"false"}}}},
		{"verified", proxy.Forwarding{Assertion: proxy.Verified("totp", at)}, []http.Header{
			transparent, overridden, {
				"X-Sallyport-Verified": {"true"}, "X-Sallyport-Method": {"totp"}, "X-Sallyport-Verified-At": {"2026-05-01T12:00:00Z"},
			},
		}},
		{"exempt", proxy.Forwarding{Exempt: true}, []http.Header{transparent, {"X-Sallyport-Verified": {"false"}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got http.Header
			var host string
			s := newStack(t, setup{forwarding: tc.forwarding, app: func(_ http.ResponseWriter, r *http.Request) {
				got, host = r.Header, r.Host
			}})
			r := newRequest(t, http.MethodGet, s.url+"/public", http.NoBody)
			r.Host = "app.example"
			r.Header["User-Agent"] = nil
			for pair := range slices.Chunk(request, 2) {
				r.Header[pair[0]] = pair[1:]
			}
			r.Header.Add("Cookie", "__Host-own=secret")
			do(t, client(t, false), r)
			want := http.Header{}
			for _, part := range tc.want {
				maps.Copy(want, part)
			}
			if diff := cmp.Diff(want, got); diff != "" || host != "app.example" {
				t.Errorf("host %q\n%s", host, diff)
			}
		})
	}
}

// Hygiene has removed them before; the proxy does not rely on it.
func TestForwardNeverSendsOwnCookiesOrForgedAssertions(t *testing.T) {
	got := make(chan http.Header, 1)
	app := serve(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.Header })
	origin, _ := url.Parse(app.URL)
	p := proxy.New(proxy.Config{App: origin, OwnCookies: []string{"__Host-own"}})
	defer p.Close()
	r := get("/", "Cookie", "a=1; __HOST-OWN=secret; b=2", "X-Sallyport-Verified", "true")
	before := r.Header.Clone()
	p.Forward(httptest.NewRecorder(), r, proxy.Forwarding{})
	h := await(t, "the request", got)
	if h.Get("Cookie") != "a=1; b=2" || h.Get("X-Sallyport-Verified") != "false" {
		t.Errorf("the app got %v", h)
	}
	if diff := cmp.Diff(before, r.Header); diff != "" {
		t.Errorf("the request was changed:\n%s", diff)
	}
}

func TestForwardFiltersSetCookie(t *testing.T) {
	set := []string{
		"session=s2; Path=/", "__Host-own=evil; Path=/; Secure", "__host-OWN=evil", "=__Host-own=evil", `"__Host-own"=evil`,
		"__Host-own=; Max-Age=0", "__Host-owned=1", "odd",
	}
	for _, tc := range []struct {
		name string
		f    proxy.Forwarding
		want []string
	}{
		{"the app's own pass", proxy.Forwarding{}, []string{"session=s2; Path=/", "__Host-owned=1", "odd"}},
		{"none pass where the app saw none", proxy.Forwarding{DropSetCookies: true}, nil},
		{"what the sidecar adds passes", proxy.Forwarding{DropSetCookies: true, OnResponse: func(r *http.Response) error {
			if got := r.Header["Set-Cookie"]; len(got) != 0 {
				return errors.New("the hook sees cookies that are dropped")
			}
			r.Header.Add("Set-Cookie", "__Host-own=ours")
			return nil
		}}, []string{"__Host-own=ours"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStack(t, setup{forwarding: tc.f, app: func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Set-Cookie"] = set
				w.Header().Set("Link", "</a.css>")
				w.WriteHeader(http.StatusEarlyHints)
				w.WriteHeader(http.StatusTeapot)
			}})
			var early http.Header
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
					early = http.Header(h)
					return nil
				},
			})
			response := do(t, client(t, false), newRequest(t, http.MethodGet, s.url, http.NoBody).WithContext(ctx))
			if diff := cmp.Diff(tc.want, response.Header["Set-Cookie"]); diff != "" || response.StatusCode != http.StatusTeapot {
				t.Errorf("status %d\n%s", response.StatusCode, diff)
			}
			if early.Get("Link") == "" || strings.Contains(strings.Join(early["Set-Cookie"], ""), "own=") {
				t.Errorf("early hints: %v", early)
			}
		})
	}
}

func TestForwardLeavesNoEmptySetCookie(t *testing.T) {
	s := newStack(t, setup{app: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("Set-Cookie", "__Host-own=evil")
	}})
	response := do(t, client(t, false), newRequest(t, http.MethodGet, s.url, http.NoBody))
	if lines, ok := response.Header["Set-Cookie"]; ok {
		t.Errorf("got %q", lines)
	}
}

func TestForwardAnswersForAnAppThatDoesNot(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	origin, _ := url.Parse(gone.URL)
	var failure error
	for name, handler := range map[string]func(http.ResponseWriter, *http.Request, error){
		"by default": nil,
		"as told": func(w http.ResponseWriter, r *http.Request, err error) {
			failure = err
			if r.URL.RawQuery != "code=canary" || r.Header.Get("X-Sallyport-Verified") != "" {
				t.Errorf("the handler got another request: %s %v", r.URL, r.Header)
			}
			w.WriteHeader(http.StatusBadGateway)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := proxy.New(proxy.Config{App: origin, ErrorHandler: handler})
			defer p.Close()
			w := httptest.NewRecorder()
			p.Forward(w, get("/x?code=canary"), proxy.Forwarding{})
			if w.Code != http.StatusBadGateway {
				t.Errorf("got %d", w.Code)
			}
		})
	}
	if failure == nil || strings.Contains(failure.Error(), "canary") {
		t.Errorf("the failure is %v", failure)
	}
}

func TestForwardTellsTheHandlerWhatTheHookSays(t *testing.T) {
	refused := errors.New("refused")
	s := newStack(t, setup{
		app:        func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the app's answer") },
		forwarding: proxy.Forwarding{OnResponse: func(*http.Response) error { return refused }},
		onError: func(w http.ResponseWriter, _ *http.Request, err error) {
			if !errors.Is(err, refused) {
				t.Errorf("got %v", err)
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		},
	})
	response := do(t, client(t, false), newRequest(t, http.MethodGet, s.url, http.NoBody))
	if body := read(t, response.Body); response.StatusCode != http.StatusServiceUnavailable || body != "" {
		t.Errorf("got %d %q", response.StatusCode, body)
	}
}

func TestForwardEndsWithTheClient(t *testing.T) {
	started, ended := make(chan struct{}), make(chan struct{})
	s := newStack(t, setup{
		app: func(_ http.ResponseWriter, r *http.Request) {
			close(started)
			<-r.Context().Done()
			close(ended)
		},
		onError: func(_ http.ResponseWriter, _ *http.Request, err error) { t.Errorf("the handler was told %v", err) },
	})
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		response, err := client(t, false).Do(newRequest(t, http.MethodGet, s.url, http.NoBody).WithContext(ctx))
		if err == nil {
			_ = response.Body.Close()
		}
		failed <- err
	}()
	await(t, "the request", started)
	cancel()
	await(t, "the end of the app's request", ended)
	if err := await(t, "the client's error", failed); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A request that is cut before the app answered must not look like a success.
func TestForwardSaysThatARequestWasCut(t *testing.T) {
	app := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	origin, _ := url.Parse(app.URL)
	p := proxy.New(proxy.Config{App: origin, ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
		t.Error("the handler was called for nobody")
	}})
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	p.Forward(w, get("/").WithContext(ctx), proxy.Forwarding{})
	if w.Code != http.StatusBadGateway {
		t.Errorf("got %d", w.Code)
	}
}

func TestForwardLogsAnswersCutShortWithoutTheirQuery(t *testing.T) {
	var lines syncBuffer
	app := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "short")
	})
	origin, _ := url.Parse(app.URL)
	p := proxy.New(proxy.Config{App: origin, Log: slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	defer p.Close()
	front := serve(t, func(w http.ResponseWriter, r *http.Request) { p.Forward(w, r, proxy.Forwarding{}) })
	response := do(t, client(t, false), newRequest(t, http.MethodGet, front.URL+"/x?code=canary", http.NoBody))
	if _, err := io.ReadAll(response.Body); err == nil {
		t.Error("the client was not told that the answer is incomplete")
	}
	if got := lines.String(); !strings.Contains(got, "cut short") || strings.Contains(got, "canary") {
		t.Errorf("logged %q", got)
	}
}

// syncBuffer takes log lines from any goroutine.
type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
