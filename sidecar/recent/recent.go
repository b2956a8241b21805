// Package recent remembers answers for moments, so that a busy user's requests do not
// each ask Redis or the app for what was said a moment ago.
//
// It imports nothing of ours. It must never remember a failure, and never return an
// answer that was asked for longer ago than its lifetime: how long a revocation may
// take is that lifetime.
package recent

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Key names an answer. Answers of one owner are forgotten together.
type Key struct{ Owner, Name string }

// Ask gets an answer. keep says whether it may be remembered. An error means that
// nothing was learnt: what is remembered stays for the rest of its lifetime.
type Ask[V any] func(ctx context.Context) (answer V, keep bool, err error)

// Cache remembers answers. It is safe for concurrent use.
type Cache[V any] struct {
	lifetime time.Duration
	clock    func() time.Time
	entries  *lru.Cache[Key, *entry[V]]
	seed     maphash.Seed
	// forgotten counts the forgettings, spread over owners. An answer counts only
	// under the count that stood when it was asked for: it may be of before.
	forgotten [1024]atomic.Uint64
}

type entry[V any] struct {
	answer   V
	asked    time.Time
	count    uint64
	renewing atomic.Bool
}

// New returns a Cache of at most size answers, each good for the lifetime from when it
// was asked for. A lifetime of 0 remembers nothing. With each new answer those go that
// are of no use: it holds about as many as were asked for in one lifetime.
func New[V any](lifetime time.Duration, size int, clock func() time.Time) (*Cache[V], error) {
	entries, err := lru.New[Key, *entry[V]](size)
	if err != nil {
		return nil, fmt.Errorf("make a cache: %w", err)
	}
	return &Cache[V]{lifetime: lifetime, clock: clock, entries: entries, seed: maphash.MakeSeed()}, nil
}

// Get returns the remembered answer, or asks for it. Past half of its lifetime the
// remembered one is returned still, and asked for anew meanwhile: whoever goes on
// asking never waits. prepare is called in Get, and what it returns may run after Get
// has returned, bounded by nothing but itself.
func (c *Cache[V]) Get(ctx context.Context, key Key, prepare func() Ask[V]) (V, error) {
	now := c.clock()
	if e, ok := c.entries.Get(key); ok && c.counts(key, e, now) {
		if now.Sub(e.asked) > c.lifetime/2 && e.renewing.CompareAndSwap(false, true) {
			go c.renew(context.WithoutCancel(ctx), key, e, prepare())
		}
		return e.answer, nil
	}
	answer, _, err := c.ask(ctx, key, prepare())
	return answer, err
}

// Forget drops what is remembered of an owner, and what is being asked for.
func (c *Cache[V]) Forget(owner string) { c.count(owner).Add(1) }

func (c *Cache[V]) counts(key Key, e *entry[V], now time.Time) bool {
	age := now.Sub(e.asked)
	return age >= 0 && age < c.lifetime && e.count == c.count(key.Owner).Load()
}

func (c *Cache[V]) ask(ctx context.Context, key Key, ask Ask[V]) (answer V, keep bool, err error) {
	e := &entry[V]{asked: c.clock(), count: c.count(key.Owner).Load()}
	e.answer, keep, err = ask(ctx)
	if keep && err == nil && c.lifetime > 0 {
		c.entries.Add(key, e)
		c.sweep()
	}
	return e.answer, keep, err
}

// sweep lets go of who has not asked for so long that their answers are of no use. Who
// asked last stands last, so it looks no further than the first that is still good.
func (c *Cache[V]) sweep() {
	now := c.clock()
	for {
		key, e, ok := c.entries.GetOldest()
		if !ok || c.counts(key, e, now) {
			return
		}
		c.entries.Remove(key)
	}
}

// renew takes an answer back that no longer holds.
func (c *Cache[V]) renew(ctx context.Context, key Key, old *entry[V], ask Ask[V]) {
	defer old.renewing.Store(false)
	if _, keep, err := c.ask(ctx, key, ask); err == nil && !keep {
		c.entries.Remove(key)
	}
}

func (c *Cache[V]) count(owner string) *atomic.Uint64 {
	return &c.forgotten[maphash.String(c.seed, owner)%uint64(len(c.forgotten))]
}
