package mfa

import (
	"context"
	"fmt"

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
// in place of one that was pending there. ErrAlreadyEnabled.
func (s *Service) Mint(ctx context.Context, u User, browser string) (Secret, error) {
	seed, err := totp.NewSecret(s.Random)
	if err != nil {
		return Secret{}, fmt.Errorf("mint a secret: %w", err)
	}
	sealed, err := s.Ring.Seal(purposePending, pendingAAD(u, browser), seed)
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
	_, seed, err := s.pending(ctx, u, browser)
	if err != nil {
		return Secret{}, err
	}
	return s.show(u, seed), nil
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
// ErrWrongCode, ErrAlreadyEnabled, ErrClock; after ErrWrongCode and ErrClock the
// secret stays pending.
func (s *Service) Confirm(
	ctx context.Context, u User, browser, code string, grant func(generation string) (Grant, error),
) ([]string, error) {
	sealedPending, seed, err := s.pending(ctx, u, browser)
	if err != nil {
		return nil, err
	}
	if !s.ClockSound() {
		return nil, ErrClock
	}
	step, ok := totp.Match(seed, code, s.Clock())
	if !ok {
		s.Events.Record(ctx, Event{Name: EventEnrolFailed, User: u.Key, Factor: FactorTOTP})
		return nil, ErrWrongCode
	}
	record := Record{ConfirmedAt: s.Clock().UTC(), LastStep: step}
	if record.Seed, err = s.Ring.Seal(purposeSeed, []byte(u.Key), seed); err != nil {
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
	if err := s.Store.Enrol(ctx, u.Key, browser, sealedPending, record, g); err != nil {
		return nil, fmt.Errorf("enable two-factor: %w", err)
	}
	s.Events.Record(ctx, Event{Name: EventEnrolled, User: u.Key, Factor: FactorTOTP})
	return codes, nil
}

func (s *Service) pending(ctx context.Context, u User, browser string) (sealed, seed []byte, err error) {
	sealed, err = s.Store.LoadPending(ctx, u.Key, browser)
	if err != nil {
		return nil, nil, fmt.Errorf("read a pending secret: %w", err)
	}
	seed, _, err = s.Ring.Open(purposePending, pendingAAD(u, browser), sealed)
	if err != nil {
		return nil, nil, fmt.Errorf("open a pending secret: %w", err)
	}
	return sealed, seed, nil
}

func (s *Service) show(u User, seed []byte) Secret {
	return Secret{Text: totp.Grouped(seed), URI: totp.URI(s.Issuer, u.Account, seed)}
}

func pendingAAD(u User, browser string) []byte { return []byte(u.Key + "/" + browser) }
