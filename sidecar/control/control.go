// Package control is the channel between a controller and the sidecars of one
// namespace: the controller publishes each policy as a signed record, sidecars
// follow it and say every second or two what they obey.
//
// # Keys
//
// P is the prefix, N the namespace, which is the hash tag: all of a namespace's
// control keys share a cluster slot.
//
//	P:{N}:policy:<name>      string  the sealed record, see api/policy
//	P:{N}:heartbeats:<name>  hash    what each sidecar says, by the UID of its pod; an hour after the last
//
// # What a follower believes
//
// Redis only carries: whoever writes to it without the namespace's keys can
// withhold a record, and nothing else. A record is obeyed if it is authentic, of
// this namespace and this policy, and supersedes the one in force; otherwise what
// is in force stays, the refusal is reported, and so is a record that vanished.
//
// That an older record is refused holds within one process. A sidecar that starts
// knows nothing but its keys: it takes the newest record that it is shown, and
// cannot tell a stale one, played back by somebody who can write to Redis, from
// the present one. It says in its heartbeat what it obeys, so the controller sees
// an older generation, and by publishing the present one again it ends that.
//
// A namespace's keys are symmetric: whoever reads them can make a record. They
// reach no further than the namespace, and the Redis user of ACL may not write
// records.
//
// It may import api/policy, sidecar/seal and the Redis client. It must never log,
// never hand out a record that is not authentic, and never create an epoch.
package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/seal"
)

// timeout bounds each exchange with Redis.
const timeout = 2 * time.Second

// Config is what a Channel needs.
type Config struct {
	// Client stays the caller's to close.
	Client redis.UniversalClient
	// Prefix of every key, such as "sallyport".
	Prefix string
	// Namespace whose policies the channel carries.
	Namespace string
	// Ring of the namespace: parsed with the namespace alone as its realm.
	Ring *seal.Ring
	// Clock of this process.
	Clock func() time.Time
}

// Channel carries the policies of one namespace. It is safe for concurrent use.
type Channel struct {
	client    redis.UniversalClient
	prefix    string
	namespace string
	clock     func() time.Time
	ring      atomic.Pointer[seal.Ring]
}

// New returns a Channel. It does not connect.
func New(c Config) *Channel {
	channel := &Channel{client: c.Client, prefix: c.Prefix, namespace: c.Namespace, clock: c.Clock}
	channel.ring.Store(c.Ring)
	return channel
}

// SetRing replaces the ring, after a rotation. Records that were refused are judged
// again by the new one.
func (c *Channel) SetRing(ring *seal.Ring) { c.ring.Store(ring) }

func (c *Channel) recordKey(name string) string { return c.key("policy", name) }
func (c *Channel) beatsKey(name string) string  { return c.key("heartbeats", name) }

func (c *Channel) key(kind, name string) string {
	return c.prefix + ":{" + c.namespace + "}:" + kind + ":" + name
}

// check refuses names that would make a key another one.
func (c *Channel) check(policyName string) error {
	for _, name := range []string{c.namespace, policyName} {
		if name == "" || strings.ContainsAny(name, "{}:/* \n") {
			return fmt.Errorf("%q names no namespace and no policy", name)
		}
	}
	return nil
}

// recordPurpose derives the keys of policy records.
const recordPurpose = "control-record"

var errGarbage = errors.New("what is published is no policy record")

// open reads a sealed record of a policy with whichever usable key made it.
func (c *Channel) open(ring *seal.Ring, sealed []byte, policyName string) (*policy.Record, error) {
	err := policy.ErrBadMAC
	for _, secret := range ring.Secrets(recordPurpose) {
		var r *policy.Record
		if r, err = policy.Open(sealed, secret, c.namespace); errors.Is(err, policy.ErrBadMAC) {
			continue
		}
		if err == nil && r.Policy != policyName {
			err = policy.ErrWrongPolicy
		}
		if err != nil {
			return nil, err
		}
		return r, nil
	}
	return nil, err
}

// fetch reads what is published, and no more of it than a record may have: nothing
// for nothing, errGarbage for what is not even a string.
func (c *Channel) fetch(ctx context.Context, client redis.Cmdable, policyName string) ([]byte, error) {
	sealed, err := client.GetRange(ctx, c.recordKey(policyName), 0, policy.MaxRecord).Bytes()
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		return nil, errGarbage
	}
	if err != nil {
		return nil, fmt.Errorf("read the policy record: %w", err)
	}
	return sealed, nil
}
