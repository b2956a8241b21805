package probe_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/probe"
)

// serve makes probes reachable as the sidecar's operations port does.
func serve(t *testing.T, probes ...probe.Probe) *httptest.Server {
	t.Helper()
	handler, err := probe.NewHandler(probe.Options{
		Probes: probes, Dial: new(net.Dialer).DialContext, Clock: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

// app serves an app and returns its port.
func app(t *testing.T, handler http.HandlerFunc) int32 {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return portOf(server.Listener.Addr())
}

func portOf(address net.Addr) int32 {
	return int32(netip.MustParseAddrPort(address.String()).Port())
}

type answer struct {
	Status int
	Body   string
}

var (
	up           = answer{http.StatusOK, "ok\n"}
	unsuccessful = answer{http.StatusServiceUnavailable, "not successful\n"}
	unreachable  = answer{http.StatusServiceUnavailable, "not reachable\n"}
	timedOut     = answer{http.StatusServiceUnavailable, "timed out\n"}
)

func ask(t *testing.T, server *httptest.Server, path string, header ...string) answer {
	t.Helper()
	got, err := tryAsk(t, server, path, header...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func tryAsk(t *testing.T, server *httptest.Server, path string, header ...string) (answer, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Add(name, value)
	}
	response, err := server.Client().Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := response.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("%s: Cache-Control %q", path, got)
	}
	for name := range response.Header {
		if strings.HasPrefix(name, "X-App") {
			t.Errorf("%s: the answer has the app's %s", path, name)
		}
	}
	return answer{response.StatusCode, string(body)}, nil
}

func want(t *testing.T, name string, got, want answer) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s:\n%s", name, diff)
	}
}

func get(port int32, path string) probe.Probe {
	return probe.Probe{
		Container: "web", Kind: probe.Liveness, TimeoutSeconds: 5, HTTPGet: &probe.HTTPGet{Path: path, Port: port},
	}
}

func TestHTTPGetSucceedsAsTheKubeletSays(t *testing.T) {
	t.Parallel()
	port := app(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-App-Secret", "hidden")
		redirects := map[string]string{
			"/away": "http://elsewhere.example/down", "/near": "/down", "/up": "/200", "/loop": "/loop",
			"/bare": "",
		}
		if to, ok := redirects[r.URL.Path]; ok {
			if to != "" {
				w.Header().Set("Location", to)
			}
			w.WriteHeader(http.StatusFound)
			return
		}
		status := map[string]int{"/200": 200, "/204": 204, "/304": 304, "/399": 399, "/400": 400, "/503": 503, "/down": 500}[r.URL.Path]
		if status == 0 {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "the app's own words")
	})
	for _, tc := range []struct {
		path string
		want answer
	}{
		{"/200", up},
		{"/204", up},
		{"/304", up},
		{"/399", up},
		{"/200?query", up},
		{"200", up},
		{"http://elsewhere.example/200", up},
		{"/400", unsuccessful},
		{"/404", unsuccessful},
		{"", unsuccessful},
		{"/503", unsuccessful},
		{"/away", up},
		{"/bare", up},
		{"/up", up},
		{"/near", unsuccessful},
		{"/loop", unsuccessful},
	} {
		t.Run(tc.path, func(t *testing.T) {
			t.Parallel()
			want(t, tc.path, ask(t, serve(t, get(port, tc.path)), "/probe/web/liveness"), tc.want)
		})
	}
}

// seen is what of a request does not vary.
type seen struct {
	Target, Host string
	Header       http.Header
}

func TestHTTPGetSendsTheManifestsRequest(t *testing.T) {
	t.Parallel()
	requests := make(chan seen, 1)
	port := app(t, func(_ http.ResponseWriter, r *http.Request) {
		requests <- seen{r.URL.String(), r.Host, r.Header}
	})
	address := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port)).String()
	for _, tc := range []struct {
		name string
		get  probe.HTTPGet
		want seen
	}{
		{"with nothing said", probe.HTTPGet{Path: "/a%2Fb?c=%20d"}, seen{"/a%2Fb?c=%20d", address, http.Header{
			"User-Agent": {"kube-probe/1 sallyport"}, "Accept": {"*/*"}, "Connection": {"close"},
		}}},
		{"with headers", probe.HTTPGet{Headers: []probe.Header{
			{Name: "host", Value: "app.example"},
			{Name: "User-Agent", Value: "mine"},
			{Name: "Accept", Value: ""},
			{Name: "X-A", Value: "1"},
			{Name: "X-A", Value: "2"},
		}}, seen{"/", "app.example", http.Header{
			"User-Agent": {"mine"}, "X-A": {"1", "2"}, "Connection": {"close"}, "Host": nil,
		}}},
		{"with a host", probe.HTTPGet{Host: "localhost"}, seen{"/", strings.Replace(address, "127.0.0.1", "localhost", 1), http.Header{
			"User-Agent": {"kube-probe/1 sallyport"}, "Accept": {"*/*"}, "Connection": {"close"},
		}}},
	} {
		p := get(port, "")
		tc.get.Port = port
		p.HTTPGet = &tc.get
		// What a caller says of itself does not reach the app.
		want(t, tc.name, ask(t, serve(t, p), "/probe/web/liveness?x=y", "X-Caller: me", "Cookie: a=b", "User-Agent: caller"), up)
		got := <-requests
		delete(tc.want.Header, "Host")
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s:\n%s", tc.name, diff)
		}
	}
}

func TestHTTPGetOverTLSAcceptsAnyCertificate(t *testing.T) {
	t.Parallel()
	protocols := make(chan string, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { protocols <- r.Proto }))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	p := get(portOf(server.Listener.Addr()), "/")
	p.HTTPGet.Scheme = "HTTPS"
	want(t, "HTTPS", ask(t, serve(t, p), "/probe/web/liveness"), up)
	if got := <-protocols; got != "HTTP/2.0" {
		t.Errorf("the app was asked over %s", got)
	}
	p.HTTPGet.Scheme = "HTTP"
	want(t, "HTTP to a TLS port", ask(t, serve(t, p), "/probe/web/liveness"), unsuccessful)
}

func TestTCPSocket(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		p := probe.Probe{
			Container: "web", Kind: probe.Startup, TimeoutSeconds: 5, TCPSocket: &probe.TCPSocket{Port: portOf(listener.Addr())},
		}
		want(t, "open "+address, ask(t, serve(t, p), "/probe/web/startup"), up)
		listener.Close()
		want(t, "closed "+address, ask(t, serve(t, p), "/probe/web/startup"), unreachable)
	}
}

func TestTimeoutIsDown(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	port := app(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	p := get(port, "/")
	p.TimeoutSeconds = 0 // one second
	want(t, "an app that hangs", ask(t, serve(t, p), "/probe/web/liveness"), timedOut)
}

func TestOnlyKnownProbesAndGET(t *testing.T) {
	t.Parallel()
	hits := make(chan struct{}, 9)
	server := serve(t, get(app(t, func(http.ResponseWriter, *http.Request) { hits <- struct{}{} }), "/"))
	for _, path := range []string{
		"/probe/", "/probe/web", "/probe/web/readiness", "/probe/api/liveness", "/probe/web/liveness/", "/probe/web/Liveness",
	} {
		want(t, path, ask(t, server, path), answer{http.StatusNotFound, "no such probe\n"})
	}
	for _, method := range []string{http.MethodPost, http.MethodHead, http.MethodOptions} {
		recorder := httptest.NewRecorder()
		server.Config.Handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), method, "/probe/web/liveness", nil))
		if recorder.Code != http.StatusMethodNotAllowed || recorder.Header().Get("Allow") != "GET" {
			t.Errorf("%s: %d, Allow %q", method, recorder.Code, recorder.Header().Get("Allow"))
		}
	}
	if len(hits) != 0 {
		t.Errorf("the app was asked %d times", len(hits))
	}
}

func TestHooks(t *testing.T) {
	t.Parallel()
	hits := make(chan struct{}, 9)
	port := app(t, func(w http.ResponseWriter, _ *http.Request) {
		hits <- struct{}{}
		w.WriteHeader(http.StatusInternalServerError)
	})
	hook := func(kind probe.Kind, port int32) probe.Probe {
		return probe.Probe{Container: "web", Kind: kind, Token: token, HTTPGet: &probe.HTTPGet{Path: "/stop", Port: port}}
	}
	server := serve(t, hook(probe.PreStop, port), hook(probe.PostStart, freePort(t)))
	hidden := answer{http.StatusNotFound, "no such probe\n"}
	want(t, "without a token", ask(t, server, "/probe/web/preStop"), hidden)
	want(t, "with another token", ask(t, server, "/probe/web/preStop", probe.TokenHeader+": "+token+"2"), hidden)
	if len(hits) != 0 {
		t.Fatal("a hook ran without its token")
	}
	// The kubelet runs a hook each time, and takes any status for a success.
	for range 2 {
		want(t, "with the token", ask(t, server, "/probe/web/preStop", probe.TokenHeader+": "+token), up)
	}
	if len(hits) != 2 {
		t.Errorf("the hook ran %d times, want 2", len(hits))
	}
	if got, err := tryAsk(t, server, "/probe/web/postStart", probe.TokenHeader+": "+token); err == nil {
		t.Errorf("a hook that nobody heard was answered with %+v", got)
	}
}

func freePort(t *testing.T) int32 {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return portOf(listener.Addr())
}

func TestNewHandlerRefusesWhatDecodeRefuses(t *testing.T) {
	t.Parallel()
	p := get(80, "/")
	p.HTTPGet.Host = "10.0.0.1"
	_, err := probe.NewHandler(probe.Options{
		Probes: []probe.Probe{p},
		Dial: func(context.Context, string, string) (net.Conn, error) {
			panic("dialled")
		},
		Clock: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err == nil {
		t.Error("NewHandler accepted a probe of another host")
	}
}
