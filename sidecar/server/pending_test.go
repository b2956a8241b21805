package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/test/stack"
)

func TestPendingSecretIsDiscarded(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	for _, tc := range []struct {
		name string
		do   func(p *person)
		want int
	}{
		{"by a reload of the page", func(p *person) { p.Get(prefix) }, http.StatusConflict},
		{"by coming back to the page with a query", func(p *person) { p.Get(prefix + "?return_to=%2Fmy") }, http.StatusConflict},
		{"not by HEAD", func(p *person) {
			wantStatus(p.w.t, p.Do(p.Request(http.MethodHead, prefix, nil)), http.StatusOK)
		}, http.StatusOK},
		{"not by the status document", func(p *person) { p.status() }, http.StatusOK},
		{"not by other pages", func(p *person) { p.Get("/my") }, http.StatusOK},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := w.signedIn("user-" + tc.name)
			pending := p.Submit(p.Get(prefix), "/enable", nil)
			p.secret = pending.Secret()
			tc.do(p)
			done := p.Submit(pending, "/confirm", map[string]string{"code": p.code()})
			wantStatus(t, done, tc.want)
			if tc.want == http.StatusConflict {
				wantText(t, done, "error", noPending)
				wantCard(t, done, "not-configured", "Not configured")
			}
		})
	}
}

func TestNewSecretReplacesThePendingOne(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	p := w.signedIn("alice")
	card := p.Get(prefix)
	first := p.Submit(card, "/enable", nil)
	second := p.Submit(card, "/enable", nil)
	if first.Secret() == second.Secret() {
		t.Fatal("the second secret is the first")
	}
	p.secret = first.Secret()
	wantStatus(t, p.Submit(second, "/confirm", map[string]string{"code": p.code()}), http.StatusUnprocessableEntity)
	p.secret = second.Secret()
	wantStatus(t, p.Submit(second, "/confirm", map[string]string{"code": p.code()}), http.StatusOK)
}

func TestPendingSecretEndsWithAge(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	p := w.signedIn("alice")
	pending := p.Submit(p.Get(prefix), "/enable", nil)
	p.secret = pending.Secret()
	w.Redis.FastForward(10*time.Minute - time.Second)
	wantStatus(t, p.Submit(pending, "/confirm", map[string]string{"code": p.wrongCode()}), http.StatusUnprocessableEntity)
	w.Redis.FastForward(2 * time.Second)
	late := p.Submit(pending, "/confirm", map[string]string{"code": p.code()})
	wantStatus(t, late, http.StatusConflict)
	wantText(t, late, "error", noPending)
}

// A pending secret belongs to one browser and one sign-in.
func TestPendingSecretOfAnotherSignInDoesNotConfirm(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	one, two := w.signedIn("alice"), w.signedIn("alice")
	first, second := one.Submit(one.Get(prefix), "/enable", nil), two.Submit(two.Get(prefix), "/enable", nil)
	one.secret, two.secret = first.Secret(), second.Secret()

	wantStatus(t, one.Submit(first, "/confirm", map[string]string{"code": two.code()}), http.StatusUnprocessableEntity)

	// The same browser after a sign-out and a new sign-in: the old page is dead.
	two.SignOut()
	two.signIn()
	late := two.Submit(second, "/confirm", map[string]string{"code": two.code()})
	if late.Status == http.StatusOK || two.status().State != "not-configured" {
		t.Errorf("the secret of an ended sign-in was confirmed: %d", late.Status)
	}

	wantStatus(t, one.Submit(first, "/confirm", map[string]string{"code": one.code()}), http.StatusOK)
}

// A pending secret of Alice's does not become Bob's where Bob signs in at the
// same browser.
func TestPendingSecretOfAnotherUserDoesNotConfirm(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.signedIn("alice")
	pending := alice.Submit(alice.Get(prefix), "/enable", nil)
	alice.secret = pending.Secret()
	bob := &person{Browser: alice.Browser, w: w, name: "bob", secret: alice.secret}
	bob.signIn()
	done := bob.Submit(pending, "/confirm", map[string]string{"code": bob.code()})
	if done.Status == http.StatusOK || bob.status().State != "not-configured" {
		t.Errorf("bob enrolled with the secret that alice was shown: %d", done.Status)
	}
}

// Now and then one of them comes so late that it is not at once, and proves nothing.
func TestTwoBrowsersConfirmingAtOnceEnrolOnce(t *testing.T) {
	t.Parallel()
	for attempt := range 8 {
		t.Run(fmt.Sprint("attempt ", attempt), twoConfirmAtOnce)
	}
}

func twoConfirmAtOnce(t *testing.T) {
	w := startOffice(t, stack.Options{})
	people := []*person{w.signedIn("alice"), w.signedIn("alice")}
	pages := make([]*stack.Page, len(people))
	for i, p := range people {
		pages[i] = p.Submit(p.Get(prefix), "/enable", nil)
		p.secret = pages[i].Secret()
	}
	answers := make([]*stack.Page, len(people))
	var both sync.WaitGroup
	for i, p := range people {
		code := p.code()
		both.Go(func() { answers[i] = p.Submit(pages[i], "/confirm", map[string]string{"code": code}) })
	}
	both.Wait()
	winners := 0
	for i, p := range people {
		if answers[i].Status == http.StatusOK {
			winners++
			p.wantPasses(true, "the winner")
			continue
		}
		if len(answers[i].Codes()) > 0 {
			t.Error("the loser was shown recovery codes")
		}
		p.wantPasses(false, "the loser")
	}
	if winners != 1 {
		t.Errorf("%d browsers enrolled", winners)
	}
}

func TestEnrolledUserCannotEnrolAgain(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice, two, three := w.signedIn("alice"), w.signedIn("alice"), w.signedIn("alice")
	stale, blank := alice.Get(prefix), two.Get(prefix)
	pending := three.Submit(three.Get(prefix), "/enable", nil)
	three.secret = pending.Secret()
	alice.enrol()

	wantStatus(t, alice.Submit(stale, "/enable", nil), http.StatusForbidden)
	challenge := prefix + "/challenge?return_to=" + url.QueryEscape(prefix)
	wantLocation(t, two.Submit(blank, "/enable", nil), challenge)
	wantLocation(t, three.Submit(pending, "/confirm", map[string]string{"code": three.code()}), challenge)

	for _, p := range []*person{two, three} {
		p.wantPasses(false, "a browser that came late")
	}
	later := alice.again()
	later.verify()
	later.wantPasses(true, "the phone that was enrolled first still counts")
}
