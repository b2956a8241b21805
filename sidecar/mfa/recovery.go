package mfa

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/semaphore"
)

// The form of recovery codes: 8 codes of 8 symbols, 40 bits each.
const (
	RecoveryCodes    = 8
	recoverySymbols  = 8
	recoveryAlphabet = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789" // 32 symbols: no I, O, 0, 1
)

// The cost of hashing a recovery code: argon2id with 12 MiB, three passes, one
// lane (OWASP ASVS 5.0, appendix on approved password hashes). The salt is the
// set's, so that one attempt costs one hash and not eight.
const (
	argonPasses  = 3
	argonMemory  = 12 * 1024 // KiB
	argonLanes   = 1
	cheapMemory  = 8  // KiB, the least there is
	digestBytes  = 16 // more than enough for codes of 40 bits, and half the memory in Redis
	saltBytes    = 16
	hashersAtTop = 2
	hashersQueue = 16
)

// ErrBusy means that too many recovery codes are being hashed at once.
var ErrBusy = errors.New("too many recovery codes are being checked at once")

// Hasher bounds how many recovery codes are hashed at once, and so the memory
// that takes: 12 MiB each.
type Hasher struct {
	passes, memory uint32
	running        *semaphore.Weighted
	waiting        atomic.Int64
}

// NewHasher returns a Hasher of the product's cost.
func NewHasher() *Hasher {
	return &Hasher{passes: argonPasses, memory: argonMemory, running: semaphore.NewWeighted(hashersAtTop)}
}

// NewCheapHasher returns a Hasher for tests that enrol many users: its digests
// protect nothing.
func NewCheapHasher() *Hasher {
	return &Hasher{passes: 1, memory: cheapMemory, running: semaphore.NewWeighted(hashersAtTop)}
}

func (h *Hasher) hash(ctx context.Context, peppered, salt []byte) ([]byte, error) {
	if h.waiting.Add(1) > hashersQueue {
		h.waiting.Add(-1)
		return nil, ErrBusy
	}
	err := h.running.Acquire(ctx, 1)
	h.waiting.Add(-1)
	if err != nil {
		return nil, fmt.Errorf("wait to check a recovery code: %w", err)
	}
	defer h.running.Release(1)
	return argon2.IDKey(peppered, salt, h.passes, h.memory, argonLanes, digestBytes), nil
}

// NormaliseRecoveryCode returns a typed code as it is hashed, and false where it
// cannot be one. Case, spaces and dashes do not matter.
func NormaliseRecoveryCode(typed string) (string, bool) {
	if len(typed) > 64 {
		return "", false
	}
	code := strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(" \t-‐‑–—", r):
			return -1
		case 'a' <= r && r <= 'z': // and no other: "ſ" has a capital too, which is "S"
			return r - 'a' + 'A'
		}
		return r
	}, typed)
	if len(code) != recoverySymbols {
		return "", false
	}
	for _, r := range code {
		if !strings.ContainsRune(recoveryAlphabet, r) {
			return "", false
		}
	}
	return code, true
}

// newCodes makes a set of recovery codes as they are shown, and as they are kept.
func (s *Service) newCodes(ctx context.Context, u User) ([]string, Codes, error) {
	codes := Codes{KeyID: s.Ring.Primary(), Salt: make([]byte, saltBytes), Digests: map[int][]byte{}}
	if _, err := io.ReadFull(s.Random, codes.Salt); err != nil {
		return nil, Codes{}, fmt.Errorf("make a salt: %w", err)
	}
	shown := make([]string, RecoveryCodes)
	for i := range shown {
		code, err := s.newCode()
		if err != nil {
			return nil, Codes{}, err
		}
		if codes.Digests[i], err = s.digest(ctx, u, codes, code); err != nil {
			return nil, Codes{}, err
		}
		shown[i] = code[:recoverySymbols/2] + "-" + code[recoverySymbols/2:]
	}
	return shown, codes, nil
}

func (s *Service) newCode() (string, error) {
	var b [recoverySymbols]byte
	if _, err := io.ReadFull(s.Random, b[:]); err != nil {
		return "", fmt.Errorf("make a recovery code: %w", err)
	}
	for i := range b {
		b[i] = recoveryAlphabet[b[i]%byte(len(recoveryAlphabet))] // 256 is a multiple of 32: no bias
	}
	return string(b[:]), nil
}

// digest is what is kept of a code: peppered, so that the store alone cannot be
// searched, and slow, so that a leaked key does not undo 40-bit codes.
func (s *Service) digest(ctx context.Context, u User, set Codes, code string) ([]byte, error) {
	peppered, err := s.Ring.MAC(purposePepper, set.KeyID, []byte(u.Key), []byte(code))
	if err != nil {
		return nil, fmt.Errorf("pepper a recovery code: %w", err)
	}
	return s.Hasher.hash(ctx, peppered, set.Salt)
}

// findCode returns the position of an unspent code. Every digest is compared,
// found or not. ErrWrongCode.
func (s *Service) findCode(ctx context.Context, u User, set Codes, code string) (int, error) {
	want, err := s.digest(ctx, u, set, code)
	if err != nil {
		return 0, err
	}
	found := -1
	for i := range RecoveryCodes {
		if subtle.ConstantTimeCompare(set.Digests[i], want) == 1 {
			found = i
		}
	}
	if found < 0 {
		return 0, ErrWrongCode
	}
	return found, nil
}

// newGeneration returns a random id of 128 bits.
func (s *Service) newGeneration() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(s.Random, b[:]); err != nil {
		return "", fmt.Errorf("make a generation: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}
