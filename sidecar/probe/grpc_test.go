package probe_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/sallyport/sallyport/sidecar/probe"
)

// The library that apps use answers what the kubelet's own client would be answered.
func TestGRPCAgainstTheLibrary(t *testing.T) {
	t.Parallel()
	start := func(register func(*grpc.Server)) int32 {
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer()
		register(server)
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(server.Stop)
		return portOf(listener.Addr())
	}
	status := health.NewServer()
	status.SetServingStatus("up.v1", grpc_health_v1.HealthCheckResponse_SERVING)
	status.SetServingStatus("down.v1", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	healthy := start(func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, status) })
	bare := start(func(*grpc.Server) {})
	plain := app(t, func(http.ResponseWriter, *http.Request) {})
	for _, tc := range []struct {
		name    string
		port    int32
		service string
		want    answer
	}{
		{"the server as a whole", healthy, "", up},
		{"a service that serves", healthy, "up.v1", up},
		{"a service that does not", healthy, "down.v1", unsuccessful},
		{"a service that is not known", healthy, "other.v1", unsuccessful},
		{"a server without health", bare, "", unsuccessful},
		{"a server of HTTP/1", plain, "", unreachable},
		{"nobody", freePort(t), "", unreachable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := probe.Probe{
				Container: "web", Kind: probe.Readiness, TimeoutSeconds: 5, GRPC: &probe.GRPC{Port: tc.port, Service: tc.service},
			}
			want(t, tc.name, ask(t, serve(t, p), "/probe/web/readiness"), tc.want)
		})
	}
}

// Only a whole, plain, successful answer that says SERVING is a success.
func TestGRPCAnswersThatAreNoSuccess(t *testing.T) {
	t.Parallel()
	const grpcType = "application/grpc+proto"
	for _, tc := range []struct {
		name, contentType, status, body string
		code                            int
		want                            answer
	}{
		{"serving", grpcType, "0", "\x00\x00\x00\x00\x02\x08\x01", 200, up},
		{"serving, with fields of a later version", grpcType, "0", "\x00\x00\x00\x00\x06\x12\x02ab\x08\x01", 200, up},
		{"an unknown status", grpcType, "0", "\x00\x00\x00\x00\x00", 200, unsuccessful},
		{"not serving", grpcType, "0", "\x00\x00\x00\x00\x02\x08\x02", 200, unsuccessful},
		{"a status that only ends like serving", grpcType, "0", "\x00\x00\x00\x00\x03\x08\x81\x02", 200, unsuccessful},
		{"serving in another field", grpcType, "0", "\x00\x00\x00\x00\x02\x10\x01", 200, unsuccessful},
		{"serving in another form", grpcType, "0", "\x00\x00\x00\x00\x02\x0a\x01", 200, unsuccessful},
		{"serving, and then an error", grpcType, "13", "\x00\x00\x00\x00\x02\x08\x01", 200, unsuccessful},
		{"serving, and no status", grpcType, "", "\x00\x00\x00\x00\x02\x08\x01", 200, unsuccessful},
		{"a compressed message", grpcType, "0", "\x01\x00\x00\x00\x02\x08\x01", 200, unsuccessful},
		{"a message cut short", grpcType, "0", "\x00\x00\x00\x00\x03\x08\x01", 200, unsuccessful},
		{"two messages", grpcType, "0", "\x00\x00\x00\x00\x02\x08\x01\x00\x00\x00\x00\x02\x08\x01", 200, unsuccessful},
		{"a field cut short", grpcType, "0", "\x00\x00\x00\x00\x01\x08", 200, unsuccessful},
		{"no message", grpcType, "0", "", 200, unsuccessful},
		{"a long message", grpcType, "0", "\x00\x00\x00\x20\x00" + string(make([]byte, 8192)), 200, unsuccessful},
		{"a page", "text/html", "0", "\x00\x00\x00\x00\x02\x08\x01", 200, unsuccessful},
		{"an HTTP error", grpcType, "0", "\x00\x00\x00\x00\x02\x08\x01", 503, unsuccessful},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPost || r.URL.Path != "/grpc.health.v1.Health/Check" || r.Header.Get("Te") != "trailers" {
					t.Errorf("the app was asked %s %s, TE %q", r.Method, r.URL, r.Header.Get("Te"))
				}
				w.Header().Set("Content-Type", tc.contentType)
				w.WriteHeader(tc.code)
				_, _ = w.Write([]byte(tc.body))
				if tc.status != "" {
					w.Header().Set(http.TrailerPrefix+"Grpc-Status", tc.status)
				}
			}))
			server.Config.Protocols = new(http.Protocols)
			server.Config.Protocols.SetUnencryptedHTTP2(true)
			server.Start()
			t.Cleanup(server.Close)
			p := probe.Probe{
				Container: "web", Kind: probe.Readiness, TimeoutSeconds: 5, GRPC: &probe.GRPC{Port: portOf(server.Listener.Addr())},
			}
			want(t, tc.name, ask(t, serve(t, p), "/probe/web/readiness"), tc.want)
		})
	}
}
