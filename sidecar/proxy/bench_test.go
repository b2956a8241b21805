package proxy_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/proxy"
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
