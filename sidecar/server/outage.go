package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/sallyport/sallyport/sidecar/identity"
	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/proxy"
	"github.com/sallyport/sallyport/sidecar/seal"
	"github.com/sallyport/sallyport/sidecar/web/pages"
)

const (
	// outageEvery is how often the requests that meet an outage are counted into a
	// line, and how long none may meet it for it to be over.
	outageEvery = time.Minute
	outageTick  = time.Second
)

// fault is what went wrong for a request and may go wrong for every other. Faults
// differ where one must not hide behind another: a record of one user's that no
// key opens is no outage of the store.
type fault struct{ kind, message string }

// outages logs faults that every request may meet: a line at the first, how many
// requests met it each minute, and a line once none does. While Redis is away, a
// line for each request would bury everything else.
type outages struct {
	log   *slog.Logger
	clock func() time.Time

	mu   sync.Mutex
	open map[fault]*outage
}

type outage struct {
	told, last time.Time
	// met since the last line, and in all.
	met, all int
	err      error
}

func newOutages(log *slog.Logger, clock func() time.Time) *outages {
	return &outages{log: log, clock: clock, open: map[fault]*outage{}}
}

func (o *outages) note(ctx context.Context, f fault, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.clock()
	known := o.open[f]
	if known == nil {
		o.open[f] = &outage{told: now, last: now, all: 1}
		o.log.ErrorContext(ctx, f.message, slog.Any("error", err)) //nolint:sloglint // a fault has a constant message
		return
	}
	known.last, known.err = now, err
	known.met++
	known.all++
}

// run counts, and tells of ends, until the context ends.
func (o *outages) run(ctx context.Context) error {
	ticker := time.NewTicker(outageTick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			o.tell(ctx)
		}
	}
}

func (o *outages) tell(ctx context.Context) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.clock()
	for f, known := range o.open {
		switch {
		case now.Sub(known.told) < outageEvery:
		case known.met > 0:
			o.log.ErrorContext(ctx, f.message, slog.Any("error", known.err), slog.Int("requests", known.met)) //nolint:sloglint // a fault has a constant message
			known.told, known.met = now, 0
		case now.Sub(known.last) >= outageEvery:
			o.log.InfoContext(ctx, "No request has met this for a minute",
				slog.String("what", f.message), slog.String("kind", f.kind), slog.Int("requests", known.all))
			delete(o.open, f)
		}
	}
}

var (
	faultPage   = fault{"page", "Could not serve a two-factor page"}
	faultSignIn = fault{"sign-in", "Could not update a verified sign-in"}
	faultApp    = fault{"app", "Could not reach the app"}
)

// unidentified is the fault of an identity source that gives no answer.
func unidentified(reason identity.Reason) fault {
	return fault{"identity: " + string(reason), "Could not establish who is signed in"}
}

// unreadable is the fault of a state that cannot be read.
func unreadable(err error) fault {
	const message = "Could not read the state of the second factor"
	switch {
	case errors.Is(err, seal.ErrUnknownKey), errors.Is(err, seal.ErrCorrupt):
		return fault{"record", message}
	case errors.Is(err, mfa.ErrStoreLost):
		return fault{"lost", message}
	default:
		return fault{"away", message}
	}
}

// shut answers where no policy is in force. It knows no page, for those are the
// policy's.
func shut(w http.ResponseWriter, r *http.Request) {
	const text = "Two-factor is not available right now. Nothing was lost: try again in a moment."
	w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
	if proxy.AskedBy(r) == proxy.Other {
		proxy.WriteProblem(w, r, proxy.Problem{
			Status: http.StatusServiceUnavailable, Code: "mfa_unavailable",
			Title: "Two-factor is not available right now", Detail: text,
		})
		return
	}
	pages.SetHeaders(w.Header())
	http.Error(w, text, http.StatusServiceUnavailable)
}
