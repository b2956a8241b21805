package pages

import (
	"net/http"
	"time"
)

// Challenge is the second step of a sign-in.
type Challenge struct {
	// Account is shown so that a person sees whose account it is.
	Account string
	// ConfirmedAt is when two-factor was set up. Somebody else may have done so with a
	// stolen password: whoever never did can tell by it. Zero: not shown.
	ConfirmedAt time.Time
	// ReturnTo is the same-origin path to go on to afterwards.
	ReturnTo string
	// Error is what went wrong, for the person.
	Error string
	// ErrorField names the field that Error is about: "code", "recovery_code" or none.
	ErrorField string
	// RecoveryOpen unfolds the recovery form.
	RecoveryOpen bool
	// TOTPOff says that authenticator codes are switched off for this account;
	// only the recovery form is offered.
	TOTPOff bool
	// RetryAfter is how many seconds to wait. Above zero it becomes a countdown
	// and the Retry-After header.
	RetryAfter int
	// StepUp asks somebody who is already verified for a fresh code.
	StepUp bool
	// Tokens holds a CSRF token for each of the actions "challenge" and "cancel".
	Tokens map[string]string
}

// challengeView is a Challenge made ready for its page.
type challengeView struct {
	frame
	Challenge
	Heading, Text, Submit string
	Wait                  *wait
}

// Challenge writes the challenge page.
func (r *Renderer) Challenge(w http.ResponseWriter, status int, c Challenge) error {
	c.ReturnTo = localOr(c.ReturnTo, "/")
	c.RecoveryOpen = c.RecoveryOpen || c.TOTPOff || c.Error != "" && c.ErrorField == "recovery_code"
	view := challengeView{
		Challenge: c,
		Heading:   "Two-factor verification",
		Text:      "Password accepted. Enter your code to continue.",
		Submit:    "Verify and sign in",
		Wait:      newWait(c.RetryAfter),
	}
	if c.StepUp {
		view.Heading = "Confirm it's you"
		view.Text = "This step needs a recent verification. Enter your code to continue."
		view.Submit = "Verify and continue"
	}
	view.frame = frame{Site: r.site, Assets: r.assets, Title: view.Heading, Layout: "narrow", tokens: c.Tokens}
	view.Wait.setHeader(w.Header())
	return write(w, status, challengePage(view))
}

// FieldError reports whether the error is about a field that the page shows.
func (v challengeView) FieldError(field string) bool {
	return v.Error != "" && v.ErrorField == field && (field != "code" || !v.TOTPOff)
}

// ErrorElsewhere reports whether the error has to stand at the top of the card.
func (v challengeView) ErrorElsewhere() bool {
	return v.Error != "" && !v.FieldError("code") && !v.FieldError("recovery_code")
}

// FocusRecovery reports whether the recovery field is where typing begins.
func (v challengeView) FocusRecovery() bool { return v.RecoveryOpen && !v.FieldError("code") }
