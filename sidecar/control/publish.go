package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/api/policy"
)

// ErrNotPublished means that there is no record of the policy.
var ErrNotPublished = errors.New("the policy is not published")

// ErrForeign means that what stands in the place of the policy's record is none that
// a sidecar would obey. The cause is wrapped too.
var ErrForeign = errors.New("what is published is not the policy's record")

// attempts at a change while others change the same record.
const attempts = 5

// Publish puts a record in the place of the policy's present one. What stands
// there and is not an authentic record of this policy is overwritten; one that the
// new record does not supersede stays, and the error is policy.ErrOlder. Publishing
// what is published already changes nothing.
func (c *Channel) Publish(ctx context.Context, r *policy.Record) error {
	if err := c.check(r.Policy); err != nil {
		return fmt.Errorf("publish a policy: %w", err)
	}
	if namespace, _, _ := strings.Cut(r.Realm, "/"); namespace != c.namespace {
		return fmt.Errorf("publish a policy: %w", policy.ErrWrongRealm)
	}
	ring := c.ring.Load()
	sealed, err := policy.Seal(r, ring.Secrets(recordPurpose)[0])
	if err != nil {
		return fmt.Errorf("publish a policy: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	replace := func(tx *redis.Tx) error {
		present, err := c.fetch(ctx, tx, r.Policy)
		switch {
		case errors.Is(err, errGarbage):
		case err != nil:
			return err
		case bytes.Equal(present, sealed):
			return nil
		default:
			if current, err := c.open(ring, present, r.Policy); err == nil {
				if err := r.Supersedes(current); err != nil {
					return err
				}
			}
		}
		_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, c.recordKey(r.Policy), sealed, 0)
			return nil
		})
		return err
	}
	for range attempts {
		err = c.client.Watch(ctx, replace, c.recordKey(r.Policy))
		if !errors.Is(err, redis.TxFailedErr) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("publish a policy: %w", err)
	}
	return nil
}

// Published returns the policy's record as sidecars that start now would take it, and
// whether it is sealed with the primary key: after a rotation it is not, until it is
// published again. ErrNotPublished, ErrForeign, which Publish both mends.
func (c *Channel) Published(ctx context.Context, policyName string) (r *policy.Record, current bool, err error) {
	if err := c.check(policyName); err != nil {
		return nil, false, fmt.Errorf("read what is published: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	sealed, err := c.fetch(ctx, c.client, policyName)
	switch {
	case errors.Is(err, errGarbage):
		return nil, false, fmt.Errorf("%w: %w", ErrForeign, err)
	case err != nil:
		return nil, false, err
	case len(sealed) == 0:
		return nil, false, ErrNotPublished
	}
	ring := c.ring.Load()
	if r, err = c.open(ring, sealed, policyName); err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	_, err = policy.Open(sealed, ring.Secrets(recordPurpose)[0], c.namespace)
	return r, err == nil, nil
}

// Withdraw removes the policy's record. Sidecars that run keep what they have; one
// that starts stays shut. To open the door publish a record that requires nothing.
func (c *Channel) Withdraw(ctx context.Context, policyName string) error {
	if err := c.check(policyName); err != nil {
		return fmt.Errorf("withdraw a policy: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := c.client.Del(ctx, c.recordKey(policyName)).Err(); err != nil {
		return fmt.Errorf("withdraw a policy: %w", err)
	}
	return nil
}
