package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/test/stack"
)

// visitor is somebody who is signed in at the portal.
type visitor struct {
	*stack.Browser
	name  string
	phone *stack.Phone
}

// signIn has a user sign in with the password, and no more.
func (p *portal) signIn(t *testing.T, user string) *visitor {
	t.Helper()
	v := &visitor{Browser: p.front.browser(t), name: user}
	if answer := v.SignIn(user, user+"-demo"); answer.Status != http.StatusSeeOther {
		t.Fatalf("the sign-in of %s was answered %d:\n%s", user, answer.Status, answer.Body)
	}
	return v
}

// enrolled has a user sign in and set up a second factor, which verifies the sign-in.
func (p *portal) enrolled(t *testing.T, user string) *visitor {
	t.Helper()
	v := p.signIn(t, user)
	pending := v.Submit(v.Visit(stack.Prefix), "/enable", nil)
	v.phone = stack.NewPhone(pending.Secret())
	if page := v.Submit(pending, "/confirm", map[string]string{"code": v.phone.Code(t)}); len(page.Codes()) == 0 {
		t.Fatalf("the enrolment of %s ended with %d:\n%s", user, page.Status, page.Body)
	}
	return v
}

// passes meets the challenge with a code.
func (v *visitor) passes(t *testing.T) {
	t.Helper()
	if answer := v.Submit(v.Visit("/my"), "/challenge", map[string]string{"code": v.phone.Code(t)}); answer.Status != http.StatusSeeOther {
		t.Fatalf("the challenge answered %d:\n%s", answer.Status, answer.Body)
	}
}

// outcome is where a request for a page of the app's ended.
type outcome string

const (
	opened      outcome = "opened"      // the app's page
	challenged  outcome = "challenged"  // asked for a code
	sentToEnrol outcome = "enrol"       // sent to set up a second factor
	signedOut   outcome = "signed out"  // sent to the app's sign-in
	unavailable outcome = "unavailable" // a clear 503
	lost        outcome = "lost"        // no answer of the product
)

// asks asks for a page that only signed-in people see, and says how that ended. What
// cannot be named is its own description.
func (v *visitor) asks(ctx context.Context) outcome {
	return ask(ctx, v.Client, v.Base+"/my", "")
}

// ask is asks with a Cookie header in place of a browser's cookies.
func ask(ctx context.Context, c *http.Client, url, cookie string) outcome {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return outcome(err.Error())
	}
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	answer, err := c.Do(r)
	if err != nil {
		return lost
	}
	_ = answer.Body.Close()
	switch at := answer.Header.Get("Location"); {
	case answer.StatusCode == http.StatusOK:
		return opened
	case answer.StatusCode == http.StatusServiceUnavailable:
		return unavailable
	case answer.StatusCode == http.StatusBadGateway:
		return lost
	case strings.HasPrefix(at, stack.Prefix+"/challenge"):
		return challenged
	case strings.HasPrefix(at, stack.Prefix):
		return sentToEnrol
	case strings.HasPrefix(at, "/login"):
		return signedOut
	default:
		return outcome(fmt.Sprintf("%d to %q", answer.StatusCode, at))
	}
}

// cookies are what the visitor's browser would send, as a header.
func (v *visitor) cookies(t *testing.T) string {
	t.Helper()
	r := v.Request(http.MethodGet, "/", nil)
	for _, c := range v.Client.Jar.Cookies(r.URL) {
		r.AddCookie(c)
	}
	return r.Header.Get("Cookie")
}
