package portal

import (
	"crypto/sha256"
	"sync"
	"time"
)

// sessionLifetime is how long a sign-in lasts, used or not.
const sessionLifetime = 12 * time.Hour

// session is one sign-in.
type session struct {
	key     [sha256.Size]byte
	user    *account
	expires time.Time
	// ended is closed when the session is over, so that streams which outlive
	// the request that opened them end with it.
	ended chan struct{}
}

// sessions holds every open sign-in, under a digest of its id: a dump of the
// memory yields no cookie that works, and looking an id up takes a time that
// says nothing about other ids.
type sessions struct {
	clock func() time.Time
	mu    sync.Mutex
	open  map[[sha256.Size]byte]*session
}

func newSessions(clock func() time.Time) *sessions {
	return &sessions{clock: clock, open: map[[sha256.Size]byte]*session{}}
}

// start opens a session under a fresh id and sweeps out what has expired.
func (s *sessions) start(id string, user *account) {
	now := s.clock()
	started := &session{
		key: sha256.Sum256([]byte(id)), user: user,
		expires: now.Add(sessionLifetime), ended: make(chan struct{}),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range s.open {
		if !now.Before(old.expires) {
			s.drop(old)
		}
	}
	s.open[started.key] = started
}

// find returns the open session with this id, or nil.
func (s *sessions) find(id string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.open[sha256.Sum256([]byte(id))]
	if found != nil && !s.clock().Before(found.expires) {
		s.drop(found)
		return nil
	}
	return found
}

// alive reports whether a session that was found earlier is still open.
func (s *sessions) alive(one *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.clock().Before(one.expires) {
		s.drop(one)
	}
	return s.open[one.key] == one
}

// end closes a session. Ending one that is over does nothing.
func (s *sessions) end(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(one)
}

func (s *sessions) drop(one *session) {
	if s.open[one.key] == one {
		delete(s.open, one.key)
		close(one.ended)
	}
}
