package mfa

import (
	"context"
	"errors"
	"fmt"
)

// Regenerate puts a fresh set of recovery codes and a new generation in place;
// the old codes, and every other verified sign-in, are void in the same step.
// ErrNotEnrolled, ErrStale, ErrBusy.
func (s *Service) Regenerate(
	ctx context.Context, u User, grant func(generation string) (Grant, error),
) ([]string, error) {
	snapshot, err := s.Store.Load(ctx, u.Key, "")
	if err != nil {
		return nil, fmt.Errorf("read the enrolment: %w", err)
	}
	if snapshot.Record == nil {
		return nil, ErrNotEnrolled
	}
	codes, digests, err := s.newCodes(ctx, u)
	if err != nil {
		return nil, err
	}
	next, err := s.newGeneration()
	if err != nil {
		return nil, err
	}
	g, err := grant(next)
	if err != nil {
		return nil, err
	}
	if err := s.Store.ReplaceCodes(ctx, u.Key, snapshot.Record.Generation, next, digests, g); err != nil {
		return nil, fmt.Errorf("replace the recovery codes: %w", err)
	}
	s.Events.Record(ctx, Event{Name: EventRegenerated, User: u.Key})
	return codes, nil
}

// ErrWrongPassword is what a password check returns for a wrong password.
var ErrWrongPassword = errors.New("the password did not match")

// Disable ends the enrolment if check accepts the user's password. A check that
// fails with anything but ErrWrongPassword costs no attempt. ErrWrongPassword,
// *LockedError, ErrNotEnrolled, ErrStale, and whatever check returns.
func (s *Service) Disable(ctx context.Context, u User, check func(context.Context) error) error {
	err := s.disable(ctx, u, check)
	if err != nil {
		return s.failed(ctx, u, FactorPassword, err)
	}
	s.Events.Record(ctx, Event{Name: EventDisabled, User: u.Key, Factor: FactorPassword})
	return nil
}

func (s *Service) disable(ctx context.Context, u User, check func(context.Context) error) error {
	record, err := s.Store.Begin(ctx, u.Key, FactorPassword, s.Regulation.Password)
	if err != nil {
		return fmt.Errorf("begin an attempt: %w", err)
	}
	if err := check(ctx); err != nil {
		if errors.Is(err, ErrWrongPassword) {
			return err
		}
		return s.refund(ctx, u, FactorPassword, fmt.Errorf("check the password: %w", err))
	}
	if err := s.Store.Delete(ctx, u.Key, record.Generation); err != nil {
		return fmt.Errorf("disable two-factor: %w", err)
	}
	return nil
}

// DisableWithCode ends the enrolment if the code is a current one. Errors as
// VerifyTOTP.
func (s *Service) DisableWithCode(ctx context.Context, u User, code string) error {
	var generation string
	err := s.acceptTOTP(ctx, u, code, func(g string) (Grant, error) {
		generation = g
		return Grant{}, nil
	})
	if err != nil {
		return s.failed(ctx, u, FactorTOTP, err)
	}
	if err := s.Store.Delete(ctx, u.Key, generation); err != nil {
		return fmt.Errorf("disable two-factor: %w", err)
	}
	s.Events.Record(ctx, Event{Name: EventDisabled, User: u.Key, Factor: FactorTOTP})
	return nil
}
