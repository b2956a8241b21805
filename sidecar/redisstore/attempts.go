package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/sidecar/mfa"
)

// Begin reserves one attempt at a factor and returns the record to judge it by.
func (s *Store) Begin(ctx context.Context, user string, factor mfa.Factor, limits mfa.Limits) (mfa.Record, error) {
	k, err := s.user(user)
	if err != nil {
		return mfa.Record{}, err
	}
	if err := checkFactor(factor); err != nil {
		return mfa.Record{}, err
	}
	args := []any{string(factor), limits.Free, limits.HardCap, limits.RollingCap}
	for _, wait := range limits.Backoff {
		args = append(args, wait.Milliseconds())
	}
	a, err := s.changeTo(ctx, "begin an attempt", false, call{
		script: s.scripts.begin,
		keys:   []string{k.record(), k.counters()},
		args:   args,
		epoch:  true,
	})
	if err != nil {
		return mfa.Record{}, err
	}
	var record *mfa.Record
	err = errUnreadable
	if len(a.rest) == 1 {
		record, err = decodeRecord(a.rest[0])
	}
	if err == nil && record == nil {
		err = errUnreadable
	}
	if err != nil {
		// Nothing can be judged. If taking the attempt back fails too, it stays
		// counted: the safe side.
		return mfa.Record{}, fmt.Errorf("begin an attempt: %w", errors.Join(err, s.Refund(ctx, user, factor)))
	}
	return *record, nil
}

// Refund takes back a reserved attempt that could not be judged.
func (s *Store) Refund(ctx context.Context, user string, factor mfa.Factor) error {
	k, err := s.user(user)
	if err != nil {
		return err
	}
	if err := checkFactor(factor); err != nil {
		return err
	}
	return s.change(ctx, "refund an attempt", false, call{
		script: s.scripts.refund,
		keys:   []string{k.counters()},
		args:   []any{string(factor)},
	})
}

// CommitTOTP accepts a time step later than every accepted one.
func (s *Store) CommitTOTP(ctx context.Context, user, generation string, step int64, grant mfa.Grant) error {
	k, err := s.user(user)
	if err != nil {
		return err
	}
	names, args, err := k.grant(grant)
	if err != nil {
		return err
	}
	return s.change(ctx, "accept a time step", false, call{
		script:     s.scripts.commitTOTP,
		keys:       append([]string{k.record(), k.counters()}, names...),
		args:       append([]any{generation, step}, args...),
		replicated: true,
	})
}

// SpendCode spends the recovery code at index and returns how many are left.
func (s *Store) SpendCode(
	ctx context.Context, user, generation string, index int, grant mfa.Grant,
) (left int, err error) {
	k, err := s.user(user)
	if err != nil {
		return 0, err
	}
	if index < 0 || index > maxIndex {
		return 0, errors.New("redisstore: a recovery code without a proper index")
	}
	names, args, err := k.grant(grant)
	if err != nil {
		return 0, err
	}
	a, err := s.changeTo(ctx, "spend a recovery code", false, call{
		script:     s.scripts.spendCode,
		keys:       append([]string{k.record(), k.counters()}, names...),
		args:       append([]any{generation, strconv.Itoa(index)}, args...),
		replicated: true,
	})
	if err != nil {
		return 0, err
	}
	n, err := number(a)
	if err != nil {
		return 0, fmt.Errorf("spend a recovery code: %w", err)
	}
	return int(n), nil
}

func locked(a answer) error {
	ms, err := number(a)
	if err != nil {
		return err
	}
	return &mfa.LockedError{RetryAfter: time.Duration(ms) * time.Millisecond}
}

// number returns the one number of an answer.
func number(a answer) (int64, error) {
	if len(a.rest) == 1 {
		if n, ok := a.rest[0].(int64); ok {
			return n, nil
		}
	}
	return 0, fmt.Errorf("redis returned an unreadable answer to %q", a.word)
}

// checkFactor admits the factors there are: their names are parts of fields.
func checkFactor(f mfa.Factor) error {
	switch f {
	case mfa.FactorTOTP, mfa.FactorRecovery, mfa.FactorPassword:
		return nil
	}
	return fmt.Errorf("redisstore: unknown factor %q", f)
}
