package pages_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sidecar/web/pages"
)

func TestChallengeAsksForACode(t *testing.T) {
	page := showChallenge(t, pages.Challenge{ReturnTo: "/reports?year=2026"})
	wantText(t, "heading", page.hook("challenge-card").Find("h1"), "Two-factor verification")
	wantText(t, "text", page.hook("challenge-card").Find("h1 + p"), "Password accepted. Enter your code to continue.")
	wantText(t, "account", page.Find(".account strong"), account)

	forms := page.form("challenge")
	wantCount(t, "forms", forms, 2)
	wantText(t, "button", forms.First().Find("button"), "Verify and sign in")
	wantAttrs(t, "code", forms.First().Find("input[name=code]"), map[string]string{
		"type": "text", "inputmode": "numeric", "autocomplete": "one-time-code", "maxlength": "10", "required": "",
		"autofocus": "", "pattern": `\s*[0-9]{3}\s?[0-9]{3}\s*`,
	})
	wantAttrs(t, "return_to", forms.First().Find("input[name=return_to]"), map[string]string{"value": "/reports?year=2026"})
	wantText(t, "way out", page.form("cancel").Find("button"), "Sign in as a different user")
	wantCount(t, "way back", page.Find("a.back"), 0)
}

func TestChallengeOffersARecoveryCode(t *testing.T) {
	page := showChallenge(t, pages.Challenge{ReturnTo: "/reports"})
	section := page.Find("details.recovery")
	wantText(t, "summary", section.Find("summary"), "Lost your phone? Use a recovery code")
	if _, open := section.Attr("open"); open {
		t.Error("the recovery section is open")
	}
	wantText(t, "button", section.Find("button"), "Use recovery code")
	field := section.Find("input[name=recovery_code]")
	wantAttrs(t, "recovery code", field, map[string]string{
		"type": "text", "autocapitalize": "characters", "spellcheck": "false", "required": "",
	})
	if mode, has := field.Attr("inputmode"); has {
		t.Errorf("recovery codes have letters, but inputmode is %q", mode)
	}
	wantAttrs(t, "return_to", section.Find("input[name=return_to]"), map[string]string{"value": "/reports"})
}

func TestChallengePutsTheErrorWhereItBelongs(t *testing.T) {
	for name, test := range map[string]struct {
		challenge      pages.Challenge
		invalid, focus string
		open, totp     bool
	}{
		"wrong code":                  {pages.Challenge{ErrorField: "code"}, "code", "code", false, true},
		"wrong recovery code":         {pages.Challenge{ErrorField: "recovery_code"}, "recovery_code", "recovery_code", true, true},
		"no field":                    {pages.Challenge{}, "", "code", false, true},
		"no field, recovery open":     {pages.Challenge{RecoveryOpen: true}, "", "recovery_code", true, true},
		"codes switched off":          {pages.Challenge{ErrorField: "code", TOTPOff: true}, "", "recovery_code", true, false},
		"wrong code, recovery open":   {pages.Challenge{ErrorField: "code", RecoveryOpen: true}, "code", "code", true, true},
		"recovery, and no other left": {pages.Challenge{ErrorField: "recovery_code", TOTPOff: true}, "recovery_code", "recovery_code", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			test.challenge.Error = "That code did not match."
			page := showChallenge(t, test.challenge)
			wantText(t, "error", page.hook("error"), "That code did not match.")
			wantAttrs(t, "error", page.hook("error"), map[string]string{"role": "alert"})
			if got := page.Find("[aria-invalid=true]").AttrOr("name", ""); got != test.invalid {
				t.Errorf("invalid field = %q, want %q", got, test.invalid)
			}
			if test.invalid != "" {
				described := page.Find("[aria-invalid=true]").AttrOr("aria-describedby", "")
				if !strings.Contains(described, "error") {
					t.Errorf("aria-describedby = %q, want the error in it", described)
				}
			}
			if got := page.Find("[autofocus]").AttrOr("name", ""); got != test.focus {
				t.Errorf("typing begins in %q, want %q", got, test.focus)
			}
			if _, open := page.Find("details.recovery").Attr("open"); open != test.open {
				t.Errorf("recovery open = %v, want %v", open, test.open)
			}
			if got := page.Find("input[name=code]").Length() == 1; got != test.totp {
				t.Errorf("code field shown = %v, want %v", got, test.totp)
			}
		})
	}
}

func TestChallengeWithCodesSwitchedOffSaysSo(t *testing.T) {
	page := showChallenge(t, pages.Challenge{TOTPOff: true})
	wantText(t, "explanation", page.Find(".callout"), "Authenticator codes are switched off for this account. Use a recovery code.")
	wantCount(t, "errors", page.hook("error"), 0)
	wantCount(t, "forms", page.form("challenge"), 1)
}

func TestWaitIsToldToPeopleAndPrograms(t *testing.T) {
	for seconds, words := range map[int]string{
		1: "1 second", 30: "30 seconds", 119: "119 seconds", 120: "2 minutes (120 seconds)", 850: "15 minutes (850 seconds)",
	} {
		page := showChallenge(t, pages.Challenge{Error: "Too many attempts.", RetryAfter: seconds})
		wantText(t, "wait", page.Find("[data-retry-after]"), "You can try again in "+words+".")
	}
	page := showChallenge(t, pages.Challenge{RetryAfter: 42})
	wantAttrs(t, "wait", page.Find(".wait"), map[string]string{"data-retry-after": "42"})
	if got := page.Header().Get("Retry-After"); got != "42" {
		t.Errorf("Retry-After = %q, want 42", got)
	}
	for _, none := range []int{0, -3} {
		page = showChallenge(t, pages.Challenge{RetryAfter: none})
		wantCount(t, "wait", page.Find(".wait"), 0)
		if got, has := page.Header()["Retry-After"]; has {
			t.Errorf("Retry-After = %q for %d seconds", got, none)
		}
	}
}

func TestStepUpAsksSomebodyWhoIsSignedIn(t *testing.T) {
	page := showChallenge(t, pages.Challenge{StepUp: true, ReturnTo: prefix})
	wantText(t, "heading", page.Find("h1"), "Confirm it's you")
	wantCount(t, "forms", page.form("challenge"), 2)
	if strings.Contains(page.html, "Password accepted") {
		t.Error("nobody has just entered a password")
	}
	wantAttrs(t, "way back", page.Find("p.aside a"), map[string]string{"href": prefix})
}

func TestMessage(t *testing.T) {
	show := func(status int, m pages.Message) answer {
		return render(t, func(w http.ResponseWriter) error { return renderer(t, site()).Message(w, status, m) })
	}
	page := show(http.StatusServiceUnavailable, pages.Message{
		Heading: "Not available", Text: "Try again in a moment.", ActionText: "Try again", ActionHref: prefix,
		Reference: "01JD8F2K7Q3W",
	})
	if page.Code != http.StatusServiceUnavailable {
		t.Errorf("status = %d", page.Code)
	}
	wantText(t, "title", page.Find("title"), "Not available")
	wantText(t, "heading", page.Find("h1"), "Not available")
	wantText(t, "text", page.hook("error"), "Try again in a moment.")
	wantText(t, "action", page.Find("main a"), "Try again")
	wantAttrs(t, "action", page.Find("main a"), map[string]string{"href": prefix})
	wantText(t, "reference", page.Find("main code"), "01JD8F2K7Q3W")

	page = show(http.StatusOK, pages.Message{Heading: "Done", Text: "All is well."})
	wantCount(t, "errors", page.hook("error"), 0)
	wantCount(t, "actions", page.Find("main a"), 0)
	wantCount(t, "references", page.Find("main code"), 0)
}
