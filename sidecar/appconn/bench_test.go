package appconn_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/appconn"
)

// The same requests through both transports, one at a time and many at once.
func BenchmarkRoundTrip(b *testing.B) {
	answer := bytes.Repeat([]byte("x"), 1<<10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		_, _ = w.Write(answer)
	}))
	defer server.Close()
	app, _ := url.Parse(server.URL)
	for _, upload := range []int{0, 1 << 10} {
		for _, own := range []bool{false, true} {
			name := map[int]string{0: "GET/", 1 << 10: "POST/"}[upload] + map[bool]string{false: "standard", true: "own"}[own]
			standard := &http.Transport{
				MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute, DisableCompression: true,
				ReadBufferSize: 32 << 10, WriteBufferSize: 32 << 10, DialContext: new(dialed).dial,
			}
			var transport http.RoundTripper = standard
			if own {
				transport = appconn.New(app, standard)
			}
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					exchangeOnce(b, transport, server.URL, upload)
				}
			})
			b.Run(name+"/parallel", func(b *testing.B) {
				b.ReportAllocs()
				b.SetParallelism(8)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						exchangeOnce(b, transport, server.URL, upload)
					}
				})
			})
			standard.CloseIdleConnections()
		}
	}
}

func exchangeOnce(b *testing.B, transport http.RoundTripper, target string, upload int) {
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if upload > 0 {
		method, body = http.MethodPost, struct{ io.Reader }{bytes.NewReader(make([]byte, upload))}
	}
	r, err := http.NewRequestWithContext(b.Context(), method, target, body)
	if err != nil {
		b.Error(err)
		return
	}
	r.ContentLength = int64(upload)
	response, err := transport.RoundTrip(r)
	if err != nil {
		b.Error(err)
		return
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
}
