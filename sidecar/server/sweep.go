package server

import (
	"context"
	"log/slog"
	"time"
)

// sweepAsked is how often a sidecar asks whether a sweep is due; the store lets one
// sidecar of a realm at a time do it, and about once an hour.
const sweepAsked = 20 * time.Second

// keysLookedAt is how often it looks at its own keys: a new primary is swept for at
// once, so that a rotation goes on.
const keysLookedAt = 5 * time.Second

// sweepKeys moves what older keys sealed to the present one, and counts what still
// needs them, so that a rotation can end.
func (s *Server) sweepKeys(ctx context.Context) error {
	ticker := time.NewTicker(keysLookedAt)
	defer ticker.Stop()
	var asked time.Time
	var primary uint32
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		d := s.current.Load()
		// Of a store that is not the one to believe, nothing can be counted.
		if d == nil || d.trust.Load().reason() != nil {
			continue
		}
		if d.ring.Primary() == primary && s.Clock().Sub(asked) < sweepAsked {
			continue
		}
		asked, primary = s.Clock(), d.ring.Primary()
		swept, err := d.store.Sweep(ctx, d.ring.Primary(), s.Random, d.mfa.Examine)
		if err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "Could not count what needs which key; a rotation waits", slog.Any("error", err))
		}
		if swept {
			s.Log.InfoContext(ctx, "Swept the enrolments for older keys")
		}
	}
}
