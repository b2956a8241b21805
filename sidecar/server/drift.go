package server

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	driftTolerated = 5 * time.Second
	driftRefused   = 15 * time.Second
)

// drift is how far this machine's clock and the store's differ. A code is judged by
// the former: one that is far off would refuse every phone and count that as wrong
// codes, or accept codes of another time. Which of the two is off cannot be known,
// so that no code is judged then, and none either before they were compared.
type drift struct {
	refused   time.Duration
	readiness *readiness
	metrics   *metrics
	log       *slog.Logger

	ok atomic.Bool
	// told is that a difference was logged. Only note uses it.
	told bool
}

func newDrift(o Options, r *readiness, m *metrics) *drift {
	return &drift{refused: cmp.Or(o.MaxDrift, driftRefused), readiness: r, metrics: m, log: o.Log}
}

// sound reports whether codes may be judged by this machine's clock.
func (d *drift) sound() bool { return d.ok.Load() }

// note takes what a comparison found. It is not for concurrent use.
func (d *drift) note(ctx context.Context, ahead time.Duration) {
	d.metrics.drift.Set(ahead.Seconds())
	off := ahead.Abs()
	detail, differs := "", off > driftTolerated
	if differs {
		detail = fmt.Sprintf("this machine's clock and Redis's differ by %s; run NTP on both", off.Round(time.Second))
	}
	sound := off <= d.refused
	d.ok.Store(sound)
	changed := d.readiness.set(checkClock, sound, detail)
	switch {
	case differs && (changed || !d.told):
		d.log.WarnContext(ctx, "The clocks differ", slog.Duration("drift", ahead), slog.Bool("codesAreJudged", sound))
	case !differs && d.told:
		d.log.InfoContext(ctx, "The clocks agree again")
	}
	d.told = differs
}
