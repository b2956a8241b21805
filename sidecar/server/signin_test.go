package server_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/sallyport/sallyport/test/stack"
)

// What a verification is bound to: the user and the sign-in.

func TestVerificationEndsWithTheSignIn(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	first := w.enrolled("alice")
	w.enrolled("bob")
	for _, tc := range []struct {
		name string
		do   func(p *person)
	}{
		{"signing out and in", func(p *person) { p.SignOut(); p.signIn() }},
		{"signing in again without signing out", func(p *person) { p.resignIn("alice") }},
		{"another user and back", func(p *person) { p.resignIn("bob"); p.resignIn("alice") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := first.again()
			p.verify()
			p.wantPasses(true, "before")
			token, session := p.Cookie("sallyport"), p.Cookie("session")
			tc.do(p)
			p.wantPasses(false, "after")

			// Neither half of the old pair is worth anything with the other's successor.
			for _, cookies := range []string{
				"session=" + session + "; sallyport=" + token,
				"session=" + p.Cookie("session") + "; sallyport=" + token,
			} {
				if reaches(w, cookies) {
					t.Errorf("an old verification opens a sign-in that is not its own")
				}
			}
		})
	}
}

// resignIn signs in at the app from a browser that is signed in, as another tab
// with an old sign-in form does.
func (p *person) resignIn(name string) {
	p.w.t.Helper()
	answer := p.Post("/login", url.Values{"username": {name}, "password": {name + "-demo"}})
	if answer.Status != http.StatusSeeOther {
		p.w.t.Fatalf("signing in again answered %d", answer.Status)
	}
	if answer.Location() != "/my" {
		// The door asks for a code first. The app's own way in is through its sign-out.
		p.SignOut()
		answer = p.Post("/login", url.Values{"username": {name}, "password": {name + "-demo"}})
		wantLocation(p.w.t, answer, "/my")
	}
}

// reaches reports whether a request with these cookies reaches the office as a user.
func reaches(w *world, cookies string) bool {
	w.t.Helper()
	b := w.NewBrowser()
	r := b.Request(http.MethodGet, "/canary", nil)
	r.Header.Set("Cookie", cookies)
	w.office.requests()
	b.Do(r)
	for _, request := range w.office.requests() {
		if request.Target == "/canary" && request.User != "" {
			return true
		}
	}
	return false
}

func TestAnotherUserOfTheSameBrowserIsNotVerified(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice, bob := w.enrolled("alice"), w.enrolled("bob")
	alice.wantPasses(true, "before")

	shared := &person{Browser: alice.Browser, w: w, name: "bob", secret: bob.secret}
	shared.resignIn("bob")
	shared.wantPasses(false, "bob at the browser that alice verified")
	shared.verify()
	shared.wantPasses(true, "bob with his own code")

	// An unenrolled user is nobody's second factor either way.
	carol := &person{Browser: alice.Browser, w: w, name: "carol"}
	carol.resignIn("carol")
	carol.wantPasses(true, "a user without two-factor")
	if carol.status().Verified {
		t.Error("a user without two-factor counts as verified")
	}
}

func TestSignInAsADifferentUser(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.enrolled("alice").again()
	session := alice.Cookie("session")
	cancelled := alice.Submit(alice.Visit("/my"), "/cancel", nil)
	wantLocation(t, cancelled, "/login")
	if alice.Cookie("session") != "" || alice.Cookie("sallyport") != "" {
		t.Error("cancelling left a cookie")
	}
	login := alice.Get("/login")
	wantStatus(t, login, http.StatusOK)
	login.Form("/login")

	// The session is over at the app, and not only forgotten by the browser.
	direct := w.NewBrowser()
	direct.Base = w.AppURL
	r := direct.Request(http.MethodGet, "/api/me", nil)
	r.Header.Set("Cookie", "session="+session)
	wantStatus(t, direct.Do(r), http.StatusUnauthorized)
}

func TestSignInAsADifferentUserWhereTheAppRefusesTheSignOut(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice").again()
	page := alice.Visit("/my")
	w.office.behave(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/logout" {
			rw.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	})
	wantLocation(t, alice.Submit(page, "/cancel", nil), "/login")
	if alice.Cookie("session") != "" {
		t.Error("the person stays signed in")
	}
}

// The verification ends with it, whatever becomes of the app's session: somebody who
// kept both cookies has a session without a second factor.
func TestSignInAsADifferentUserEndsTheVerification(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	w.office.behave(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/logout" {
			rw.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	})
	w.clock.Advance(15 * time.Minute) // from here on the challenge can be had once more
	kept := "session=" + alice.Cookie("session") + "; sallyport=" + alice.Cookie("sallyport")
	if !reaches(w, kept) {
		t.Fatal("the kept cookies verified nothing before")
	}
	wantLocation(t, alice.Submit(alice.Get(prefix+"/challenge"), "/cancel", nil), "/login")
	if reaches(w, kept) {
		t.Error("the kept cookies are still verified")
	}
}

func TestOwnPagesWithoutASignIn(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	for _, tc := range []struct{ name, path, back string }{
		{"the card", prefix, prefix},
		{"the challenge", prefix + "/challenge?return_to=%2Fmy", prefix},
		{"the status", prefix + "/status", prefix},
		{"a form's address", prefix + "/confirm", prefix},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := w.visitor("dora")
			answer := p.Get(tc.path)
			wantLocation(t, answer, "/login")
			wantUncached(t, answer)
			p.signIn()
			wantLocation(t, p.Get("/my"), tc.back)
			wantStatus(t, p.Get("/my"), http.StatusOK) // once
		})
	}

	t.Run("a script is told", func(t *testing.T) {
		wantProblem(t, w.visitor("dora").Fetch(http.MethodGet, prefix+"/status", nil), problem{
			Type: "about:blank", Title: "Sign in first", Status: http.StatusUnauthorized, Code: "sign_in_required",
			Detail: "This address is for people who are signed in to the workspace.", Location: "/login",
		})
	})
	t.Run("a form of an ended session changes nothing and starts over", func(t *testing.T) {
		p := w.signedIn("emil")
		card := p.Get(prefix)
		p.SignOut()
		wantLocation(t, p.Submit(card, "/enable", nil), "/login")
		if p.signIn(); p.status().State != "not-configured" {
			t.Error("a form without a sign-in minted a secret")
		}
	})
	t.Run("assets are for anyone", func(t *testing.T) {
		p := w.visitor("dora")
		style := p.pageOf("alice").Doc.Find(`link[rel="stylesheet"]`).AttrOr("href", "")
		asset := p.Get(style)
		wantStatus(t, asset, http.StatusOK)
		if got := asset.Header.Get("Cache-Control"); got != "public, max-age=31536000, immutable" {
			t.Errorf("Cache-Control of %s: %q", style, got)
		}
	})
}

// pageOf is the card of somebody who is signed in.
func (p *person) pageOf(name string) *stack.Page {
	p.w.t.Helper()
	return p.w.signedIn(name).Get(prefix)
}

// Where the user came for, the sign-in in between and the challenge after it.
func TestDeepLinkSurvivesSignInAndChallenge(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: stack.Policy{Spec: map[string]any{"anonymous": "Deny"}}})
	alice := w.enrolled("alice")
	p := w.visitor("alice")
	p.secret = alice.secret
	wantLocation(t, p.Get("/reports?year=2026&x=%2F"), "/login")
	answer := p.signIn()
	challenge := p.Get(answer.Location())
	wantLocation(t, challenge, prefix+"/challenge?"+url.Values{"return_to": {"/reports?year=2026&x=%2F"}}.Encode())
	verified := p.Submit(p.Follow(challenge), "/challenge", map[string]string{"code": p.code()})
	wantLocation(t, verified, "/reports?year=2026&x=%2F")
	wantStatus(t, p.Follow(verified), http.StatusOK)
}
