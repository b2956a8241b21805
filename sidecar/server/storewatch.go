package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/redisstore"
)

const (
	checkEvery   = 2 * time.Second
	checkAgain   = 500 * time.Millisecond // while something is wrong
	checkTimeout = 2 * time.Second
)

// errEpochUntold means that whoever wrote the policy does not know yet which store
// held the enrolments, so that none can be believed.
var errEpochUntold = errors.New("the policy does not say which store held the enrolments")

// errEpochUnknown means that the store has not been seen yet, so that nothing it
// says about absent records can be believed.
var errEpochUnknown = errors.New("the store has not been reached since the start")

// trust says whether the store was reached, has the epoch to expect, and was set up
// with our key ring. No trust at all is none.
type trust struct{ err error }

func (t *trust) reason() error {
	if t == nil {
		return errEpochUnknown
	}
	return t.err
}

// watchStore keeps readiness true to the store, and learns its epoch as soon as
// the store can be reached.
func (s *Server) watchStore(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-s.adopted:
		}
		wait := checkEvery
		// Without a policy there is no realm, and nothing to ask the store for.
		if d := s.current.Load(); d != nil && !s.checkStore(ctx, d) {
			wait = checkAgain
		}
		timer.Reset(wait)
	}
}

func (s *Server) checkStore(ctx context.Context, d *door) bool {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if d.trust.Load().reason() != nil {
		err := s.learnEpoch(ctx, d)
		d.trust.Store(&trust{err})
		if err != nil {
			s.storeIs(ctx, err)
			return false
		}
	}
	health := d.store.Check(ctx)
	s.storeIs(ctx, health.Err)
	if health.Compared {
		s.drift.note(ctx, health.Drift)
	}
	return health.Err == nil
}

// learnEpoch takes the epoch of the store, or makes it on a store that is new. A
// managed sidecar never makes one: a store is what its policy says, or none.
func (s *Server) learnEpoch(ctx context.Context, d *door) error {
	expected := d.epoch
	switch {
	case !d.managed:
		expected = s.epochs.of(d.realm)
	case expected == "":
		return errEpochUntold
	}
	epoch, err := redisstore.EnsureEpoch(ctx, s.Redis, s.KeyPrefix, d.realm, expected, s.Random, d.stamp)
	if err != nil {
		return err
	}
	if err := s.epochs.remember(d.realm, epoch); err != nil {
		return err
	}
	d.store.SetEpoch(epoch)
	return nil
}

func (s *Server) storeIs(ctx context.Context, err error) {
	detail := ""
	switch {
	case errors.Is(err, mfa.ErrStoreLost):
		detail = "this Redis is not the one that held the enrolments: its epoch is missing or another. " +
			"Restore its data, or accept the loss as the operating notes say; until then nothing passes"
	case errors.Is(err, errEpochUntold):
		detail = err.Error() + ": the controller tells once it knows; until then nothing passes"
	case errors.Is(err, redisstore.ErrOtherKeys):
		detail = "this Redis holds the records of another key ring. Give this sidecar the ring that the others have; " +
			"until then nothing passes"
	case errors.Is(err, redisstore.ErrReadOnly), errors.Is(err, redisstore.ErrEvicts):
		detail = err.Error()
	case err != nil:
		detail = fmt.Sprintf("Redis cannot be used: %v", err)
	}
	if !s.readiness.set(checkStore, err == nil, detail) {
		return
	}
	if err != nil {
		s.Log.ErrorContext(ctx, "The store cannot be relied upon", slog.String("detail", detail))
		return
	}
	s.Log.InfoContext(ctx, "The store can be relied upon")
}
