package probe

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	defaultTimeout = time.Second
	// hookTimeout ends what the kubelet would let run: it bounds preStop itself, by
	// the pod's grace period, and postStart not at all.
	hookTimeout = time.Hour
	// fresh is how long an outcome answers for the next one who asks. The kubelet
	// asks at most once a second.
	fresh = 500 * time.Millisecond
)

// Why a probe failed. What is not among these is not told to a caller.
var (
	errTimeout     = errors.New("timed out")
	errUnreachable = errors.New("not reachable")
	errNoSuccess   = errors.New("not successful")
)

// Options are what a handler is made of; all are required.
type Options struct {
	Probes []Probe
	// Dial opens connections, to loopback addresses only.
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
	Clock func() time.Time
	Log   *slog.Logger
}

// NewHandler serves the probes, each at its Path: 200 if it succeeded, 503 and one
// line if not. A hook whose app did not answer ends the connection instead, since
// the kubelet takes any status of a hook for a success.
func NewHandler(o Options) (http.Handler, error) {
	if err := validate(o.Probes); err != nil {
		return nil, err
	}
	h := &handler{clock: o.Clock, log: o.Log, targets: map[string]*target{}}
	prober := &prober{dial: o.Dial}
	for _, p := range o.Probes {
		h.targets[p.Path()] = &target{Probe: p, run: prober.action(p)}
	}
	return h, nil
}

type handler struct {
	clock   func() time.Time
	log     *slog.Logger
	flights singleflight.Group
	targets map[string]*target // by path; never changed once made
}

// target is a probe and what came of it the last time.
type target struct {
	Probe
	run func(ctx context.Context, pod netip.Addr) error

	mu   sync.Mutex
	at   time.Time // zero: never probed
	last error
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	t, ok := h.targets[r.URL.Path]
	if !ok || !t.admits(r) {
		http.Error(w, "no such probe", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	err := h.outcome(r, t)
	switch {
	case r.Context().Err() != nil: // nobody is there to be told
	case err == nil:
		_, _ = io.WriteString(w, "ok\n")
	case t.Kind.hook():
		panic(http.ErrAbortHandler)
	default:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

// admits reports whether the request may run the probe. A wrong token is answered
// like a hook that is not there.
func (t *target) admits(r *http.Request) bool {
	return !t.Kind.hook() || subtle.ConstantTimeCompare([]byte(r.Header.Get(TokenHeader)), []byte(t.Token)) == 1
}

// outcome is of the probe that runs, of one that ended just now, or of a new one.
// A probe outlives the caller who began it, for others may wait for it.
func (h *handler) outcome(r *http.Request, t *target) error {
	pod := podAddress(r)
	flight := h.flights.DoChan(t.Path(), func() (any, error) {
		if last, ok := t.recent(h.clock()); ok {
			return nil, last
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), t.timeout())
		defer cancel()
		cause := t.run(ctx, pod)
		err := classify(ctx, cause)
		h.note(ctx, t, err, cause)
		return nil, err
	})
	select {
	case result := <-flight:
		return result.Err
	case <-r.Context().Done():
		return r.Context().Err()
	}
}

// recent is the last outcome, if it still answers. A hook is carried out each time.
func (t *target) recent(now time.Time) (error, bool) { //nolint:revive // the error is the value here
	t.mu.Lock()
	defer t.mu.Unlock()
	age := now.Sub(t.at)
	return t.last, !t.Kind.hook() && !t.at.IsZero() && age >= 0 && age < fresh
}

// note keeps the outcome, and logs it when it is news: the kubelet tells nobody
// more than the status it was answered with.
func (h *handler) note(ctx context.Context, t *target, err, cause error) {
	t.mu.Lock()
	before := t.last
	t.at, t.last = h.clock(), err
	t.mu.Unlock()
	attrs := []slog.Attr{slog.String("container", t.Container), slog.String("probe", string(t.Kind))}
	switch {
	case err != nil && !errors.Is(before, err):
		attrs = append(attrs, slog.Any("error", cause))
		h.log.LogAttrs(ctx, slog.LevelWarn, "A probe of the app failed", attrs...)
	case err == nil && before != nil:
		h.log.LogAttrs(ctx, slog.LevelInfo, "A probe of the app succeeded again", attrs...)
	}
}

func (t *target) timeout() time.Duration {
	switch {
	case t.TimeoutSeconds > 0:
		return time.Duration(t.TimeoutSeconds) * time.Second
	case t.Kind.hook():
		return hookTimeout
	default:
		return defaultTimeout
	}
}

// classify says no more of an error than a caller may know.
func classify(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return errTimeout
	case errors.Is(err, errNoSuccess):
		return errNoSuccess
	default:
		return errUnreachable
	}
}

// podAddress is where the caller found the pod: the address that the kubelet would
// have put into the Host header of a probe of its own. It is the connection's, not
// the request's word.
func podAddress(r *http.Request) netip.Addr {
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if address, err := netip.ParseAddrPort(local.String()); err == nil {
			return address.Addr().Unmap().WithZone("")
		}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}
