package redisstore

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sidecar/seal"
)

const (
	// sweepEvery is how old a count may grow.
	sweepEvery = time.Hour
	// sweepSoon is how old it may grow while seeds are on their way to a new key.
	sweepSoon = 15 * time.Second
	// turn is how long a sidecar that died keeps the others from sweeping.
	turn = time.Minute
	// turnRenewed is how often a sweep says that it goes on.
	turnRenewed = turn / 4
)

// ErrNeverSwept means that no sidecar has yet counted what needs which key.
var ErrNeverSwept = errors.New("no sweep over the realm's records was finished")

// errTurnLost means that a sweep was so slow that another sidecar took over.
var errTurnLost = errors.New("the turn to sweep was lost")

// Two steps on the turn, which nobody takes who does not hold it.
const (
	renewTurn = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
	endTurn   = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
)

// KeyUse returns what the last finished sweep over the realm counted. ErrNeverSwept.
func KeyUse(ctx context.Context, client redis.UniversalClient, prefix, realm string) (seal.Use, error) {
	if err := checkNames(prefix, realm); err != nil {
		return seal.Use{}, err
	}
	doc, err := readUse(ctx, client, prefix, realm)
	if err != nil {
		return seal.Use{}, err
	}
	return seal.ParseUse(doc)
}

func readUse(ctx context.Context, client redis.UniversalClient, prefix, realm string) ([]byte, error) {
	doc, err := client.Get(ctx, useKey(prefix, realm)).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, ErrNeverSwept
	}
	if err != nil {
		return nil, fmt.Errorf("read the count of key uses: %w", err)
	}
	return doc, nil
}

// Sweep has every enrolment of the realm examined and publishes the count for
// KeyUse, if that is due and no other sidecar is at it. primary is the caller's
// primary version, examine mfa.Service.Examine. It reports whether it swept; call it
// every minute or so. random names the turn. An enrolment that cannot be read is counted as such; any other
// fault ends the sweep without a count.
func (s *Store) Sweep(
	ctx context.Context, primary uint32, random io.Reader,
	examine func(ctx context.Context, user string, use *seal.Use) error,
) (swept bool, err error) {
	if due, err := s.due(ctx, primary); err != nil || !due {
		return false, err
	}
	token := make([]byte, epochBytes)
	if _, err := io.ReadFull(random, token); err != nil {
		return false, fmt.Errorf("name the turn to sweep: %w", err)
	}
	t := &sweeping{store: s, token: base64.RawURLEncoding.EncodeToString(token)}
	if taken, err := t.take(ctx); err != nil || !taken {
		return false, err
	}
	defer t.end(ctx)
	// Another may have swept between the look and the turn.
	if due, err := s.due(ctx, primary); err != nil || !due {
		return false, err
	}
	use := seal.Use{Primary: primary, Seals: map[uint32]int64{}, Codes: map[uint32]int64{}}
	if use.AsOf, err = s.now(ctx); err != nil {
		return false, err
	}
	if err := t.walk(ctx, &use, examine); err != nil {
		return false, fmt.Errorf("sweep the enrolments: %w", err)
	}
	return true, s.publish(ctx, use)
}

// due says whether the published count is too old, or counted with an older ring.
func (s *Store) due(ctx context.Context, primary uint32) (bool, error) {
	doc, err := readUse(ctx, s.client, s.config.Prefix, s.config.Realm)
	if errors.Is(err, ErrNeverSwept) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	// A count that cannot be read is the zero value: one of an older ring.
	use, _ := seal.ParseUse(doc)
	if use.Primary != primary {
		// Where ours is the older ring, who has the newer one sweeps.
		return use.Primary < primary, nil
	}
	now, err := s.now(ctx)
	if err != nil {
		return false, err
	}
	wait := sweepEvery
	if use.Moved > 0 {
		wait = sweepSoon
	}
	return now.Sub(use.AsOf) >= wait || use.AsOf.After(now), nil
}

// now is the time of the store.
func (s *Store) now(ctx context.Context) (time.Time, error) {
	now, err := s.client.Time(ctx).Result()
	if err != nil {
		return time.Time{}, fmt.Errorf("read the clock of redis: %w", err)
	}
	return now.UTC().Truncate(time.Millisecond), nil
}

func (s *Store) publish(ctx context.Context, use seal.Use) error {
	doc, err := json.Marshal(use)
	if err != nil {
		return fmt.Errorf("encode the count of key uses: %w", err)
	}
	if err := s.client.Set(ctx, useKey(s.config.Prefix, s.config.Realm), doc, 0).Err(); err != nil {
		return fmt.Errorf("publish the count of key uses: %w", err)
	}
	return nil
}

// sweeping is one sidecar's turn.
type sweeping struct {
	store   *Store
	token   string
	renewed time.Time
}

func (t *sweeping) key() string {
	return t.store.config.Prefix + ":{" + t.store.config.Realm + "}:sweep"
}

func (t *sweeping) take(ctx context.Context) (bool, error) {
	t.renewed = t.store.config.Clock()
	err := t.store.client.Do(ctx, "SET", t.key(), t.token, "NX", "PX", turn.Milliseconds()).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("take the turn to sweep: %w", err)
	}
	return true, nil
}

// renew holds on to the turn; now and then it asks Redis.
func (t *sweeping) renew(ctx context.Context) error {
	now := t.store.config.Clock()
	if now.Sub(t.renewed) < turnRenewed {
		return nil
	}
	return t.confirm(ctx, now)
}

func (t *sweeping) confirm(ctx context.Context, now time.Time) error {
	held, err := t.store.client.Eval(ctx, renewTurn, []string{t.key()}, t.token, turn.Milliseconds()).Int()
	if err != nil {
		return fmt.Errorf("keep the turn to sweep: %w", err)
	}
	if held != 1 {
		return errTurnLost
	}
	t.renewed = now
	return nil
}

// end lets others have the turn. If it fails, the turn ends by itself.
func (t *sweeping) end(ctx context.Context) {
	ctx, cancel := t.store.writing(ctx)
	defer cancel()
	_ = t.store.client.Eval(ctx, endTurn, []string{t.key()}, t.token).Err()
}

func (t *sweeping) walk(
	ctx context.Context, use *seal.Use, examine func(ctx context.Context, user string, use *seal.Use) error,
) error {
	c := t.store.config
	err := walk(ctx, t.store.client, c.Prefix+":{"+c.Realm+":*}:u", func(ctx context.Context, keys []string) error {
		if err := t.renew(ctx); err != nil {
			return err
		}
		for _, key := range keys {
			realm, user, ok := realmOf(c.Prefix, key)
			if !ok || realm != c.Realm {
				use.Unreadable++ // ours by its name, and not one that we write
				continue
			}
			if err := t.renew(ctx); err != nil {
				return err
			}
			err := examine(ctx, user, use)
			if errors.Is(err, errUnreadable) {
				use.Unreadable++
				err = nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return t.confirm(ctx, c.Clock())
}

func useKey(prefix, realm string) string { return prefix + ":{" + realm + "}:keys" }
