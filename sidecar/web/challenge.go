package web

import (
	"errors"
	"math"
	"net/http"
	"net/url"
	"slices"

	"github.com/sallyport/sallyport/sidecar/identity"
	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/session"
	"github.com/sallyport/sallyport/sidecar/web/pages"
)

// challenge asks for a code. A verified visitor gets here again only when the
// last code is too old for what they want to do.
func (h *Handler) challenge(w http.ResponseWriter, r *http.Request, v Visitor) error {
	returnTo := h.returnTo(r.URL.Query().Get("return_to"))
	switch {
	case v.Record == nil:
		h.toCard(w, r)
		return nil
	case h.fresh(v):
		seeOther(w, r, returnTo)
		return nil
	}
	c := pages.Challenge{ReturnTo: returnTo}
	if !h.MFA.ClockSound() {
		c.Error, c.ErrorField, c.RecoveryOpen = clockOff(), "code", true
	}
	return h.showChallenge(w, v, http.StatusOK, c)
}

// answer judges a code, or a recovery code.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, v Visitor) error {
	if v.Record == nil {
		h.toCard(w, r)
		return nil
	}
	returnTo := h.returnTo(r.PostFormValue("return_to"))
	issue, recovery, err := h.judge(r, v)
	if err == nil {
		h.Cookies.SetToken(w, issue.token)
		seeOther(w, r, returnTo)
		return nil
	}
	e, known := explain(err)
	if !known || errors.Is(err, mfa.ErrStoreLost) {
		return err
	}
	if errors.Is(err, mfa.ErrNotEnrolled) {
		h.toCard(w, r)
		return nil
	}
	clock := errors.Is(err, mfa.ErrClock)
	if clock {
		e.text = clockOff()
	}
	c := pages.Challenge{
		ReturnTo: returnTo, Error: e.text, ErrorField: "code", RecoveryOpen: recovery || clock,
		TOTPOff:    errors.Is(err, mfa.ErrFactorDisabled) && !recovery,
		RetryAfter: int(math.Ceil(e.retryAfter.Seconds())),
	}
	if recovery {
		c.ErrorField = "recovery_code"
		if errors.Is(err, mfa.ErrWrongCode) {
			c.Error = "That code did not match. Check it against your saved list: each recovery code works once."
		}
	}
	e.announce(w.Header())
	return h.showChallenge(w, v, e.status, c)
}

// clockOff is what a challenge says while codes cannot be judged.
func clockOff() string {
	e, _ := explain(mfa.ErrClock)
	return e.text + " A recovery code works."
}

func (h *Handler) judge(r *http.Request, v Visitor) (issued *issue, recovery bool, err error) {
	recoveryCode := r.PostFormValue("recovery_code")
	recovery = recoveryCode != ""
	method := session.MethodTOTP
	if recovery {
		method = session.MethodRecovery
	}
	issued, err = h.newGrant(v, method)
	if err != nil {
		return nil, recovery, err
	}
	if recovery {
		_, err = h.MFA.VerifyRecovery(r.Context(), v.User, recoveryCode, issued.grant)
	} else {
		err = h.MFA.VerifyTOTP(r.Context(), v.User, r.PostFormValue("code"), issued.grant)
	}
	return issued, recovery, err
}

func (h *Handler) showChallenge(w http.ResponseWriter, v Visitor, status int, c pages.Challenge) error {
	if v.Token == "" {
		token, err := h.Keeper.NewToken()
		if err != nil {
			return err
		}
		v.Token = token
		h.Cookies.SetToken(w, token)
	}
	c.Account = v.User.Account
	c.ConfirmedAt = v.Record.ConfirmedAt
	c.StepUp = v.SignIn != nil
	c.Tokens = h.formTokens(v.Token)
	return h.Pages.Challenge(w, status, c)
}

// cancel ends the app's session, as "Sign in as a different user" says, and the
// verification with it. Session cookies that the app's sign-out left in place are
// expired in the browser too: the app may have refused a sign-out without its own
// form token, and the person must not stay signed in.
func (h *Handler) cancel(w http.ResponseWriter, r *http.Request, v Visitor) error {
	if v.Token != "" {
		if err := h.MFA.EndSignIn(r.Context(), v.User, h.Keeper.Key(v.Token)); err != nil {
			return err
		}
	}
	lines, err := h.App.SignOut(r.Context(), r)
	if err != nil {
		h.Log.WarnContext(r.Context(), "Could not end the app's session; its cookies were expired in the browser",
			errorAttr(err))
	}
	answered := map[string]bool{}
	for _, line := range lines {
		cookie, err := http.ParseSetCookie(line)
		if err != nil || slices.Contains(h.Cookies.Names(), cookie.Name) {
			continue
		}
		answered[cookie.Name] = true
		w.Header().Add("Set-Cookie", line)
	}
	for _, name := range identity.Cookies(h.Rules.Identity) {
		if !answered[name] {
			http.SetCookie(w, &http.Cookie{Name: name, Path: "/", MaxAge: -1}) //nolint:gosec // it deletes a cookie of the app's
		}
	}
	h.Cookies.EndToken(w.Header())
	seeOther(w, r, h.Rules.App.SignInPath)
	return nil
}

// toChallenge asks for a code and comes back to the given path.
func (h *Handler) toChallenge(w http.ResponseWriter, r *http.Request, returnTo string) {
	query := url.Values{"return_to": {returnTo}}
	seeOther(w, r, h.Rules.App.TwoFactorPath+"/challenge?"+query.Encode())
}
