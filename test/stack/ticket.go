package stack

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/seal"
)

// IssueTicket issues a new enrolment ticket to the user whom the app knows by that id, as
// the operator does. It can be used for as long as lasting says, and the store keeps it.
func (s *Stack) IssueTicket(subject string, lasting time.Duration) (ticket string) {
	s.t.Helper()
	ticket = NewTicket(s.t)
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
	issued := mfa.Ticket(ring, user, sha256.Sum256([]byte(ticket)), s.options.Clock().Add(lasting))
	if err := store.SaveTicket(s.t.Context(), user, issued, mfa.TicketLifetime); err != nil {
		s.t.Fatal(err)
	}
	return ticket
}

// NewTicket returns a ticket that nobody was issued: 32 hexadecimal digits.
func NewTicket(t testing.TB) string {
	t.Helper()
	ticket := make([]byte, 16)
	if _, err := rand.Read(ticket); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(ticket)
}
