package proxy

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"time"
)

const (
	dialTimeout = 2 * time.Second
	// idleTimeout is shorter than that of most app servers (5 s is common). A
	// connection that the app closes in the very moment that it is used again
	// fails the request, and only some requests can be repeated. A new connection
	// within the pod costs next to nothing.
	idleTimeout = 1500 * time.Millisecond
	bufferSize  = 32 << 10
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
		ReadBufferSize:        bufferSize,
		WriteBufferSize:       bufferSize,
		Protocols:             new(http.Protocols),
	}
}

// transport chooses HTTP/1.1, which every app speaks, but for gRPC.
func (p *Proxy) transport(r *http.Request) http.RoundTripper {
	if r.ProtoMajor == 2 && p.app.Scheme == "http" && isGRPC(r.Header.Get("Content-Type")) {
		return p.http2
	}
	return p.http1
}

// isGRPC tells gRPC from gRPC-Web, which is made for HTTP/1.1.
func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(contentType), "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// informational lets 1xx answers through without the cookies that the final answer
// may not set either.
type informational struct {
	next http.RoundTripper
	drop func(http.Header)
}

func (t informational) RoundTrip(r *http.Request) (*http.Response, error) {
	trace := &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
		t.drop(http.Header(h))
		return nil
	}}
	return t.next.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
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
	if l.log != nil {
		l.log.Debug("An answer of the app was cut short", slog.String("cause", strings.TrimSpace(string(line))))
	}
	return len(line), nil
}
