// Package session knows verified sign-ins: the token a browser holds, the
// record the store holds for it, and how long and for whom that record counts.
//
// A record counts only if its MAC is right, it was made for this user and this
// token, it belongs to the user's present enrolment, the app's sign-in is the one
// it was earned in, and it is neither too old nor idle. Anything else is no
// verification; there is no partial one.
//
// It may import sidecar/seal. It must never see a store, a request or a cookie
// header, and must never return or log a token's stored form with the token.
package session

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/sallyport/sallyport/sidecar/seal"
)

// TokenBytes is the entropy of a token: 256 bits.
const TokenBytes = 32

// maxBindings bounds how many values of a rolling app session cookie one
// sign-in remembers; requests in flight still carry recent ones.
const maxBindings = 8

// ErrForged means that a stored record was not written by a holder of the keys,
// or was written for another user or token.
var ErrForged = errors.New("the stored sign-in is not authentic")

// Method says how a sign-in was verified.
type Method string

// The ways a sign-in is verified.
const (
	MethodTOTP     Method = "totp"
	MethodRecovery Method = "recovery"
)

// SignIn is a verified sign-in. Once it is known to more than its maker it is never
// changed, for requests share it: Used and Follow make another of it.
type SignIn struct {
	// Generation of the enrolment that it was earned with.
	Generation string `json:"g"`
	// Method that earned it.
	Method Method `json:"m"`
	// VerifiedAt is when a code was last accepted, in UTC to the second.
	VerifiedAt time.Time `json:"v"`
	// LastSeen is when it was last used, to the minute.
	LastSeen time.Time `json:"l"`
	// Bindings name the app's sign-in, newest last; empty where the identity
	// source has no stable id of a sign-in.
	Bindings []string `json:"b,omitempty"`
}

// Limits say how long a verification counts.
type Limits struct {
	// MaxAge after VerifiedAt.
	MaxAge time.Duration
	// Idle after LastSeen; 0 switches it off.
	Idle time.Duration
}

// Counts reports whether the sign-in verifies a request now: for this
// generation of the enrolment and this binding.
func (s *SignIn) Counts(now time.Time, limits Limits, generation, binding string) bool {
	switch {
	case s.Generation == "" || s.Generation != generation:
		return false
	case now.Sub(s.VerifiedAt) >= limits.MaxAge:
		return false
	case limits.Idle > 0 && now.Sub(s.LastSeen) >= limits.Idle:
		return false
	case binding == "":
		return len(s.Bindings) == 0
	}
	return slices.Contains(s.Bindings, binding)
}

// Fresh reports whether a code was accepted within the given time.
func (s *SignIn) Fresh(now time.Time, within time.Duration) bool {
	return now.Sub(s.VerifiedAt) < within
}

// Used returns the sign-in as it is once it was used now.
func (s *SignIn) Used(now time.Time) *SignIn {
	next := *s
	next.LastSeen = now
	return &next
}

// Follow returns the sign-in with the binding that the app's rolled over to.
func (s *SignIn) Follow(binding string) *SignIn {
	next := *s
	// Not append, which may write behind the bindings that are shared.
	next.Bindings = slices.Concat(s.Bindings, []string{binding})
	if extra := len(next.Bindings) - maxBindings; extra > 0 {
		next.Bindings = next.Bindings[extra:]
	}
	return &next
}

// TTL is how long the store must keep the sign-in.
func (s *SignIn) TTL(now time.Time, limits Limits) time.Duration {
	ttl := s.VerifiedAt.Add(limits.MaxAge).Sub(now)
	if limits.Idle > 0 {
		ttl = min(ttl, s.LastSeen.Add(limits.Idle).Sub(now))
	}
	return max(ttl, time.Second)
}

// Keeper makes tokens and turns sign-ins into authentic records and back.
type Keeper struct {
	ring   *seal.Ring
	random io.Reader
}

// NewKeeper returns a Keeper that uses the ring's keys.
func NewKeeper(ring *seal.Ring, random io.Reader) *Keeper {
	return &Keeper{ring: ring, random: random}
}

// NewToken returns a token for a browser.
func (k *Keeper) NewToken() (string, error) {
	var b [TokenBytes]byte
	if _, err := io.ReadFull(k.random, b[:]); err != nil {
		return "", fmt.Errorf("make a token: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// WellFormed reports whether s has the exact form of a token.
func WellFormed(s string) bool {
	if len(s) != base64.RawURLEncoding.EncodedLen(TokenBytes) {
		return false
	}
	var b [TokenBytes]byte
	n, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(s))
	return err == nil && n == TokenBytes
}

// Key names the record of a token in the store.
func (k *Keeper) Key(token string) string { return k.ring.Name("sign-in", token) }

// Binding names the app's sign-in, "" where the source has no stable id of it.
func (k *Keeper) Binding(user, signIn string) string {
	if signIn == "" {
		return ""
	}
	return k.ring.Name("binding", user, signIn)
}

// Browser names one browser session of one of the user's sign-ins.
func (k *Keeper) Browser(token, binding string) string {
	return k.ring.Name("browser", token, binding)
}

// FormToken is what a form for the action must carry when the browser holds the
// token (OWASP: signed double-submit bound to the session).
func (k *Keeper) FormToken(token, action string) string {
	return k.ring.Name("form", token, action)
}

const macPurpose = "sign-in"

// record is the stored form: key version, MAC over everything, payload.
type record struct {
	KeyID   uint32          `json:"k"`
	MAC     []byte          `json:"a"`
	Payload json.RawMessage `json:"p"`
}

// Encode returns the authentic record of the user's sign-in under key.
func (k *Keeper) Encode(user, key string, s SignIn) ([]byte, error) {
	s.VerifiedAt = s.VerifiedAt.UTC().Truncate(time.Second)
	s.LastSeen = s.LastSeen.UTC().Truncate(time.Second)
	payload, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode a sign-in: %w", err)
	}
	kid := k.ring.Primary()
	mac, err := k.ring.MAC(macPurpose, kid, []byte(user), []byte(key), payload)
	if err != nil {
		return nil, fmt.Errorf("authenticate a sign-in: %w", err)
	}
	return json.Marshal(record{KeyID: kid, MAC: mac, Payload: payload})
}

// Decode returns the sign-in of an authentic record. ErrForged otherwise.
func (k *Keeper) Decode(user, key string, value []byte) (*SignIn, error) {
	var r record
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, ErrForged
	}
	if err := k.ring.Verify(macPurpose, r.KeyID, r.MAC, []byte(user), []byte(key), r.Payload); err != nil {
		return nil, ErrForged
	}
	var s SignIn
	if err := json.Unmarshal(r.Payload, &s); err != nil {
		return nil, ErrForged
	}
	return &s, nil
}
