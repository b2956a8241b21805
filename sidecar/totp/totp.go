// Package totp is the second factor's algorithm: time-based one-time codes of
// RFC 6238 with SHA-1, six digits and 30 seconds, which is what every
// authenticator app understands.
//
// It tells WHICH time step a code belongs to. Callers spend the step and not the
// text of the code, so no other spelling of a code is a second code.
//
// It may import the HOTP package of pquerna/otp and the standard library. It
// must never read a clock, keep state, or put a secret or a code into an error.
package totp

import (
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
)

const (
	// Digits of a code.
	Digits = 6
	// Period is the length of a time step.
	Period = 30 * time.Second
	// SecretBytes is the length of a secret: 160 bits (RFC 4226 section 4, R6).
	SecretBytes = 20

	// minSecret is the shortest secret that a code is checked against: 128 bits.
	minSecret = 16
	// window is how many steps before and after the present one are accepted.
	window = 1
	// group is how many characters of a secret are shown together.
	group = 4
)

// NewSecret returns a new secret.
func NewSecret(random io.Reader) ([]byte, error) {
	secret := make([]byte, SecretBytes)
	if _, err := io.ReadFull(random, secret); err != nil {
		return nil, fmt.Errorf("make a secret: %w", err)
	}
	return secret, nil
}

// Normalise returns a typed code without its ASCII spaces, and whether the rest
// is exactly six ASCII digits. Apps show codes as "123 456" and people type what
// they see; nothing else is forgiven.
func Normalise(code string) (string, bool) {
	if len(code) > 4*Digits {
		return "", false
	}
	code = strings.ReplaceAll(code, " ", "")
	if len(code) != Digits {
		return "", false
	}
	for i := range len(code) {
		if code[i] < '0' || code[i] > '9' {
			return "", false
		}
	}
	return code, true
}

// Step returns the time step of a moment.
func Step(now time.Time) int64 { return now.Unix() / int64(Period/time.Second) }

// Match reports whether the code is right for the step of now, the one before or
// the one after, and returns the latest such step. All three are computed and
// compared in constant time whatever the code is.
func Match(secret []byte, code string, now time.Time) (step int64, ok bool) {
	code, wellFormed := Normalise(code)
	if len(secret) < minSecret {
		return 0, false
	}
	encoded := Encode(secret)
	present := Step(now)
	found := 0
	for candidate := max(present-window, 0); candidate <= present+window; candidate++ {
		want, err := hotp.GenerateCodeCustom(encoded, uint64(candidate), hotp.ValidateOpts{
			Digits:    otp.DigitsSix,
			Algorithm: otp.AlgorithmSHA1,
		})
		if err != nil {
			return 0, false
		}
		equal := subtle.ConstantTimeCompare([]byte(want), []byte(code))
		step = int64(subtle.ConstantTimeSelect(equal, int(candidate), int(step)))
		found |= equal
	}
	if !wellFormed || found == 0 {
		return 0, false
	}
	return step, true
}

// Encode returns the secret in base32 without padding, as apps take it.
func Encode(secret []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
}

// Grouped returns Encode in groups of four, for people to type.
func Grouped(secret []byte) string {
	encoded := Encode(secret)
	var b strings.Builder
	for i := 0; i < len(encoded); i += group {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(encoded[i:min(i+group, len(encoded))])
	}
	return b.String()
}

// URI returns the otpauth key URI of a secret, for a QR code. Apps split the
// label at its first colon and show both halves to people, so colons, control
// and invisible formatting characters are taken out of issuer and account.
func URI(issuer, account string, secret []byte) string {
	issuer, account = labelPart(issuer), labelPart(account)
	var label []string
	for _, part := range []string{issuer, account} {
		if part != "" {
			label = append(label, escape(part))
		}
	}
	uri := "otpauth://totp/" + strings.Join(label, ":") + "?secret=" + Encode(secret)
	if issuer != "" {
		uri += "&issuer=" + escape(issuer)
	}
	// The defaults are spelt out: some apps guess where they are missing.
	return uri + "&algorithm=SHA1&digits=6&period=30"
}

func labelPart(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == ':' || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, s))
}

// escape percent-encodes everything but unreserved characters. Some apps do not
// read + as a space, and some do where it is meant literally.
func escape(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}
