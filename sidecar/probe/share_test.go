package probe_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/sidecar/probe"
)

// gate is an app that lets a connection in when the test says so.
type gate struct {
	dials   atomic.Int32
	refuses atomic.Bool
	open    chan struct{}
}

func (g *gate) dial(ctx context.Context, _, address string) (net.Conn, error) {
	if strings.HasPrefix(address, "[::1]") {
		return nil, errors.New("no IPv6 here")
	}
	g.dials.Add(1)
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-g.open:
	}
	if g.refuses.Load() {
		return nil, errors.New("refused")
	}
	conn, peer := net.Pipe()
	peer.Close()
	return conn, nil
}

func (g *gate) handler(t *testing.T, log *slog.Logger, seconds int32) http.Handler {
	t.Helper()
	handler, err := probe.NewHandler(probe.Options{
		Probes: []probe.Probe{
			{Container: "web", Kind: probe.Liveness, TimeoutSeconds: seconds, TCPSocket: &probe.TCPSocket{Port: 1}},
			{Container: "web", Kind: probe.Readiness, TimeoutSeconds: seconds, TCPSocket: &probe.TCPSocket{Port: 1}},
			{Container: "web", Kind: probe.PreStop, Token: token, HTTPGet: &probe.HTTPGet{Port: 1}},
		},
		Dial: g.dial, Clock: time.Now, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

func call(ctx context.Context, handler http.Handler, path string) int {
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil))
	return recorder.Code
}

func TestConcurrentCallersShareOneProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		handler := g.handler(t, slog.New(slog.DiscardHandler), 60)
		gone, leave := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { call(gone, handler, "/probe/web/liveness") })
		synctest.Wait()
		var ups atomic.Int32
		for range 20 {
			group.Go(func() {
				if call(t.Context(), handler, "/probe/web/liveness") == http.StatusOK {
					ups.Add(1)
				}
			})
		}
		synctest.Wait()
		leave() // who began it does not end it for the others
		synctest.Wait()
		if got := g.dials.Load(); got != 1 {
			t.Errorf("21 callers at a time made %d probes", got)
		}
		group.Go(func() { call(t.Context(), handler, "/probe/web/readiness") })
		synctest.Wait()
		if got := g.dials.Load(); got != 2 {
			t.Errorf("another target made %d probes in all, want 2", got)
		}
		close(g.open)
		group.Wait()
		if got := ups.Load(); got != 20 {
			t.Errorf("%d callers were told of the success, want 20", got)
		}
	})
}

func TestOutcomeAnswersForHalfASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		close(g.open)
		var logged bytes.Buffer
		handler := g.handler(t, slog.New(slog.NewTextHandler(&logged, nil)), 1)
		for _, step := range []struct {
			name    string
			refuses bool
			wait    time.Duration
			status  int
			dials   int32
		}{
			{"the first", false, 0, http.StatusOK, 1},
			{"soon after", true, 499 * time.Millisecond, http.StatusOK, 1},
			{"half a second after", true, time.Millisecond, http.StatusServiceUnavailable, 2},
			{"soon after a failure", false, 499 * time.Millisecond, http.StatusServiceUnavailable, 2},
			{"a second failure", true, time.Millisecond, http.StatusServiceUnavailable, 3},
			{"at the kubelet's pace", false, time.Second, http.StatusOK, 4},
		} {
			time.Sleep(step.wait)
			g.refuses.Store(step.refuses)
			if got := call(t.Context(), handler, "/probe/web/liveness"); got != step.status || g.dials.Load() != step.dials {
				t.Errorf("%s: %d after %d probes, want %d after %d", step.name, got, g.dials.Load(), step.status, step.dials)
			}
		}
		// What did not change is not said again.
		if got := strings.Count(logged.String(), "\n"); got != 2 ||
			!strings.Contains(logged.String(), `level=WARN msg="A probe of the app failed" container=web probe=liveness error="refused`) ||
			!strings.Contains(logged.String(), `level=INFO msg="A probe of the app succeeded again"`) {
			t.Errorf("the log:\n%s", &logged)
		}
	})
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, path string
		seconds    int32
		want       time.Duration
	}{
		{"the default is one second", "/probe/web/liveness", 0, time.Second},
		{"the manifest's", "/probe/web/liveness", 7, 7 * time.Second},
		{"a hook's without one", "/probe/web/preStop", 0, time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := &gate{open: make(chan struct{})}
				handler := g.handler(t, slog.New(slog.DiscardHandler), tc.seconds)
				request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, tc.path, nil)
				request.Header.Set(probe.TokenHeader, token)
				began := time.Now()
				aborted := func() (aborted any) {
					defer func() { aborted = recover() }()
					recorder := httptest.NewRecorder()
					handler.ServeHTTP(recorder, request)
					if recorder.Code != http.StatusServiceUnavailable {
						t.Errorf("status %d", recorder.Code)
					}
					return nil
				}()
				if took := time.Since(began); took != tc.want {
					t.Errorf("it took %v, want %v", took, tc.want)
				}
				if hook := strings.HasSuffix(tc.path, "preStop"); hook != (aborted == any(http.ErrAbortHandler)) {
					t.Errorf("aborted by %v", aborted)
				}
			})
		})
	}
}
