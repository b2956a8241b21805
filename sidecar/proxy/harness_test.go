package proxy_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/proxy"
)

const patience = 5 * time.Second // for what should come at once

func hygiene() *proxy.Hygiene {
	return proxy.NewHygiene(proxy.HygieneConfig{
		OwnCookies: []string{"__Host-own"}, SignificantCookies: []string{"session", "my_sid"},
		ReservedHeaders: []string{"X-Auth-User"}, TrustedHeaders: []string{"X-Proxy-User"},
		Trusts: func(peer netip.Addr) bool { return peer == netip.MustParseAddr("192.0.2.1") }, // httptest's client
	})
}

func get(target string, headers ...string) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, target, http.NoBody)
	for len(headers) > 0 {
		r.Header.Add(headers[0], headers[1])
		headers = headers[2:]
	}
	return r
}

// stack is a client's view of hygiene and proxy in front of an app, over real
// connections.
type stack struct {
	url  string
	addr string
}

type setup struct {
	app        http.HandlerFunc
	forwarding proxy.Forwarding
	onError    func(http.ResponseWriter, *http.Request, error)
}

func newStack(t *testing.T, s setup) stack {
	t.Helper()
	app := serve(t, s.app)
	origin, _ := url.Parse(app.URL)
	p := proxy.New(proxy.Config{App: origin, OwnCookies: []string{"__Host-own"}, ErrorHandler: s.onError})
	t.Cleanup(p.Close)
	front := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if refusal := hygiene().Clean(r); refusal != nil {
			proxy.WriteProblem(w, r, proxy.Problem{Status: refusal.Status, Code: refusal.Code, Detail: refusal.Detail})
			return
		}
		p.Forward(wrapped{w}, r, s.forwarding)
	})
	return stack{url: front.URL, addr: front.Listener.Addr().String()}
}

// wrapped is a ResponseWriter in the middle of a chain, as middleware makes them.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// serve serves HTTP/1.1 and cleartext HTTP/2.
func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.Protocols = protocols(true, true)
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server
}

func protocols(http1, http2 bool) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(http1)
	p.SetUnencryptedHTTP2(http2)
	return p
}

// client speaks one protocol and follows nothing.
func client(t *testing.T, http2 bool) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: protocols(!http2, http2), DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func do(t *testing.T, c *http.Client, r *http.Request) *http.Response {
	t.Helper()
	response, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

func newRequest(t *testing.T, method, target string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func read(t *testing.T, body io.Reader) string {
	t.Helper()
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// raw is a connection on which a test writes what no client library would.
type raw struct {
	net.Conn

	r *bufio.Reader
}

func dial(t *testing.T, addr string) raw {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	return raw{conn, bufio.NewReader(conn)}
}

func (c raw) send(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(c, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
}

func (c raw) response(t *testing.T) *http.Response {
	t.Helper()
	response, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

// await fails the test where nothing comes.
func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}
