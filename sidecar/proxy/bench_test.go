package proxy_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/identity"
	"github.com/sallyport/sallyport/sidecar/identity/wire"
	"github.com/sallyport/sallyport/sidecar/proxy"
	"github.com/sallyport/sallyport/sidecar/web"
)

// Forward against the reverse proxy that anyone would write, with the same app and
// client. What the CPUs do counts client and app in.
func BenchmarkForward(b *testing.B) {
	answer := bytes.Repeat([]byte("x"), 1<<10)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		_, _ = w.Write(answer)
	}))
	defer app.Close()
	origin, _ := url.Parse(app.URL)
	bare := &httputil.ReverseProxy{
		Rewrite:    func(pr *httputil.ProxyRequest) { pr.SetURL(origin); pr.SetXForwarded() },
		BufferPool: new(buffers),
		Transport:  &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true, IdleConnTimeout: time.Minute},
	}
	p := proxy.New(proxy.Config{App: origin, OwnCookies: []string{"__Host-own"}})
	defer p.Close()
	for _, c := range []struct {
		name    string
		handler http.Handler
	}{
		{"app", app.Config.Handler},
		{"bare Go", bare},
		{"Forward", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.Forward(w, r, proxy.Forwarding{}) })},
	} {
		front := httptest.NewServer(c.handler)
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpu()
			for b.Loop() {
				r, _ := http.NewRequestWithContext(b.Context(), http.MethodGet, front.URL+"/path?a=b", http.NoBody)
				r.Header.Set("Cookie", "session=s1; __Host-own=secret; theme=dark")
				r.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
				r.Header.Set("Accept-Language", "en")
				response, err := client.Do(r)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
			}
			b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
		client.CloseIdleConnections()
		front.Close()
	}
}

// What a browser's request costs before anyone asks who sent it: both of the
// sidecar's cookies are read, the request is cleaned, and the cookies that go to the
// app are taken.
func BenchmarkClean(b *testing.B) {
	var own web.Cookies
	token, back := own.Token(), own.Return()
	source, err := identity.NewEndpoint(
		policy.EndpointIdentity{Path: "/api/me", Cookies: []string{"session"}, Subject: "/id"},
		identity.EndpointOptions{App: &url.URL{Scheme: "http", Host: "127.0.0.1:8080"}, Clock: time.Now},
	)
	if err != nil {
		b.Fatal(err)
	}
	h := proxy.NewHygiene(proxy.HygieneConfig{
		OwnCookies: own.Names(), SignificantCookies: []string{"session"}, TrustedHeaders: source.Reserved(), Trusts: source.Trusts,
	})
	named := wire.Named(own.Names())
	r := get("/reports/2026?sort=date",
		"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Encoding", "gzip, deflate, br",
		"Accept-Language", "en-GB,en;q=0.5", "Referer", "https://portal.example/reports", "Sec-Fetch-Dest", "document",
		"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "same-origin", "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0)",
		"X-Forwarded-For", "203.0.113.7", "X-Forwarded-Proto", "https",
	)
	connection := []string{"keep-alive"}
	session, secret := "session="+strings.Repeat("s", 32), token+"="+strings.Repeat("t", 43)
	for _, order := range []struct{ name, line string }{
		{"own last", "theme=dark; " + session + "; _ga=GA1.1.123.456; " + secret},
		{"own between", "theme=dark; " + secret + "; " + session + "; _ga_9X=GS2.1.s17"},
		{"no own", "theme=dark; " + session + "; _ga=GA1.1.123.456"},
	} {
		b.Run(order.name, func(b *testing.B) {
			cookies := []string{order.line}
			b.ReportAllocs()
			for b.Loop() {
				r.Header["Connection"], r.Header["Cookie"] = connection, cookies
				proxy.CookieValue(r, token)
				proxy.CookieValue(r, back)
				if refusal := h.Clean(r); refusal != nil {
					b.Fatal(refusal)
				}
				wire.Without(wire.CookieLine(r.Header), named)
			}
		})
	}
}

type buffers struct{ sync.Pool }

func (b *buffers) Get() []byte {
	if buffer, ok := b.Pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(buffer []byte) { b.Pool.Put(&buffer) }

// cpu is the time that the process has used.
func cpu() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
