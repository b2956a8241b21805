package browser_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/test/stack"
)

// clipboard belongs to the whole browser, so one test at a time may use it.
var clipboard sync.Mutex

const (
	qrCode     = `[data-testid="totp-qr"]`
	stateBadge = `[data-testid="state-badge"]`
)

func TestEnrolByScanningTheQRCode(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.person()
	alice.signsIn("alice")
	alice.follow("link", "My profile")
	alice.wait(`document.querySelector('[data-testid="profile-two-factor"]').dataset.state === "not-configured"`)
	alice.reads("profile-two-factor-badge", "Not configured")
	if status := alice.follow("link", "Set up two-factor"); status != http.StatusOK {
		t.Fatalf("the set-up page answered %d", status)
	}

	alice.isAt(stack.Prefix)
	if title := eval[string](alice, `document.title`); title != "Two-factor authentication" {
		t.Errorf("the page's title is %q", title)
	}
	alice.find("heading", "Two-factor authentication")
	alice.find("heading", "Authenticator app (TOTP)")
	alice.inState("not-configured")
	alice.coloured(stateBadge, "slate")

	if status := alice.follow("button", enable); status != http.StatusOK {
		t.Fatalf("%s answered %d", enable, status)
	}
	alice.inState("pending")
	alice.coloured(stateBadge, "amber")
	alice.sees("Step 1", "Step 2")
	shown := alice.text("totp-secret")
	if !regexp.MustCompile(`^([A-Z2-7]{4} ){7}[A-Z2-7]{4}$`).MatchString(shown) {
		t.Errorf("the secret is not 160 bits of base32 in groups of four: %q", shown)
	}
	account := scan(t, alice.picture(qrCode))
	want := map[string][]string{
		"secret": {strings.ReplaceAll(shown, " ", "")}, "issuer": {"Acme portal"},
		"algorithm": {"SHA1"}, "digits": {"6"}, "period": {"30"},
	}
	if diff := cmp.Diff(want, map[string][]string(account.Query())); diff != "" {
		t.Errorf("the QR code does not say what the page says (-want +got):\n%s", diff)
	}
	if account.Path != "/Acme portal:alice" {
		t.Errorf("the authenticator app would file the account under %q", account.Path)
	}

	scanned := &phone{t: t, clock: w.clock, secret: account.Query().Get("secret")}
	codes := alice.confirms(scanned)
	alice.coloured(stateBadge, "emerald")
	alice.reads("notice", activeNotice)
	alice.coloured(`[data-testid="notice"]`, "emerald")
	alice.find("heading", "Save these recovery codes — shown ONCE")
	alice.coloured(`[data-testid="recovery-codes"]`, "amber")
	areRecoveryCodes(t, codes)
	alice.sees("Confirmed on "+w.clock.Now().UTC().Format("2 January 2006"), "8 of 8 recovery codes left")
	alice.find("button", regenerate)
	alice.find("DisclosureTriangle", disable)
	if alice.offers("textbox", password) {
		t.Error("the disable section is not collapsed")
	}
}

func areRecoveryCodes(t *testing.T, codes []string) {
	t.Helper()
	if len(codes) != 8 {
		t.Errorf("%d recovery codes, want 8: %q", len(codes), codes)
	}
	form := regexp.MustCompile(`^[A-Z2-9]{4}-[A-Z2-9]{4}$`)
	for _, code := range codes {
		if !form.MatchString(code) || strings.ContainsAny(code, "IO") {
			t.Errorf("%q is no XXXX-XXXX without look-alikes", code)
		}
	}
	if different := slices.Compact(slices.Sorted(slices.Values(codes))); len(different) != len(codes) {
		t.Errorf("some recovery codes are the same: %q", codes)
	}
}

func TestCopyButtons(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		base func(t *testing.T, origin string) string
	}{
		{"with a clipboard for scripts", func(_ *testing.T, origin string) string { return origin }},
		{"by plain HTTP to a name, where scripts have none", named},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := start(t, stack.Options{})
			reader := w.person()
			reader.permit("clipboard-read", "clipboard-write")
			reader.open("/about")
			alice := newPerson(t, tt.base(t, w.URL()))
			clipboard.Lock()
			defer clipboard.Unlock()
			copied := func() string {
				reader.t.Helper()
				return ask(reader, chromedp.Evaluate[string](`navigator.clipboard.readText()`, chromedp.EvalAwaitPromise))
			}

			alice.signsIn("alice")
			alice.open(stack.Prefix)
			ph := alice.mints(w.clock)
			alice.click("button", "Copy")
			alice.wait(`document.querySelector("[data-copy=secret]").textContent === "Copied"`)
			if got := copied(); got != ph.secret {
				t.Errorf("Copy put %q into the clipboard, want %q", got, ph.secret)
			}
			codes := alice.confirms(ph)
			alice.click("button", "Copy all codes")
			alice.wait(`document.querySelector("[data-copy=codes]").textContent === "Copied"`)
			if got, want := copied(), strings.Join(codes, "\n"); got != want {
				t.Errorf("Copy all codes put %q into the clipboard, want %q", got, want)
			}
			// Whoever cannot see the button is told too, and it becomes itself again.
			alice.wait(`document.querySelector("[role=status]#live").textContent === "Copied"`)
			alice.wait(`document.querySelector("[data-copy=codes]").textContent === "Copy all codes"`)
		})
	}
}

func TestRecoveryCodesAreShownOnce(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.person()
	alice.signsIn("alice")
	_, codes := alice.enrols(w.clock)
	alice.follow("link", "Done")
	alice.inState("enabled")
	never := func(when string) {
		t.Helper()
		source := eval[string](alice, `document.documentElement.outerHTML`)
		for _, code := range codes {
			if strings.Contains(source, code) {
				t.Fatalf("a recovery code is on the page again %s", when)
			}
		}
	}
	never("after Done")
	alice.reload()
	alice.inState("enabled")
	never("after a reload")
	alice.back()
	never("after Back")
}

func TestPendingSecretsAreDiscarded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		leave func(w *workspace, alice *person)
	}{
		{"by loading the page again in another tab", func(_ *workspace, alice *person) {
			tab := alice.tab()
			tab.open(stack.Prefix)
			tab.inState("not-configured")
		}},
		{"after ten minutes", func(w *workspace, _ *person) {
			w.Redis.FastForward(mfa.PendingLifetime)
			w.later(mfa.PendingLifetime)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := start(t, stack.Options{})
			alice := w.person()
			alice.signsIn("alice")
			alice.open(stack.Prefix)
			stale := alice.mints(w.clock)
			tt.leave(w, alice)

			alice.write(codeField, stale.code())
			if status := alice.follow("button", confirm); status != http.StatusConflict {
				t.Errorf("the confirmation answered %d, want 409", status)
			}
			alice.inState("not-configured")
			alice.reads("error", noPending)

			fresh := alice.mints(w.clock)
			if fresh.secret == stale.secret {
				t.Error("starting over minted the same secret")
			}
			alice.confirms(fresh)
		})
	}
}

func TestReloadDiscardsAPendingSecret(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.person()
	alice.signsIn("alice")
	alice.open(stack.Prefix)
	alice.mints(w.clock)
	alice.open(stack.Prefix)
	alice.inState("not-configured")
	if alice.text("totp-secret") != "" {
		t.Error("the secret is still on the page")
	}
	// A pending enrolment blocks nothing and protects nothing.
	alice.mints(w.clock)
	elsewhere := w.person()
	elsewhere.signsIn("alice")
	elsewhere.isAt("/my")
	elsewhere.open(stack.Prefix)
	elsewhere.inState("not-configured")
}

func TestWrongCodeKeepsTheQRCode(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.person()
	alice.signsIn("alice")
	alice.open(stack.Prefix)
	ph := alice.mints(w.clock)
	before := alice.attribute(qrCode, "src")
	for range 2 {
		alice.write(codeField, ph.wrongCode())
		if status := alice.follow("button", confirm); status != http.StatusUnprocessableEntity {
			t.Errorf("a wrong code answered %d, want 422", status)
		}
		alice.inState("pending")
		alice.reads("error", noMatch)
		if got := strings.ReplaceAll(alice.text("totp-secret"), " ", ""); got != ph.secret {
			t.Error("a wrong code changed the secret")
		}
		if alice.attribute(qrCode, "src") != before {
			t.Error("a wrong code changed the QR code")
		}
	}
	areRecoveryCodes(t, alice.confirms(ph))
}

func TestCodesOfTheNeighbouringStepsAreAccepted(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	for _, tt := range []struct {
		user   string
		off    time.Duration
		status int64
	}{
		{"alice", -step, http.StatusOK},
		{"adam", step, http.StatusOK},
		{"ines", -2 * step, http.StatusUnprocessableEntity},
		{"root", 2 * step, http.StatusUnprocessableEntity},
	} {
		t.Run(tt.off.String(), func(t *testing.T) {
			user := newPerson(t, w.URL())
			user.signsIn(tt.user)
			user.open(stack.Prefix)
			ph := user.mints(w.clock)
			user.write(codeField, ph.codeAt(w.clock.Now().Add(tt.off)))
			if status := user.follow("button", confirm); status != tt.status {
				t.Errorf("the code of a phone %v off answered %d, want %d", tt.off, status, tt.status)
			}
		})
	}
}
