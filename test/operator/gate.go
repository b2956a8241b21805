package operator

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Gate stands between an operator and the API server. It lets everything by until it
// is shut; from then on no request gets through and no answer comes back, so that an
// operator stands still exactly where a test wants it.
type Gate struct {
	next http.RoundTripper
	end  chan struct{} // closed with the test

	mu      sync.Mutex
	cut     *cut
	shut    chan struct{} // closed once it is shut
	stopped bool
}

type cut struct {
	before bool
	match  func(*http.Request) bool
}

// BehindGate is the same cluster, whose operators reach the API server through a gate.
func (c *Cluster) BehindGate() (*Cluster, *Gate) {
	c.t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		c.t.Fatal(err)
	}
	next, err := rest.TransportFor(config)
	if err != nil {
		c.t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		c.t.Fatal(err)
	}
	g := &Gate{next: next, end: make(chan struct{}), shut: make(chan struct{})}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: g, FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	c.t.Cleanup(func() {
		close(g.end)
		server.CloseClientConnections()
		server.Close()
	})
	through := clientcmdapi.NewConfig()
	through.Clusters["gate"] = &clientcmdapi.Cluster{Server: server.URL}
	through.Contexts["gate"] = &clientcmdapi.Context{Cluster: "gate"}
	through.CurrentContext = "gate"
	content, err := clientcmd.Write(*through)
	if err != nil {
		c.t.Fatal(err)
	}
	behind := *c
	behind.kubeconfig = c.write("gate.kubeconfig", string(content))
	return &behind, g
}

// ShutAfter shuts the gate when the API server has carried out a request that
// matches, and before its answer is told. The channel is closed then.
func (g *Gate) ShutAfter(match func(*http.Request) bool) <-chan struct{} {
	return g.set(&cut{match: match})
}

// ShutBefore shuts the gate when a request that matches comes; it is not carried out.
func (g *Gate) ShutBefore(match func(*http.Request) bool) <-chan struct{} {
	return g.set(&cut{match: match, before: true})
}

func (g *Gate) set(c *cut) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut = c
	return g.shut
}

// RoundTrip is the gate itself.
func (g *Gate) RoundTrip(r *http.Request) (*http.Response, error) {
	at := g.cutAt(r)
	if at != nil && at.before {
		g.close()
	}
	if g.closed() {
		return nil, g.wait(r.Context())
	}
	answer, err := g.next.RoundTrip(r)
	if at != nil {
		g.close()
	}
	if err == nil && g.closed() {
		_ = answer.Body.Close() // nobody is told
		return nil, g.wait(r.Context())
	}
	return answer, err
}

func (g *Gate) cutAt(r *http.Request) *cut {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cut != nil && g.cut.match(r) {
		return g.cut
	}
	return nil
}

func (g *Gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.stopped {
		g.stopped = true
		close(g.shut)
	}
}

func (g *Gate) closed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stopped
}

// errShut is what nobody is there to be told.
var errShut = errors.New("the gate is shut")

func (g *Gate) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-g.end:
	}
	return errShut
}
