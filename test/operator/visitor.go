package operator

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/test/stack"
)

// Visitor is somebody with a browser who is signed in at the app.
type Visitor struct {
	*stack.Browser
	t       testing.TB
	c       *Cluster
	sidecar *Sidecar
	user    string
	phone   *stack.Phone
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
	return &Visitor{Browser: b, t: c.t, c: c, sidecar: sidecar, user: user}
}

// Enrol gives the person a phone.
func (p *Visitor) Enrol() {
	p.t.Helper()
	p.confirm(p.Submit(p.Visit(stack.Prefix), "/enable", nil))
}

// Ask asks for a QR code with a ticket.
func (p *Visitor) Ask(ticket string) *stack.Page {
	p.t.Helper()
	return p.Submit(p.Visit(stack.Prefix), "/enable", map[string]string{"ticket": ticket})
}

// EnrolWith is Enrol where it takes a ticket.
func (p *Visitor) EnrolWith(ticket string) {
	p.t.Helper()
	p.confirm(p.Ask(ticket))
}

func (p *Visitor) confirm(pending *stack.Page) {
	p.t.Helper()
	p.phone = stack.NewPhone(pending.Secret())
	p.c.Confide("a user's seed", pending.Secret())
	p.keep(p.Submit(pending, "/confirm", map[string]string{"code": p.phone.Code(p.t)}))
}

// NewCodes has the person make new recovery codes.
func (p *Visitor) NewCodes() {
	p.t.Helper()
	p.keep(p.Submit(p.Visit(stack.Prefix), "/recovery-codes", nil))
}

// keep takes note of the recovery codes on a page.
func (p *Visitor) keep(page *stack.Page) {
	p.t.Helper()
	codes := page.Codes()
	if page.Status != http.StatusOK || len(codes) == 0 {
		p.t.Fatalf("a page without recovery codes, %d:\n%s", page.Status, page.Body)
	}
	for _, c := range codes {
		p.c.Confide("a recovery code", c)
	}
}

// Again is the same person, with the same phone, who signs in anew at the app.
func (p *Visitor) Again() *Visitor {
	p.t.Helper()
	again := p.c.SignIn(p.sidecar, p.user)
	again.phone = p.phone
	return again
}

// Pass meets the challenge with a code.
func (p *Visitor) Pass() {
	p.t.Helper()
	answer := p.Submit(p.Visit("/my/profile"), "/challenge", map[string]string{"code": p.phone.Code(p.t)})
	if answer.Status != http.StatusSeeOther {
		p.t.Fatalf("the challenge answered %d:\n%s", answer.Status, answer.Body)
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
