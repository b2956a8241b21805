package stack

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/sallyport/sallyport/test/await"
)

// Phone is an authenticator app with one account. It shows no code twice, whichever of
// the person's windows asks for one.
type Phone struct {
	secret string
	spent  time.Time // the step of the last code
}

// NewPhone is one that has taken over a secret.
func NewPhone(secret string) *Phone { return &Phone{secret: secret} }

// Code is one that was not used yet. One of the next step is accepted too; before that
// the phone has none.
func (p *Phone) Code(t testing.TB) string {
	t.Helper()
	const step = 30 * time.Second
	next := time.Now().Truncate(step)
	if !next.After(p.spent) {
		next = p.spent.Add(step)
	}
	await.Until(t, time.Minute, "the phone shows a new code", func(context.Context) error {
		if wait := time.Until(next); wait > step-time.Second {
			return fmt.Errorf("in %s", wait)
		}
		return nil
	})
	code, err := totp.GenerateCode(p.secret, next)
	if err != nil {
		t.Fatalf("read the phone: %v", err)
	}
	p.spent = next
	return code
}
