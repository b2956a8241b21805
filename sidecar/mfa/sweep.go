package mfa

import (
	"context"
	"errors"
	"fmt"

	"github.com/sallyport/sallyport/sidecar/seal"
)

// Examine looks at one enrolment for a sweep: it counts in use the key versions
// that the enrolment needs, and moves its seed to the primary version if that is
// newer. A seed never moves to an older version, which a sidecar that has yet to
// load a new key ring would take it to. An enrolment that is gone counts for
// nothing.
//
// An error means that nothing is known of the enrolment, so that the sweep must not
// claim to have counted it.
func (s *Service) Examine(ctx context.Context, user string, use *seal.Use) error {
	snapshot, err := s.Store.Load(ctx, user, "")
	if err != nil {
		return fmt.Errorf("examine an enrolment: %w", err)
	}
	record := snapshot.Record
	if record == nil {
		return nil
	}
	// A spent set needs no pepper any more: there is nothing left to compare.
	if len(record.Codes.Digests) > 0 {
		use.Codes[record.Codes.KeyID]++
	}
	kid, ok := seal.KeyID(record.Seed)
	if !ok {
		use.Unreadable++
		return nil
	}
	use.Seals[kid]++
	if kid >= s.Ring.Primary() {
		return nil
	}
	moved, err := s.move(ctx, User{Key: user}, *record)
	if err != nil {
		return err
	}
	if moved {
		use.Moved++
	}
	return nil
}

// move seals a seed anew. One that does not open stays as it is, under the version
// that it names: its user meets the fault, and no version it may need is retired.
func (s *Service) move(ctx context.Context, u User, record Record) (bool, error) {
	seed, _, err := s.Ring.Open(purposeSeed, []byte(u.Key), record.Seed)
	if err != nil {
		return false, nil //nolint:nilerr // it stays counted, and is no reason to skip the others
	}
	sealed, err := s.Ring.Seal(purposeSeed, []byte(u.Key), seed)
	if err != nil {
		return false, fmt.Errorf("seal a secret: %w", err)
	}
	err = s.Store.Reseal(ctx, u.Key, record.Generation, record.Seed, sealed)
	if errors.Is(err, ErrStale) {
		return false, nil // its user was faster
	}
	if err != nil {
		return false, fmt.Errorf("keep a secret sealed anew: %w", err)
	}
	s.Events.Record(ctx, Event{Name: EventResealed, User: u.Key})
	return true, nil
}
