package mfa

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/sidecar/seal"
)

const (
	// TicketLifetime is how long after it was asked for a ticket can be used.
	TicketLifetime = 24 * time.Hour
	// ticketDigits is the length of a ticket: 128 bits in hexadecimal digits.
	ticketDigits = 32
	// factorTicket names a ticket in events. Nothing is counted against it: nobody
	// guesses 128 bits.
	factorTicket Factor = "ticket"
)

// Ticket returns what the store keeps of an enrolment ticket, which lets one user
// enrol once: a ticket is given to a person by some way that the password does not
// open, so that a stolen password is not enough to enrol first. digest is the
// SHA-256 of the ticket's hexadecimal digits in lower case.
//
// The result is keyed: whoever can write to the store and has no keys can make none.
func Ticket(ring *seal.Ring, user string, digest [sha256.Size]byte, expires time.Time) []byte {
	until := strconv.FormatInt(expires.Unix(), 10)
	return []byte(until + "." + ring.Name("ticket", user, hex.EncodeToString(digest[:]), until))
}

// admit returns the user's ticket as the store keeps it, if it is the one that was
// typed; nil where none is required. ErrTicket.
func (s *Service) admit(ctx context.Context, u User, typed string) ([]byte, error) {
	if !s.TicketRequired {
		return nil, nil
	}
	stored, err := s.Store.Ticket(ctx, u.Key)
	if err != nil && !errors.Is(err, ErrTicket) {
		return nil, fmt.Errorf("read an enrolment ticket: %w", err)
	}
	if err != nil || !s.opens(u, typed, stored) {
		s.Events.Record(ctx, Event{Name: EventEnrolFailed, User: u.Key, Factor: factorTicket, Result: ResultWrong})
		return nil, ErrTicket
	}
	return stored, nil
}

// opens reports whether the typed ticket is the stored one, and has not expired.
func (s *Service) opens(u User, typed string, stored []byte) bool {
	digits, ok := normaliseTicket(typed)
	until, _, found := strings.Cut(string(stored), ".")
	seconds, err := strconv.ParseInt(until, 10, 64)
	if !ok || !found || err != nil {
		return false
	}
	expires := time.Unix(seconds, 0)
	want := Ticket(s.Ring, u.Key, sha256.Sum256([]byte(digits)), expires)
	return subtle.ConstantTimeCompare(stored, want) == 1 && s.Clock().Before(expires)
}

// normaliseTicket returns a ticket as it was issued: people type it with spaces and
// dashes, and in either case.
func normaliseTicket(typed string) (string, bool) {
	if len(typed) > 4*ticketDigits {
		return "", false
	}
	digits := strings.ToLower(strings.NewReplacer(" ", "", "-", "").Replace(typed))
	if _, err := hex.DecodeString(digits); err != nil || len(digits) != ticketDigits {
		return "", false
	}
	return digits, true
}
