package portal

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"
)

// sessionLifetime is how long a sign-in lasts, used or not.
const sessionLifetime = 12 * time.Hour

// errUnavailable says that the store of sessions did not answer. It is never to
// be read as "nobody is signed in": whoever asks, a front door above all, would
// take that for an answer.
var errUnavailable = errors.New("the sessions are out of reach")

// Sessions holds every open sign-in, under a digest of its id: a dump of it
// yields no cookie that works, and looking an id up takes a time that says
// nothing about other ids. It is safe for concurrent use; an error says that it
// could not be found out, or that it is not known to have been done.
type Sessions interface {
	// Start opens a user's session under a fresh id, for 12 hours.
	Start(ctx context.Context, id, userID string) error
	// Find returns whose open session it is, and "" where there is none.
	Find(ctx context.Context, id string) (userID string, err error)
	// End closes the sessions. Ending one that is over does nothing.
	End(ctx context.Context, ids ...string) error
}

// memorySessions is for a portal that runs once.
type memorySessions struct {
	clock func() time.Time
	mu    sync.Mutex
	open  map[[sha256.Size]byte]memorySession
}

type memorySession struct {
	userID  string
	expires time.Time
}

// NewMemorySessions returns sessions that one process knows, until it ends.
func NewMemorySessions(clock func() time.Time) Sessions {
	return &memorySessions{clock: clock, open: map[[sha256.Size]byte]memorySession{}}
}

// Start also sweeps out what has expired.
func (s *memorySessions) Start(_ context.Context, id, userID string) error {
	now := s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, old := range s.open {
		if !now.Before(old.expires) {
			delete(s.open, key)
		}
	}
	s.open[digest(id)] = memorySession{userID: userID, expires: now.Add(sessionLifetime)}
	return nil
}

// Find never fails.
func (s *memorySessions) Find(_ context.Context, id string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.open[digest(id)]
	if !ok || !s.clock().Before(found.expires) {
		return "", nil
	}
	return found.userID, nil
}

// End never fails.
func (s *memorySessions) End(_ context.Context, ids ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.open, digest(id))
	}
	return nil
}

func digest(id string) [sha256.Size]byte { return sha256.Sum256([]byte(id)) }
