package identity

import (
	"crypto/sha256"
	"fmt"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const cacheSize = 10_000

type cacheKey [sha256.Size]byte

type cached struct {
	identity Identity
	until    time.Time
}

// cache remembers for moments who certain credentials belong to. It holds users
// only: remembering a nobody would let the first request after a sign-in through
// without a second factor.
type cache struct {
	lifetime time.Duration
	entries  *lru.Cache[cacheKey, cached]
	// drops counts the forgettings, spread over keys. An answer that was asked for
	// before its key was dropped is not remembered after: it may be of a session
	// that has ended meanwhile.
	drops [256]atomic.Uint64
}

func newCache(lifetime time.Duration) (*cache, error) {
	entries, err := lru.New[cacheKey, cached](cacheSize)
	if err != nil {
		return nil, fmt.Errorf("make the identity cache: %w", err)
	}
	return &cache{lifetime: lifetime, entries: entries}, nil
}

func (c *cache) get(key cacheKey, now time.Time) (Identity, bool) {
	entry, ok := c.entries.Get(key)
	if !ok || !now.Before(entry.until) {
		return Identity{}, false
	}
	return entry.identity, true
}

// stamp is taken before asking and handed to put with the answer.
func (c *cache) stamp(key cacheKey) uint64 { return c.drops[key[0]].Load() }

// put remembers an answer from the moment that it was asked for.
func (c *cache) put(key cacheKey, id Identity, asked time.Time, stamp uint64) {
	if c.lifetime <= 0 || id.Kind != Authenticated {
		return
	}
	c.entries.Add(key, cached{identity: id, until: asked.Add(c.lifetime)})
	// Looked at after adding: a drop that came in between finds the entry, or is
	// found here.
	if c.stamp(key) != stamp {
		c.entries.Remove(key)
	}
}

func (c *cache) drop(key cacheKey) {
	c.drops[key[0]].Add(1)
	c.entries.Remove(key)
}
