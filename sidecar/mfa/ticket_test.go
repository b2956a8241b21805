package mfa_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/seal"
)

// ticketStore has a ticket and sees whether a secret is minted.
type ticketStore struct {
	mfa.Store

	ticket []byte
	minted bool
}

func (s *ticketStore) Ticket(context.Context, string) ([]byte, error) { return s.ticket, nil }

func (s *ticketStore) SavePending(context.Context, string, string, []byte, time.Duration) error {
	s.minted = true
	return nil
}

// Whatever is stored and whatever is typed: a secret is minted only for the ticket of
// which the store has what mfa.Ticket made, and before its end.
func FuzzTicket(f *testing.F) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	doc, err := seal.Generate(rand.Reader, now)
	if err != nil {
		f.Fatal(err)
	}
	ring, err := seal.Parse(doc, "acme/portal")
	if err != nil {
		f.Fatal(err)
	}
	const digits = "00112233445566778899aabbccddeeff"
	genuine := func(user, ticket string, until int64) []byte {
		return mfa.Ticket(ring, user, sha256.Sum256([]byte(ticket)), time.Unix(until, 0))
	}
	later := now.Add(time.Hour).Unix()
	f.Add(digits, genuine("alice", digits, later))
	f.Add("00112233-44556677 8899AABB-ccddeeff", genuine("alice", digits, later))
	f.Add(digits, genuine("alice", digits, now.Unix()))
	f.Add(digits, genuine("bob", digits, later))
	f.Add("", genuine("alice", "", later))
	f.Add(digits, []byte(nil))
	f.Add(digits, []byte("99999999999999999999."))
	f.Add(digits+"\x00", []byte("."))
	f.Fuzz(func(t *testing.T, typed string, stored []byte) {
		store := &ticketStore{ticket: stored}
		service := mfa.New(mfa.Config{
			Store: store, Ring: ring, Clock: func() time.Time { return now }, Random: rand.Reader, Events: new(recorder), TicketRequired: true,
		})
		_, err := service.Mint(t.Context(), mfa.User{Key: "alice"}, "browser", typed)
		ticket := strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(typed, " ", ""), "-", ""))
		until, parsed := strconv.ParseInt(string(bytes.SplitN(stored, []byte("."), 2)[0]), 10, 64)
		want := parsed == nil && until > now.Unix() && len(typed) <= 128 && len(ticket) == len(digits) &&
			strings.Trim(ticket, "0123456789abcdef") == "" && bytes.Equal(stored, genuine("alice", ticket, until))
		if (err == nil) != want || store.minted != want {
			t.Errorf("%q against %q: %v, minted: %t", typed, stored, err, store.minted)
		}
		if err != nil && !errors.Is(err, mfa.ErrTicket) {
			t.Errorf("%q against %q: %v", typed, stored, err)
		}
	})
}
