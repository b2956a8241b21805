package mfa

import (
	"context"
	"fmt"
	"slices"

	"github.com/sallyport/sallyport/sidecar/seal"
	"github.com/sallyport/sallyport/sidecar/totp"
)

// Secret is a minted secret as it is shown to the user, once.
type Secret struct {
	// Text is base32 in groups of four.
	Text string
	// URI is the otpauth key URI that the QR code carries.
	URI string
}

// Mint makes a secret and keeps it pending for one browser session of the user,
// in place of one that was pending there. The ticket matters only where one is
// required; it is spent once the secret is confirmed. ErrAlreadyEnabled, ErrTicket.
func (s *Service) Mint(ctx context.Context, u User, browser, ticket string) (Secret, error) {
	admission, err := s.admit(ctx, u, ticket)
	if err != nil {
		return Secret{}, err
	}
	seed, err := totp.NewSecret(s.Random)
	if err != nil {
		return Secret{}, fmt.Errorf("mint a secret: %w", err)
	}
	sealed, err := s.Ring.Seal(purposePending, pendingAAD(u, browser), slices.Concat(seed, admission))
	if err != nil {
		return Secret{}, fmt.Errorf("seal a pending secret: %w", err)
	}
	if err := s.Store.SavePending(ctx, u.Key, browser, sealed, PendingLifetime); err != nil {
		return Secret{}, fmt.Errorf("keep a pending secret: %w", err)
	}
	s.Events.Record(ctx, Event{Name: EventEnrolStarted, User: u.Key})
	return s.show(u, seed), nil
}

// Pending returns the secret that is pending. ErrNoPending.
func (s *Service) Pending(ctx context.Context, u User, browser string) (Secret, error) {
	p, err := s.pending(ctx, u, browser)
	if err != nil {
		return Secret{}, err
	}
	return s.show(u, p.seed), nil
}

// Discard forgets a pending secret, if there is one.
func (s *Service) Discard(ctx context.Context, u User, browser string) error {
	if err := s.Store.DropPending(ctx, u.Key, browser); err != nil {
		return fmt.Errorf("discard a pending secret: %w", err)
	}
	return nil
}

// Confirm enables two-factor if the code belongs to the pending secret, and
// returns the recovery codes, to be shown once. The accepted time step is spent.
// grant makes the verified sign-in for the new generation. ErrNoPending,
// ErrWrongCode, ErrAlreadyEnabled, ErrClock, ErrTicket; after ErrWrongCode and
// ErrClock the secret stays pending.
func (s *Service) Confirm(
	ctx context.Context, u User, browser, code string, grant func(generation string) (Grant, error),
) ([]string, error) {
	p, err := s.pending(ctx, u, browser)
	if err != nil {
		return nil, err
	}
	if s.TicketRequired && len(p.ticket) == 0 {
		return nil, ErrTicket // it was minted while none was asked for
	}
	if !s.ClockSound() {
		return nil, ErrClock
	}
	step, ok := totp.Match(p.seed, code, s.Clock())
	if !ok {
		s.Events.Record(ctx, Event{Name: EventEnrolFailed, User: u.Key, Factor: FactorTOTP})
		return nil, ErrWrongCode
	}
	record := Record{ConfirmedAt: s.Clock().UTC(), LastStep: step}
	if record.Seed, err = s.Ring.Seal(purposeSeed, []byte(u.Key), p.seed); err != nil {
		return nil, fmt.Errorf("seal a secret: %w", err)
	}
	var codes []string
	if codes, record.Codes, err = s.newCodes(ctx, u); err != nil {
		return nil, err
	}
	if record.Generation, err = s.newGeneration(); err != nil {
		return nil, err
	}
	g, err := grant(record.Generation)
	if err != nil {
		return nil, err
	}
	if err := s.Store.Enrol(ctx, u.Key, browser, p.sealed, p.ticket, record, g); err != nil {
		return nil, fmt.Errorf("enable two-factor: %w", err)
	}
	s.Events.Record(ctx, Event{Name: EventEnrolled, User: u.Key, Factor: FactorTOTP})
	return codes, nil
}

// pending is a secret that waits for its first code.
type pending struct {
	// sealed is what the store keeps.
	sealed, seed []byte
	// ticket by which it was minted, as the store keeps that; nil for none.
	ticket []byte
}

func (s *Service) pending(ctx context.Context, u User, browser string) (pending, error) {
	sealed, err := s.Store.LoadPending(ctx, u.Key, browser)
	if err != nil {
		return pending{}, fmt.Errorf("read a pending secret: %w", err)
	}
	opened, _, err := s.Ring.Open(purposePending, pendingAAD(u, browser), sealed)
	if err != nil {
		return pending{}, fmt.Errorf("open a pending secret: %w", err)
	}
	if len(opened) < totp.SecretBytes {
		return pending{}, fmt.Errorf("open a pending secret: %w", seal.ErrCorrupt)
	}
	return pending{sealed: sealed, seed: opened[:totp.SecretBytes], ticket: opened[totp.SecretBytes:]}, nil
}

func (s *Service) show(u User, seed []byte) Secret {
	return Secret{Text: totp.Grouped(seed), URI: totp.URI(s.Issuer, u.Account, seed)}
}

func pendingAAD(u User, browser string) []byte { return []byte(u.Key + "/" + browser) }
