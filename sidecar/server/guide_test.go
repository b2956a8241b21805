package server_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/test/stack"
)

// The user's guide, read from its first step to its last by a browser without
// JavaScript, at the demo app.

func TestEnrolment(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.signedIn("alice")

	card := alice.Get(prefix)
	wantStatus(t, card, http.StatusOK)
	wantCard(t, card, "not-configured", "Not configured")
	if title := card.Doc.Find("title").Text(); !strings.Contains(title, "Two-factor authentication") {
		t.Errorf("the title is %q", title)
	}
	wantButtons(t, card, "Enable two-factor")
	if got := alice.status(); got != (status{State: "not-configured"}) {
		t.Errorf("before: %+v", got)
	}

	pending := alice.Submit(card, "/enable", nil)
	wantStatus(t, pending, http.StatusOK)
	wantCard(t, pending, "pending", "Pending confirmation")
	wantButtons(t, pending, "Copy", "Confirm and enable")
	alice.secret = pending.Secret()
	if !regexp.MustCompile(`^[A-Z2-7]{32}$`).MatchString(alice.secret) {
		t.Errorf("the secret %q is not 160 bits of base32", alice.secret)
	}
	qr := qrOf(pending)
	if !strings.HasPrefix(qr, "data:image/png;base64,") {
		t.Errorf("the QR code is %.40q", qr)
	}
	if got := alice.status(); got != (status{State: "pending"}) {
		t.Errorf("pending: %+v", got)
	}
	alice.wantPasses(true, "a pending enrolment blocks nothing")
	w.signedIn("alice").wantPasses(true, "a pending enrolment protects nothing")

	wrong := alice.Submit(pending, "/confirm", map[string]string{"code": alice.wrongCode()})
	wantStatus(t, wrong, http.StatusUnprocessableEntity)
	wantCard(t, wrong, "pending", "Pending confirmation")
	wantText(t, wrong, "error", "That code did not match. Wait for the next code your app generates and enter it.")
	if wrong.Secret() != alice.secret || qrOf(wrong) != qr {
		t.Error("a wrong code changed the secret or its QR code")
	}

	before := w.clock.Now().Truncate(time.Second)
	done := alice.Submit(wrong, "/confirm", map[string]string{"code": alice.code()})
	wantStatus(t, done, http.StatusOK)
	wantCard(t, done, "enabled", "Enabled")
	wantText(t, done, "notice", confirmed)
	alice.codes = done.Codes()
	wantCodes(t, done)
	wantButtons(t, done, "Copy all codes", "Regenerate recovery codes", "Disable two-factor")
	alice.wantPasses(true, "confirming verifies this sign-in")

	got := alice.status()
	if got.ConfirmedAt == nil || got.ConfirmedAt.Before(before) || got.ConfirmedAt.After(w.clock.Now()) {
		t.Errorf("confirmed at %v", got.ConfirmedAt)
	}
	got.ConfirmedAt = nil
	if want := (status{State: "enabled", RecoveryCodesRemaining: 8, Verified: true}); got != want {
		t.Errorf("after: %+v", got)
	}
	wantShownOnce(t, alice)
}

// wantShownOnce proves that neither codes nor secret can be had a second time.
func wantShownOnce(t *testing.T, p *person) {
	t.Helper()
	for _, path := range []string{"", "/status", "/challenge", "/enable", "/confirm", "/recovery-codes", "/disable"} {
		body := p.Visit(prefix + path).Body
		for _, secret := range append(p.codes, p.secret, p.secret[:4]+" "+p.secret[4:8]) {
			if strings.Contains(body, secret) {
				t.Errorf("GET %s shows a secret again", path)
			}
		}
	}
}

func TestSignInWithTwoFactor(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.visitor("alice")
	alice.signIn()
	done := alice.Submit(alice.Get(prefix), "/enable", nil)
	alice.secret = done.Secret()
	enrolCode := alice.code()
	done = alice.Submit(done, "/confirm", map[string]string{"code": enrolCode})
	alice.codes = done.Codes()

	alice.SignOut()
	// The app itself keeps the deep link over its sign-in; the door, over the challenge.
	login := alice.Visit("/my/documents?sort=name&dir=up")
	entered := alice.Submit(login, "/login", map[string]string{"username": "alice", "password": "alice-demo"})
	wantLocation(t, entered, "/my/documents?sort=name&dir=up")
	challenge := alice.Get(entered.Location())
	wantLocation(t, challenge, prefix+"/challenge?"+url.Values{"return_to": {"/my/documents?sort=name&dir=up"}}.Encode())
	challenge = alice.Follow(challenge)
	wantStatus(t, challenge, http.StatusOK)
	wantChallenge(t, challenge)
	if got := alice.status(); got.State != "enabled" || got.Verified || got.ConfirmedAt == nil || got.RecoveryCodesRemaining != 8 {
		t.Errorf("before the challenge: %+v", got)
	}

	replayed := alice.Submit(challenge, "/challenge", map[string]string{"code": enrolCode})
	wantStatus(t, replayed, http.StatusUnprocessableEntity)
	wantChallenge(t, replayed)
	wantText(t, replayed, "error", "That code did not match. Wait for the next code your app generates and enter it.")

	verified := alice.Submit(replayed, "/challenge", map[string]string{"code": alice.code()})
	wantLocation(t, verified, "/my/documents?sort=name&dir=up")
	wantStatus(t, alice.Follow(verified), http.StatusOK)
	wantLocation(t, alice.Get(prefix+"/challenge?return_to=/admin"), "/admin")
}

func TestOneCodeOfTheWindowIsAcceptedOnce(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	w.clock.Advance(10 * step)
	// All of the table happens within one step of the clock.
	now := w.clock.Now()
	w.clock.Advance(now.Truncate(step).Add(step).Sub(now))
	now = w.clock.Now()
	for _, tc := range []struct {
		name  string
		steps int
		want  int
	}{
		{"two steps old", -2, http.StatusUnprocessableEntity},
		{"two steps ahead", 2, http.StatusUnprocessableEntity},
		{"one step old", -1, http.StatusSeeOther},
		{"the same once more", -1, http.StatusUnprocessableEntity},
		{"one step ahead", 1, http.StatusSeeOther},
		{"the current one, older than the last accepted", 0, http.StatusUnprocessableEntity},
	} {
		p := alice.again()
		code := codeAt(t, alice.secret, now.Add(time.Duration(tc.steps)*step))
		got := p.Submit(p.Get(prefix+"/challenge"), "/challenge", map[string]string{"code": code})
		if got.Status != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got.Status, tc.want)
		}
	}
}

func TestRecoveryCodeSignsInOnce(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.enrolled("alice")

	lost := alice.again()
	challenge := lost.Visit("/my/live")
	typed := strings.ToLower(strings.ReplaceAll(alice.codes[3], "-", " "))
	wantLocation(t, lost.Submit(challenge, "/challenge", map[string]string{"recovery_code": typed}), "/my/live")
	lost.wantPasses(true, "a recovery code verifies")
	if left := lost.status().RecoveryCodesRemaining; left != 7 {
		t.Errorf("%d recovery codes are left", left)
	}

	twice := alice.again()
	again := twice.Submit(twice.Visit("/my"), "/challenge", map[string]string{"recovery_code": alice.codes[3]})
	wantStatus(t, again, http.StatusUnprocessableEntity)
	wantText(t, again, "error", "That code did not match. Check it against your saved list: each recovery code works once.")
	twice.wantPasses(false, "a spent code opens nothing")
	if _, open := again.Doc.Find("details").Attr("open"); !open {
		t.Error("the recovery form is folded after a wrong recovery code")
	}
}

func TestRegenerateRecoveryCodes(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.enrolled("alice")
	phone := alice.again()
	phone.verify()
	phone.wantPasses(true, "before")

	card := alice.Get(prefix)
	prompt, _ := card.Doc.Find(`form[action$="/recovery-codes"]`).Attr("data-confirm")
	if want := "Generate new recovery codes? Old codes will stop working immediately."; prompt != want {
		t.Errorf("the prompt is %q", prompt)
	}
	fresh := alice.Submit(card, "/recovery-codes", nil)
	wantStatus(t, fresh, http.StatusOK)
	wantCodes(t, fresh)
	if cmp.Equal(fresh.Codes(), alice.codes) {
		t.Error("regenerating shows the old codes")
	}
	alice.wantPasses(true, "regenerating keeps this sign-in verified")
	phone.wantPasses(false, "regenerating ends other verifications")

	old := phone.Submit(phone.Visit("/my"), "/challenge", map[string]string{"recovery_code": alice.codes[0]})
	wantStatus(t, old, http.StatusUnprocessableEntity)
	alice.codes = fresh.Codes()
	found := phone.Submit(phone.Visit("/my"), "/challenge", map[string]string{"recovery_code": alice.codes[0]})
	wantLocation(t, found, "/my")
}

func TestDisableTwoFactor(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.enrolled("alice")
	other := alice.again()
	other.verify()

	wrong := alice.Submit(alice.Get(prefix), "/disable", map[string]string{"password": "alice-dem0"})
	wantStatus(t, wrong, http.StatusUnprocessableEntity)
	wantCard(t, wrong, "enabled", "Enabled")
	wantText(t, wrong, "error", wrongSecret)
	alice.again().wantPasses(false, "after a wrong password")

	session := alice.Cookie("session")
	off := alice.Submit(wrong, "/disable", map[string]string{"password": "alice-demo"})
	wantStatus(t, off, http.StatusOK)
	wantCard(t, off, "not-configured", "Not configured")
	if off.Text("notice") == "" {
		t.Error("disabling is not confirmed")
	}
	if alice.Cookie("session") != session {
		t.Error("the password check changed the browser's own session")
	}
	alice.again().wantPasses(true, "once it is off")
	if got := other.status(); got != (status{State: "not-configured"}) {
		t.Errorf("elsewhere: %+v", got)
	}

	// Enrolling anew neither revives old verifications nor takes old codes.
	codes := alice.codes
	alice.enrol()
	other.wantPasses(false, "after enrolling anew")
	old := other.Submit(other.Visit("/my"), "/challenge", map[string]string{"recovery_code": codes[0]})
	wantStatus(t, old, http.StatusUnprocessableEntity)
}

func wantCard(t *testing.T, p *stack.Page, state, badge string) {
	t.Helper()
	if got := p.State(); got != state {
		t.Errorf("%s (%d): the card's state is %q, want %q", p.URL, p.Status, got, state)
	}
	wantText(t, p, "state-badge", badge)
	if heading := p.Doc.Find("#card-heading").Text(); heading != "Authenticator app (TOTP)" {
		t.Errorf("the card's heading is %q", heading)
	}
}

func wantChallenge(t *testing.T, p *stack.Page) {
	t.Helper()
	card := p.Doc.Find(`[data-testid="challenge-card"]`)
	for _, text := range []string{
		"Two-factor verification", "Password accepted. Enter your code to continue.",
		"Lost your phone? Use a recovery code",
	} {
		if !strings.Contains(card.Text(), text) {
			t.Errorf("the challenge does not say %q", text)
		}
	}
	wantButtons(t, p, "Verify and sign in", "Use recovery code", "Sign in as a different user")
}

func wantButtons(t *testing.T, p *stack.Page, texts ...string) {
	t.Helper()
	for _, text := range texts {
		found := false
		for _, b := range p.Doc.Find("button").EachIter() {
			found = found || strings.TrimSpace(b.Text()) == text
		}
		if !found {
			t.Errorf("%s has no button %q", p.URL, text)
		}
	}
}

func wantCodes(t *testing.T, p *stack.Page) {
	t.Helper()
	if !strings.Contains(p.Text("recovery-codes"), "Save these recovery codes — shown ONCE") {
		t.Errorf("the panel says %q", p.Text("recovery-codes"))
	}
	distinct := map[string]bool{}
	for _, code := range p.Codes() {
		distinct[code] = true
		if !regexp.MustCompile(`^[A-HJ-NP-Z2-9]{4}-[A-HJ-NP-Z2-9]{4}$`).MatchString(code) {
			t.Errorf("%q is no recovery code", code)
		}
	}
	if len(distinct) != 8 {
		t.Errorf("%d different recovery codes", len(distinct))
	}
}

func qrOf(p *stack.Page) string {
	return p.Doc.Find(`[data-testid="totp-qr"]`).AttrOr("src", "")
}
