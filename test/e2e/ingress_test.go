package e2e_test

import (
	"context"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/sallyport/sallyport/test/stack"
)

// ingress is what stands in front of a Service in a cluster: it ends TLS, without which
// no browser keeps the sidecar's cookies, and passes requests on.
type ingress struct {
	*httptest.Server
}

// newIngress passes on to host:port. Requests that a closed connection lost are tried
// again where HTTP lets them be, as usual ingresses do.
func newIngress(t *testing.T, to string) *ingress {
	t.Helper()
	until(t, to+" takes connections", func(ctx context.Context) error { // the node learns of a Service in its own time
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", to)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	transport := &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 5 * time.Second, ResponseHeaderTimeout: 30 * time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: to})
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.Header().Set("Ingress-Error", err.Error())
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	server := httptest.NewTLSServer(proxy)
	t.Cleanup(server.Close)
	return &ingress{server}
}

// browser is one without JavaScript, for what needs no pages to be looked at.
func (i *ingress) browser(t *testing.T) *stack.Browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &stack.Browser{Base: i.URL, Client: &http.Client{
		Jar: jar, Transport: i.Client().Transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	return b.For(t)
}
