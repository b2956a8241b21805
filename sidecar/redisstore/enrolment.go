package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sidecar/mfa"
)

// Load reads the user's record and a sign-in as of one moment, in one round trip.
func (s *Store) Load(ctx context.Context, user, signIn string) (mfa.Snapshot, error) {
	var more []string
	if signIn != "" {
		more = append(more, signIn)
	}
	k, err := s.user(user, more...)
	if err != nil {
		return mfa.Snapshot{}, err
	}
	names := []string{k.record()}
	if signIn != "" {
		names = append(names, k.signIn(signIn))
	}
	ctx, cancel := s.reading(ctx)
	defer cancel()
	snapshot, err := s.load(ctx, names)
	if err != nil {
		return mfa.Snapshot{}, fmt.Errorf("load a user: %w", err)
	}
	return snapshot, nil
}

func (s *Store) load(ctx context.Context, names []string) (mfa.Snapshot, error) {
	values, err := s.values(ctx, call{script: s.scripts.load, keys: names, epoch: true})
	if err != nil {
		return mfa.Snapshot{}, err
	}
	if len(values) != 2 {
		return mfa.Snapshot{}, errUnreadable
	}
	record, err := decodeRecord(values[0])
	if err != nil {
		return mfa.Snapshot{}, err
	}
	if record == nil && !s.ordered {
		// The nodes of a cluster answer side by side: look at the epoch again, now
		// that the record is known to be absent.
		if err := s.checkEpoch(ctx); err != nil {
			return mfa.Snapshot{}, err
		}
	}
	snapshot := mfa.Snapshot{Record: record}
	switch signIn := values[1].(type) {
	case nil:
	case string:
		snapshot.SignIn = []byte(signIn)
	default:
		return mfa.Snapshot{}, errUnreadable
	}
	return snapshot, nil
}

// SavePending stores a sealed pending secret for one browser session.
func (s *Store) SavePending(ctx context.Context, user, browser string, sealed []byte, ttl time.Duration) error {
	k, err := s.user(user, browser)
	if err != nil {
		return err
	}
	if ttl.Milliseconds() <= 0 {
		return errors.New("redisstore: a pending secret has no lifetime")
	}
	return s.change(ctx, "keep a pending secret", true, call{
		script: s.scripts.savePending,
		keys:   []string{k.record(), k.pending(browser)},
		args:   []any{sealed, ttl.Milliseconds()},
	})
}

// LoadPending reads it.
func (s *Store) LoadPending(ctx context.Context, user, browser string) ([]byte, error) {
	k, err := s.user(user, browser)
	if err != nil {
		return nil, err
	}
	return s.get(ctx, "load a pending secret", k.pending(browser), mfa.ErrNoPending)
}

// get reads a value. Where there is none it fails with absent, unless it is the store
// that is another.
func (s *Store) get(ctx context.Context, doing, key string, absent error) ([]byte, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	value, err := s.client.Get(ctx, key).Bytes()
	if errors.Is(err, redis.Nil) {
		err = s.unless(ctx, absent)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	return value, nil
}

// DropPending forgets it.
func (s *Store) DropPending(ctx context.Context, user, browser string) error {
	k, err := s.user(user, browser)
	if err != nil {
		return err
	}
	ctx, cancel := s.writing(ctx)
	defer cancel()
	if err := s.client.Del(ctx, k.pending(browser)).Err(); err != nil {
		return fmt.Errorf("drop a pending secret: %w", err)
	}
	return nil
}

// SaveTicket keeps an enrolment ticket of the user, in place of one that is there.
func (s *Store) SaveTicket(ctx context.Context, user string, ticket []byte, ttl time.Duration) error {
	k, err := s.user(user)
	if err != nil {
		return err
	}
	if ttl.Milliseconds() <= 0 {
		return errors.New("redisstore: a ticket has no lifetime")
	}
	ctx, cancel := s.writing(ctx)
	defer cancel()
	if err := s.checkEpoch(ctx); err != nil {
		return fmt.Errorf("keep an enrolment ticket: %w", err)
	}
	if err := s.client.Set(ctx, k.ticket(), ticket, ttl).Err(); err != nil {
		return fmt.Errorf("keep an enrolment ticket: %w", err)
	}
	return nil
}

// Ticket reads it.
func (s *Store) Ticket(ctx context.Context, user string) ([]byte, error) {
	k, err := s.user(user)
	if err != nil {
		return nil, err
	}
	return s.get(ctx, "load an enrolment ticket", k.ticket(), mfa.ErrTicket)
}

// Enrol turns a pending secret into an enrolment.
func (s *Store) Enrol(
	ctx context.Context, user, browser string, pending, ticket []byte, record mfa.Record, grant mfa.Grant,
) error {
	k, err := s.user(user, browser)
	if err != nil {
		return err
	}
	fields, err := encodeRecord(record)
	if err != nil {
		return err
	}
	names, args, err := k.grant(grant)
	if err != nil {
		return err
	}
	return s.change(ctx, "enrol a user", true, call{
		script:     s.scripts.enrol,
		keys:       append([]string{k.record(), k.pending(browser), k.ticket()}, names...),
		args:       append(append([]any{pending, ticket, record.Generation}, args...), fields...),
		replicated: true,
	})
}

// ReplaceCodes puts a new set of recovery codes in place of the old one.
func (s *Store) ReplaceCodes(
	ctx context.Context, user, generation, next string, codes mfa.Codes, grant mfa.Grant,
) error {
	k, err := s.user(user)
	if err != nil {
		return err
	}
	fields, err := encodeCodes(next, codes)
	if err != nil {
		return err
	}
	names, args, err := k.grant(grant)
	if err != nil {
		return err
	}
	return s.change(ctx, "replace recovery codes", false, call{
		script: s.scripts.replaceCodes,
		keys:   append([]string{k.record()}, names...),
		args:   append(append([]any{generation, next}, args...), fields...),
	})
}

// Reseal replaces the sealed seed by one of a newer key.
func (s *Store) Reseal(ctx context.Context, user, generation string, old, sealed []byte) error {
	k, err := s.user(user)
	if err != nil {
		return err
	}
	if len(sealed) == 0 {
		return errors.New("redisstore: an empty seed")
	}
	return s.change(ctx, "reseal a seed", false, call{
		script: s.scripts.reseal,
		keys:   []string{k.record()},
		args:   []any{generation, old, sealed},
	})
}

// Delete ends the enrolment of that generation.
func (s *Store) Delete(ctx context.Context, user, generation string) error {
	k, err := s.user(user)
	if err != nil {
		return err
	}
	return s.change(ctx, "delete an enrolment", false, call{
		script: s.scripts.remove,
		keys:   []string{k.record(), k.counters()},
		args:   []any{generation},
	})
}

// Reset ends any enrolment of the user and clears every counter.
func (s *Store) Reset(ctx context.Context, user string) error {
	_, err := s.reset(ctx, user, "")
	return err
}

// ErrNewer means that the user has enrolled since, and stays so.
var ErrNewer = errors.New("the user has enrolled since")

// ResetConfirmedBy is Reset for an enrolment that was confirmed at a moment or before,
// to the second: what is asked for once may be done twice and ends no later one. It
// reports whether there was an enrolment. ErrNewer, ErrLost.
func (s *Store) ResetConfirmedBy(ctx context.Context, user string, at time.Time) (ended bool, err error) {
	return s.reset(ctx, user, strconv.FormatInt(at.Unix(), 10))
}

func (s *Store) reset(ctx context.Context, user, confirmedBy string) (ended bool, err error) {
	k, err := s.user(user)
	if err != nil {
		return false, err
	}
	a, err := s.changeTo(ctx, "reset a user", true, call{
		script: s.scripts.reset,
		keys:   []string{k.record(), k.counters()},
		args:   []any{confirmedBy},
	})
	if err != nil {
		return false, err
	}
	if len(a.rest) != 1 {
		return false, fmt.Errorf("reset a user: %w", errUnreadable)
	}
	return a.rest[0] == int64(1), nil
}

// UpdateSignIn replaces a verified sign-in that exists.
func (s *Store) UpdateSignIn(ctx context.Context, user, key string, value []byte, ttl time.Duration) error {
	k, err := s.user(user, key)
	if err != nil {
		return err
	}
	if ttl.Milliseconds() <= 0 {
		return errors.New("redisstore: a sign-in has no lifetime")
	}
	ctx, cancel := s.writing(ctx)
	defer cancel()
	err = s.client.Do(ctx, "SET", k.signIn(key), value, "XX", "PX", ttl.Milliseconds()).Err()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("update a sign-in: %w", err)
	}
	return nil
}

// EndSignIn deletes a verified sign-in.
func (s *Store) EndSignIn(ctx context.Context, user, key string) error {
	k, err := s.user(user, key)
	if err != nil {
		return err
	}
	ctx, cancel := s.writing(ctx)
	defer cancel()
	if err := s.client.Del(ctx, k.signIn(key)).Err(); err != nil {
		return fmt.Errorf("end a sign-in: %w", err)
	}
	return nil
}

// change runs a script that answers with a word. sound makes it look first
// whether the store is the one it must be: where the script would start
// something, and not only go on with what is there.
func (s *Store) change(ctx context.Context, doing string, sound bool, c call) error {
	_, err := s.changeTo(ctx, doing, sound, c)
	return err
}

func (s *Store) changeTo(ctx context.Context, doing string, sound bool, c call) (answer, error) {
	ctx, cancel := s.writing(ctx)
	defer cancel()
	if sound {
		if err := s.checkEpoch(ctx); err != nil {
			return answer{}, fmt.Errorf("%s: %w", doing, err)
		}
	}
	a, err := s.run(ctx, c)
	if err == nil {
		err = s.outcome(ctx, a)
	}
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", doing, err)
	}
	return a, nil
}

// outcome returns the error that a script's word stands for. Where it says that
// something is absent or another, it may be the store that is another.
func (s *Store) outcome(ctx context.Context, a answer) error {
	switch a.word {
	case "OK":
		return nil
	case "ENABLED":
		return mfa.ErrAlreadyEnabled
	case "REPLAYED":
		return mfa.ErrReplayed
	case "SPENT":
		return mfa.ErrSpent
	case "DISABLED":
		return mfa.ErrFactorDisabled
	case "LOCKED":
		return locked(a)
	case "ABSENT":
		return s.unless(ctx, mfa.ErrNotEnrolled)
	case "NOPENDING":
		return s.unless(ctx, mfa.ErrNoPending)
	case "NOTICKET":
		return s.unless(ctx, mfa.ErrTicket)
	case "STALE":
		return s.unless(ctx, mfa.ErrStale)
	case "NEWER":
		return ErrNewer
	}
	return fmt.Errorf("redis returned the unknown answer %q", a.word)
}
