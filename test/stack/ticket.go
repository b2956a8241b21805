package stack

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/seal"
)

// IssueTicket issues an enrolment ticket to the user whom the app knows by that id,
// as the operator does: the ticket is 32 hexadecimal digits.
func (s *Stack) IssueTicket(subject, ticket string, expires time.Time) {
	s.t.Helper()
	const prefix, realm = "sallyport", "acme/portal"
	ring, err := seal.Parse(s.keys, realm)
	if err != nil {
		s.t.Fatal(err)
	}
	client := s.DialRedis()
	epoch, err := redisstore.Epoch(s.t.Context(), client, prefix, realm)
	if err != nil {
		s.t.Fatal(err)
	}
	store, err := redisstore.New(client, redisstore.Config{
		Prefix: prefix, Realm: realm, Epoch: epoch, Clock: s.options.Clock, Timeout: patience,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	user := ring.Name("user", subject)
	err = store.SaveTicket(s.t.Context(), user, mfa.Ticket(ring, user, sha256.Sum256([]byte(ticket)), expires), mfa.TicketLifetime)
	if err != nil {
		s.t.Fatal(err)
	}
}

// NewTicket returns a ticket that nobody has yet.
func (s *Stack) NewTicket() string {
	s.t.Helper()
	ticket := make([]byte, 16)
	if _, err := s.options.Random.Read(ticket); err != nil {
		s.t.Fatal(err)
	}
	return hex.EncodeToString(ticket)
}
