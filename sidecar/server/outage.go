package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/proxy"
	"github.com/sallyport/sallyport/sidecar/seal"
	"github.com/sallyport/sallyport/sidecar/web/pages"
)

// outageEvery is how often one kind of outage is logged at most: while Redis is
// away every request meets it.
const outageEvery = 10 * time.Second

// outages logs why the state of the second factor cannot be read, and with each
// line how many requests met it since the line before.
type outages struct {
	log   *slog.Logger
	clock func() time.Time

	mu    sync.Mutex
	lines map[string]*line
}

type line struct {
	last time.Time
	met  int
}

func (o *outages) note(ctx context.Context, err error) {
	met := o.due(kindOf(err))
	if met == 0 {
		return
	}
	o.log.ErrorContext(ctx, "Could not read the state of the second factor", slog.Any("error", err), slog.Int("requests", met))
}

// due returns how many requests to tell of now, 0 for not now.
func (o *outages) due(kind string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.lines[kind]
	if l == nil {
		l = &line{}
		o.lines[kind] = l
	}
	l.met++
	now := o.clock()
	if !l.last.IsZero() && now.Sub(l.last) < outageEvery {
		return 0
	}
	met := l.met
	l.last, l.met = now, 0
	return met
}

// kindOf tells apart what must not hide behind each other: one user's record that
// no key opens is no outage of the store.
func kindOf(err error) string {
	switch {
	case errors.Is(err, seal.ErrUnknownKey), errors.Is(err, seal.ErrCorrupt):
		return "record"
	case errors.Is(err, mfa.ErrStoreLost):
		return "lost"
	default:
		return "away"
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
