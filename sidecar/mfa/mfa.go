// Package mfa is the domain: enrolment, verification, recovery codes, disabling,
// and the limits on attempts. It decides what may happen to a user's second
// factor and leaves the atomic steps to a Store.
//
// It may import sidecar/seal and sidecar/totp. It must never see a request, a
// page or a Redis client, and must never put a seed, a code or a password into
// an error, an event or a log.
package mfa

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/sallyport/sallyport/sidecar/seal"
)

// PendingLifetime is how long a minted secret can be confirmed.
const PendingLifetime = 10 * time.Minute

// The purposes that keys are derived for.
const (
	purposeSeed    = "seed"
	purposePending = "pending-seed"
	purposePepper  = "recovery-pepper"
)

// User is who an operation is about.
type User struct {
	// Key names the user in the store; see Service.User.
	Key string
	// Account is what the authenticator app shows.
	Account string
}

// Config is what a Service works with.
type Config struct {
	Store Store
	Ring  *seal.Ring
	Clock func() time.Time
	// ClockSound reports whether codes may be judged by the Clock.
	ClockSound func() bool
	Random     io.Reader
	Events     Recorder
	// Issuer is what the authenticator app shows beside the account.
	Issuer string
	// TicketRequired says that nobody enrols without an enrolment ticket.
	TicketRequired bool
	// Regulation bounds attempts; see DefaultRegulation.
	Regulation Regulation
	// Hasher bounds the memory that hashing recovery codes takes. Share one
	// among all Services of a process.
	Hasher *Hasher
}

// Regulation bounds the attempts at each factor.
type Regulation struct{ TOTP, Recovery, Password Limits }

// DefaultRegulation returns the limits of the product: five free failures, then
// growing waits; 50 in a row, or 100 within 30 days, switch a factor off (NIST
// SP 800-63B-4 section 3.2.2). The password gate waits 15 minutes.
func DefaultRegulation() Regulation {
	code := Limits{
		Free: 5,
		Backoff: []time.Duration{
			30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute,
			15 * time.Minute, 30 * time.Minute, time.Hour,
		},
		HardCap:    50,
		RollingCap: 100,
	}
	return Regulation{
		TOTP:     code,
		Recovery: code,
		Password: Limits{Free: 5, Backoff: []time.Duration{15 * time.Minute}},
	}
}

// Service performs the operations of the domain for one realm.
type Service struct{ Config }

// New returns a Service. Every field of the Config is required.
func New(c Config) *Service { return &Service{Config: c} }

// User names the user with the given stable subject.
func (s *Service) User(subject, account string) User {
	if account == "" {
		account = subject
	}
	return User{Key: s.Ring.Name("user", subject), Account: account}
}

// Load reads what a decision about the user needs.
func (s *Service) Load(ctx context.Context, u User, signIn string) (Snapshot, error) {
	return s.Store.Load(ctx, u.Key, signIn)
}

// EndSignIn ends a verified sign-in of the user.
func (s *Service) EndSignIn(ctx context.Context, u User, key string) error {
	if err := s.Store.EndSignIn(ctx, u.Key, key); err != nil {
		return fmt.Errorf("end a verified sign-in: %w", err)
	}
	return nil
}

// UpdateSignIn replaces the record of a verified sign-in that still exists.
func (s *Service) UpdateSignIn(ctx context.Context, u User, key string, value []byte, ttl time.Duration) error {
	if err := s.Store.UpdateSignIn(ctx, u.Key, key, value, ttl); err != nil {
		return fmt.Errorf("update a verified sign-in: %w", err)
	}
	return nil
}
