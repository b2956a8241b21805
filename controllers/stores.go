package controllers

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sidecar/redisstore"
)

// unusedFor is how long a connection that no policy asks for is kept.
const unusedFor = 10 * time.Minute

// Stores holds a connection for each Redis that policies use. It is safe for
// concurrent use.
type Stores struct {
	clock func() time.Time

	mu   sync.Mutex
	open map[[sha256.Size]byte]*Store
}

// Store is a connection to one Redis.
type Store struct {
	Client redis.UniversalClient

	used time.Time
}

// NewStores returns an empty set of connections.
func NewStores(clock func() time.Time) *Stores {
	return &Stores{clock: clock, open: make(map[[sha256.Size]byte]*Store)}
}

// Open returns the connection that a document describes, the same one for the same
// document. It does not wait for Redis.
func (s *Stores) Open(document *redisstore.Document) (*Store, error) {
	encoded, err := json.Marshal(document) //nolint:gosec // G117: it is hashed and goes nowhere
	if err != nil {
		return nil, fmt.Errorf("encode how to reach Redis: %w", err)
	}
	key := sha256.Sum256(encoded)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	maps.DeleteFunc(s.open, func(k [sha256.Size]byte, store *Store) bool {
		if k == key || now.Sub(store.used) < unusedFor {
			return false
		}
		_ = store.Client.Close() // nobody is left to be told
		return true
	})
	if store, ok := s.open[key]; ok {
		store.used = now
		return store, nil
	}
	client, err := redisstore.Dial(redisstore.Options{Document: func() (*redisstore.Document, error) { return document, nil }})
	if err != nil {
		return nil, err
	}
	s.open[key] = &Store{Client: client, used: now}
	return s.open[key], nil
}

// Close closes every connection.
func (s *Stores) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, store := range s.open {
		_ = store.Client.Close() // the process is going
	}
	clear(s.open)
}
