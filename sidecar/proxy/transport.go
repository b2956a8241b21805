package proxy

import (
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/sidecar/appconn"
)

const (
	dialTimeout = 2 * time.Second
	// idleTimeout is shorter than that of most app servers (5 s is common). A
	// connection that the app closes in the very moment that it is used again
	// fails the request, and only some requests can be repeated. A new connection
	// within the pod costs next to nothing.
	idleTimeout = 1500 * time.Millisecond
	// bufferSize is of what bodies are copied through. A connection's own buffers are
	// smaller, as net/http has them: bodies pass them by.
	bufferSize = 32 << 10
)

func newTransport() *http.Transport {
	t := baseTransport()
	t.Protocols.SetHTTP1(true)
	return t
}

// newCleartextHTTP2Transport is for gRPC, which knows nothing but HTTP/2.
func newCleartextHTTP2Transport() *http.Transport {
	t := baseTransport()
	t.Protocols.SetUnencryptedHTTP2(true)
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 10 * time.Second}
	return t
}

// baseTransport suits one app in the same pod: many idle connections to it, no
// proxy, no compression of its own, and no limit on how long an answer may take,
// which is between the app and its clients.
func baseTransport() *http.Transport {
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       idleTimeout,
		DisableCompression:    true,
		ExpectContinueTimeout: time.Second,
		Protocols:             new(http.Protocols),
	}
}

// RoundTrip sends what the reverse proxy carries: gRPC by HTTP/2, and else by HTTP/1.1.
// 1xx answers lose the cookies that the final answer may not set either.
func (f *forward) RoundTrip(r *http.Request) (*http.Response, error) {
	interim := func(_ int, h http.Header) { f.proxy.dropCookies(h, f.Forwarding) }
	if f.isHTTP2() {
		return f.proxy.http2.RoundTrip(appconn.WithInterim(r, interim))
	}
	return f.proxy.http1.Send(r, nil, interim)
}

// isHTTP2 reports whether the app is asked by HTTP/2. HTTP/1.1 is what every app
// speaks, but for gRPC.
func (f *forward) isHTTP2() bool {
	return f.in.ProtoMajor == 2 && f.proxy.app.Scheme == "http" && isGRPC(f.in.Header.Get("Content-Type"))
}

// isGRPC tells gRPC from gRPC-Web, which is made for HTTP/1.1.
func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(contentType), "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// bufferPool lends the buffers that bodies are copied through.
type bufferPool struct{ pool sync.Pool }

func newBufferPool() *bufferPool {
	return &bufferPool{pool: sync.Pool{New: func() any { return new([bufferSize]byte) }}}
}

// Get implements httputil.BufferPool.
func (b *bufferPool) Get() []byte {
	buffer, _ := b.pool.Get().(*[bufferSize]byte)
	return buffer[:]
}

// Put implements httputil.BufferPool.
func (b *bufferPool) Put(buffer []byte) { b.pool.Put((*[bufferSize]byte)(buffer)) }

// reverseLog takes the lines of the reverse proxy, which come once an answer has
// begun and cannot be taken back. Mostly a client or the app hung up.
type reverseLog struct{ log *slog.Logger }

func (l reverseLog) Write(line []byte) (int, error) {
	l.log.Debug("An answer of the app was cut short", slog.String("cause", strings.TrimSpace(string(line))))
	return len(line), nil
}
