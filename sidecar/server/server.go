// Package server puts the sidecar together and runs it: it reads the policy and
// the keys, builds the door that serves requests under that policy, swaps it when
// the policy changes, and listens.
//
// It may import every package of the sidecar. It must never hold a rule of its
// own: what is decided is in authz, what is said to people in web and pages.
//
// # A request's way
//
//	listener ─▶ hygiene ─▶ identity ─▶ decision ─▶ app
//	                                      ├──▶ pages (challenge, enrol, manage)
//	                                      └──▶ refusal (problem details)
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/sallyport/sallyport/sidecar/authz"
	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/redisstore"
)

const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
)

// Options are what a Server runs with. Fields without a remark are required.
type Options struct {
	// PolicyFile holds an MFAPolicy manifest. It is followed as it changes. Either it
	// or Follow is required.
	PolicyFile string
	// Follow takes the policy from a controller.
	Follow *Follow
	// Keys is the key ring document.
	Keys []byte
	// KeysFile is read again as it changes. Optional: without it the keys stay.
	KeysFile string
	// Redis keeps the state that all sidecars share.
	Redis redis.UniversalClient
	// KeyPrefix begins every Redis key.
	KeyPrefix string
	// StoreTimeout bounds each operation on Redis; 0 is the store's default.
	StoreTimeout time.Duration
	// MaxDrift is how far this machine's clock and Redis's may differ before no code is
	// judged; 0 is 15 seconds.
	MaxDrift time.Duration
	// Hasher of recovery codes; one for the process.
	Hasher *mfa.Hasher
	// Replicas that must acknowledge a spent code before it counts; 0 for none.
	Replicas int
	// EpochFile remembers which store held the enrolments, across restarts.
	// Optional: without it a store that was lost while no sidecar ran goes unnoticed.
	// Not with Follow: there the policy tells.
	EpochFile string
	// App is the origin of the app. Optional: http on the policy's port of
	// 127.0.0.1.
	App *url.URL
	// InsecureCookies serves cookies without Secure, for development over plain HTTP.
	InsecureCookies bool
	// Recheck is how often a long-lived request is decided again.
	Recheck time.Duration
	// Drain bounds how long requests in flight may take once the Server stops.
	Drain time.Duration
	// Probes answers what is below /probe/ on the operations port. Optional.
	Probes http.Handler
	// Version of the program, for metrics.
	Version string
	Clock   func() time.Time
	Random  io.Reader
	Log     *slog.Logger
}

// Server is a sidecar.
type Server struct {
	Options

	registry  *prometheus.Registry
	metrics   *metrics
	audit     *audit
	readiness *readiness
	epochs    *epochs
	source    source
	outages   *outages
	drift     *drift

	// adopted wakes watchStore: a new door may have another realm.
	adopted chan struct{}
	current atomic.Pointer[door]

	// mu is held while a door is made, of a new policy or with new keys.
	mu         sync.Mutex
	decree     *decree
	keys       []byte
	generation int64
	// keysFault is why the key file is not what is in use, nil if it is.
	keysFault atomic.Pointer[string]
}

// New reads and checks everything that can be wrong before a Server runs. It does
// not wait for Redis: a sidecar whose store is away starts, is not ready, and
// lets nothing through.
func New(o Options) (*Server, error) {
	registry := prometheus.NewRegistry()
	s := &Server{
		Options: o, registry: registry, metrics: newMetrics(registry, o.Version), readiness: newReadiness(),
		adopted: make(chan struct{}, 1), keys: o.Keys,
	}
	s.audit = &audit{log: o.Log, metrics: s.metrics}
	s.outages = newOutages(o.Log, o.Clock)
	s.drift = newDrift(o, s.readiness, s.metrics)
	redisstore.Observe(o.Redis, s.metrics, o.Clock)
	var err error
	if s.epochs, err = readEpochs(o.EpochFile); err != nil {
		return nil, err
	}
	if s.source, err = s.newSource(); err != nil {
		return nil, err
	}
	first, err := s.source.first()
	if err != nil {
		return nil, err
	}
	s.readiness.set(checkKeys, true, "")
	if first == nil {
		s.readiness.set(checkPolicy, false, "waiting for the policy "+o.Follow.Namespace+"/"+o.Follow.Policy)
		return s, nil
	}
	if err := s.adopt(context.Background(), first); err != nil {
		return nil, err
	}
	return s, nil
}

// Run serves until the context ends, then drains. It closes both listeners.
func (s *Server) Run(ctx context.Context, traffic, ops net.Listener) error {
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	front := s.httpServer(base, s.front())
	back := s.httpServer(base, operations(s.readiness, s.registry, s.Probes))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serve(front, traffic) })
	group.Go(func() error { return serve(back, ops) })
	group.Go(func() error { return s.followPolicy(ctx) })
	group.Go(func() error { return s.followKeys(ctx) })
	group.Go(func() error { return s.watchStore(ctx) })
	group.Go(func() error { return s.sweepKeys(ctx) })
	group.Go(func() error { return s.outages.run(ctx) })
	group.Go(func() error {
		<-ctx.Done()
		s.drain(base, cut, front, back)
		return nil
	})
	s.readiness.set(checkServing, true, "")
	s.Log.InfoContext(ctx, "Serving", slog.String("listen", traffic.Addr().String()), slog.String("ops", ops.Addr().String()))
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// drain lets requests in flight end, and then ends those that do not: streams and
// WebSockets among them.
func (s *Server) drain(base context.Context, cut func(), front, back *http.Server) {
	s.readiness.set(checkServing, false, "draining")
	s.Log.InfoContext(base, "Draining", slog.Duration("atMost", s.Drain))
	ctx, cancel := context.WithTimeout(base, s.Drain)
	defer cancel()
	if err := front.Shutdown(ctx); err != nil {
		s.Log.WarnContext(base, "Could not wait for every request; the rest were cut", slog.Any("error", err))
	}
	cut()
	_ = front.Close()
	_ = back.Close()
}

func serve(server *http.Server, listener net.Listener) error {
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	}
	return nil
}

func (s *Server) httpServer(base context.Context, handler http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           handler,
		Protocols:         protocols,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return base },
	}
}

// front hands every request to the door of the policy in force. Without one nothing
// passes.
func (s *Server) front() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.metrics.inFlight.Inc()
		defer s.metrics.inFlight.Dec()
		hurry(w, r)
		if d := s.current.Load(); d != nil {
			r, c := begin(r, s.Random)
			defer c.release()
			d.ServeHTTP(w, r)
			return
		}
		s.metrics.decided(authz.Refuse)
		shut(w, r)
	})
}

// followPolicy takes every good change of the policy. A broken one changes nothing
// but the log, the metrics and the detail of readiness.
func (s *Server) followPolicy(ctx context.Context) error {
	s.source.run(ctx, s.adopt, s.report)
	return nil
}

// report says why the policy in force is not the one that was read last, and, with
// nil, that it is again.
func (s *Server) report(ctx context.Context, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shut := s.current.Load() == nil
	switch {
	case err == nil && shut:
		return
	case err == nil:
		s.metrics.settled()
		s.readiness.set(checkPolicy, true, fmt.Sprintf("generation %d is in force", s.generation))
		s.Log.InfoContext(ctx, "The policy in force is the one to obey", slog.Int64("generation", s.generation))
		return
	case shut:
		s.readiness.set(checkPolicy, false, fmt.Sprintf("no policy is in force, nothing passes: %v", err))
		s.Log.ErrorContext(ctx, "Could not take a policy; nothing passes without one", slog.Any("error", err))
	default:
		s.readiness.set(checkPolicy, true,
			fmt.Sprintf("generation %d stays in force; %s: %v", s.generation, s.source.refusal(), err))
		s.Log.ErrorContext(ctx, "Could not take the changed policy; the last good one stays in force", slog.Any("error", err))
	}
	s.metrics.reloaded(err, s.generation)
}

// adopt puts a policy in force.
func (s *Server) adopt(ctx context.Context, p *decree) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.build(p, s.keys)
	if err != nil {
		return err
	}
	s.decree = p
	if p.managed {
		s.generation = p.generation
	} else {
		s.generation = max(p.generation, s.generation+1)
	}
	s.swap(d)
	s.metrics.reloaded(nil, s.generation)
	s.readiness.set(checkPolicy, true, fmt.Sprintf("generation %d is in force", s.generation))
	s.Log.InfoContext(ctx, "Policy in force",
		slog.String("policy", p.namespace+"/"+p.name), slog.Int64("generation", s.generation),
		slog.Bool("requireForEveryone", p.rules.RequireForEveryone), slog.Bool("requireForAdmins", p.rules.RequireForAdmins))
	return nil
}

// swap makes a door the one that serves.
func (s *Server) swap(d *door) {
	if before := s.current.Swap(d); before != nil {
		before.app.Close() // lets go of idle connections; requests in flight go on
	}
	select {
	case s.adopted <- struct{}{}:
	default: // it is awake already
	}
}
