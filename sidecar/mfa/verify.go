package mfa

import (
	"context"
	"errors"
	"fmt"

	"github.com/sallyport/sallyport/sidecar/totp"
)

// VerifyTOTP accepts a current code once and stores the grant. ErrWrongCode,
// *LockedError, ErrFactorDisabled, ErrNotEnrolled, ErrStale, ErrClock.
func (s *Service) VerifyTOTP(
	ctx context.Context, u User, code string, grant func(generation string) (Grant, error),
) error {
	if err := s.acceptTOTP(ctx, u, code, grant); err != nil {
		return s.failed(ctx, u, FactorTOTP, err)
	}
	s.Events.Record(ctx, Event{Name: EventVerified, User: u.Key, Factor: FactorTOTP})
	return nil
}

func (s *Service) acceptTOTP(
	ctx context.Context, u User, code string, grant func(generation string) (Grant, error),
) error {
	if !s.ClockSound() {
		return ErrClock // before anything is counted
	}
	record, err := s.Store.Begin(ctx, u.Key, FactorTOTP, s.Regulation.TOTP)
	if err != nil {
		return fmt.Errorf("begin an attempt: %w", err)
	}
	seed, kid, err := s.Ring.Open(purposeSeed, []byte(u.Key), record.Seed)
	if err != nil {
		return s.refund(ctx, u, FactorTOTP, fmt.Errorf("open the secret: %w", err))
	}
	step, ok := totp.Match(seed, code, s.Clock())
	if !ok {
		return ErrWrongCode
	}
	g, err := grant(record.Generation)
	if err != nil {
		return s.refund(ctx, u, FactorTOTP, err)
	}
	if err := s.Store.CommitTOTP(ctx, u.Key, record.Generation, step, g); err != nil {
		return fmt.Errorf("accept a code: %w", err)
	}
	if kid < s.Ring.Primary() {
		s.reseal(ctx, u, record, seed)
	}
	return nil
}

// reseal moves the seed to the newest key. A failure costs nothing: the old key
// still opens it, and the next verification tries again.
func (s *Service) reseal(ctx context.Context, u User, record Record, seed []byte) {
	sealed, err := s.Ring.Seal(purposeSeed, []byte(u.Key), seed)
	if err == nil {
		err = s.Store.Reseal(ctx, u.Key, record.Generation, record.Seed, sealed)
	}
	if err == nil {
		s.Events.Record(ctx, Event{Name: EventResealed, User: u.Key})
	}
}

// VerifyRecovery spends a recovery code and stores the grant; it returns how many
// are left. Errors as VerifyTOTP, and ErrBusy.
func (s *Service) VerifyRecovery(
	ctx context.Context, u User, code string, grant func(generation string) (Grant, error),
) (left int, err error) {
	left, err = s.spendRecovery(ctx, u, code, grant)
	if err != nil {
		return 0, s.failed(ctx, u, FactorRecovery, err)
	}
	s.Events.Record(ctx, Event{Name: EventRecoveryUsed, User: u.Key, Factor: FactorRecovery})
	return left, nil
}

func (s *Service) spendRecovery(
	ctx context.Context, u User, code string, grant func(generation string) (Grant, error),
) (left int, err error) {
	record, err := s.Store.Begin(ctx, u.Key, FactorRecovery, s.Regulation.Recovery)
	if err != nil {
		return 0, fmt.Errorf("begin an attempt: %w", err)
	}
	normal, ok := NormaliseRecoveryCode(code)
	if !ok {
		return 0, ErrWrongCode
	}
	index, err := s.findCode(ctx, u, record.Codes, normal)
	if err != nil {
		if errors.Is(err, ErrWrongCode) {
			return 0, err
		}
		return 0, s.refund(ctx, u, FactorRecovery, err)
	}
	g, err := grant(record.Generation)
	if err != nil {
		return 0, s.refund(ctx, u, FactorRecovery, err)
	}
	left, err = s.Store.SpendCode(ctx, u.Key, record.Generation, index, g)
	if err != nil {
		return 0, fmt.Errorf("spend a recovery code: %w", err)
	}
	return left, nil
}

// failed records an attempt that did not succeed and passes its error on, folded
// so that callers need to know ErrWrongCode alone.
func (s *Service) failed(ctx context.Context, u User, factor Factor, err error) error {
	e := Event{Name: EventVerifyFailed, User: u.Key, Factor: factor, Result: resultOf(err)}
	if e.Result == ResultReplayed || e.Result == ResultSpent {
		err = fmt.Errorf("%w: %w", ErrWrongCode, err)
	}
	s.Events.Record(ctx, e)
	return err
}

// refund takes back an attempt that could not be judged, and passes cause on. If
// that fails too, the attempt stays counted: the safe side.
func (s *Service) refund(ctx context.Context, u User, factor Factor, cause error) error {
	if err := s.Store.Refund(ctx, u.Key, factor); err != nil {
		return fmt.Errorf("%w (and the attempt stays counted: %w)", cause, err)
	}
	return cause
}
