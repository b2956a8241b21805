package stack

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/server"
)

// Sidecar is one running sidecar.
type Sidecar struct {
	// URL of the traffic port, OpsURL of the operations port.
	URL, OpsURL string
	// Log is what it wrote.
	Log *Log

	stop context.CancelFunc
	done chan error
}

// Log collects a sidecar's log.
type Log struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.Write(p)
}

// String returns everything written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.String()
}

// complaints are the warnings and errors written so far.
func (l *Log) complaints() string {
	var found strings.Builder
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, `"level":"WARN"`) || strings.Contains(line, `"level":"ERROR"`) {
			found.WriteString(line)
		}
	}
	return found.String()
}

// AddSidecar runs one more sidecar, whose options a test may adjust. It need not
// become ready.
func (s *Stack) AddSidecar(adjust ...func(*server.Options)) *Sidecar {
	s.t.Helper()
	client := s.dialForSidecar()
	sidecar := &Sidecar{Log: &Log{}, done: make(chan error, 1)}
	options := server.Options{
		PolicyFile: s.PolicyFile(), Keys: s.keys, Redis: client, KeyPrefix: "sallyport", EpochFile: s.options.EpochFile,
		App: s.app, InsecureCookies: !s.options.SecureCookies, Recheck: s.options.Recheck, Drain: 2 * time.Second,
		Hasher: mfa.NewCheapHasher(), MaxDrift: anyDrift,
		Version: "test", Clock: s.options.Clock, Random: s.options.Random,
		Log: slog.New(slog.NewJSONHandler(sidecar.Log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if !s.options.Impatient {
		options.StoreTimeout = patience
	}
	for _, f := range adjust {
		f(&options)
	}
	sidecarServer, err := server.New(options)
	if err != nil {
		s.t.Fatal(err)
	}
	traffic, ops := listen(s.t), listen(s.t)
	sidecar.URL, sidecar.OpsURL = "http://"+traffic.Addr().String(), "http://"+ops.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	sidecar.stop = stop
	go func() { sidecar.done <- sidecarServer.Run(ctx, traffic, ops) }()
	s.t.Cleanup(func() {
		sidecar.Stop(s.t)
		_ = client.Close()
		if s.t.Failed() {
			s.t.Logf("what went wrong at the sidecar:\n%s", sidecar.Log.complaints())
		}
	})
	s.Sidecars = append(s.Sidecars, sidecar)
	return sidecar
}

func (s *Stack) dialForSidecar() redis.UniversalClient {
	s.t.Helper()
	options := redisstore.Options{URL: s.RedisURL}
	if !s.options.Impatient {
		options.ReadTimeout, options.WriteTimeout = patience, patience
	}
	client, err := redisstore.Dial(options)
	if err != nil {
		s.t.Fatal(err)
	}
	return client
}

// Stop ends the sidecar as SIGTERM does and waits until it has ended.
func (s *Sidecar) Stop(t testing.TB) {
	t.Helper()
	s.stop()
	select {
	case err := <-s.done:
		if err != nil {
			t.Errorf("the sidecar ended with an error: %v", err)
		}
		s.done <- nil
	case <-time.After(20 * time.Second):
		t.Error("the sidecar did not end")
	}
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// WaitReady waits until the sidecar is ready.
func (s *Stack) WaitReady(sidecar *Sidecar) {
	s.t.Helper()
	s.Eventually("the sidecar is ready", func() bool { ready, _ := sidecar.Ready(); return ready })
}

func (s *Sidecar) ask(path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.OpsURL+path, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(r)
}

// Ready asks for readiness and returns the report.
func (s *Sidecar) Ready() (bool, string) {
	response, err := s.ask("/readyz")
	if err != nil {
		return false, err.Error()
	}
	defer response.Body.Close()
	var body bytes.Buffer
	_, _ = body.ReadFrom(response.Body)
	return response.StatusCode == http.StatusOK, body.String()
}

// Metrics returns the page of the sidecar's metrics.
func (s *Sidecar) Metrics(t testing.TB) string {
	t.Helper()
	response, err := s.ask("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("read the metrics: status %d, %v", response.StatusCode, err)
	}
	return body.String()
}

// Metric returns the value of one series, written as on the metrics page:
// name{label="value"}. A series that does not exist is 0.
func (s *Sidecar) Metric(t testing.TB, series string) float64 {
	t.Helper()
	for line := range strings.Lines(s.Metrics(t)) {
		if text, ok := strings.CutPrefix(line, series+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				t.Fatalf("read the metric %s: %v", series, err)
			}
			return value
		}
	}
	return 0
}
