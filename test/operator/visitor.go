package operator

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/sallyport/sallyport/test/stack"
)

// Visitor is somebody with a browser who is signed in at the app.
type Visitor struct {
	*stack.Browser
	t      testing.TB
	c      *Cluster
	secret string
}

// SignIn has a user sign in at the app, through its sidecar.
func (c *Cluster) SignIn(sidecar *Sidecar, user string) *Visitor {
	c.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	b := (&stack.Browser{Base: sidecar.URL, Client: &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}).For(c.t)
	if answer := b.SignIn(user, user+"-demo"); answer.Status != http.StatusSeeOther {
		c.t.Fatalf("the app answered %d to the sign-in of %s:\n%s", answer.Status, user, answer.Body)
	}
	return &Visitor{Browser: b, t: c.t, c: c}
}

// Enrol gives the person a phone.
func (p *Visitor) Enrol() {
	p.t.Helper()
	pending := p.Submit(p.Visit(stack.Prefix), "/enable", nil)
	p.secret = pending.Secret()
	p.c.Confide("a user's seed", p.secret)
	code, err := totp.GenerateCode(p.secret, time.Now())
	if err != nil {
		p.t.Fatalf("read the seed off the page: %v\n%s", err, pending.Body)
	}
	done := p.Submit(pending, "/confirm", map[string]string{"code": code})
	codes := done.Codes()
	if done.Status != http.StatusOK || len(codes) == 0 {
		p.t.Fatalf("enrolling answered %d:\n%s", done.Status, done.Body)
	}
	for _, c := range codes {
		p.c.Confide("a recovery code", c)
	}
}

// Lands says where a person is let: "app", "challenge", "enrol", or the status.
func (p *Visitor) Lands() string {
	p.t.Helper()
	answer := p.Get("/my/profile")
	switch {
	case answer.Status == http.StatusOK:
		return "app"
	case answer.Status == http.StatusSeeOther && strings.HasPrefix(answer.Location(), stack.Prefix+"/challenge"):
		return "challenge"
	case answer.Status == http.StatusSeeOther && strings.HasPrefix(answer.Location(), stack.Prefix):
		return "enrol"
	}
	return fmt.Sprint(answer.Status)
}

// AwaitLands waits until the person is let there.
func (p *Visitor) AwaitLands(want string) {
	p.t.Helper()
	Await(p.t, "the person is let to "+want, func(context.Context) error {
		if got := p.Lands(); got != want {
			return fmt.Errorf("they are let to %s", got)
		}
		return nil
	})
}
