package web

import (
	"errors"
	"net/http"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/proxy"
	"github.com/sallyport/sallyport/sidecar/session"
	"github.com/sallyport/sallyport/sidecar/web/pages"
)

const (
	noticeConfirmed   = "Two-factor authentication is now active. Save your recovery codes — they're shown once."
	noticeRegenerated = "Your new recovery codes are ready. The old ones no longer work."
	noticeDisabled    = "Two-factor authentication is now off."
)

// card shows the enrolment in its state. A pending secret lives only on the page
// that showed it, so asking for this page again discards it.
func (h *Handler) card(w http.ResponseWriter, r *http.Request, v Visitor) error {
	if v.Record != nil && v.SignIn == nil {
		h.toChallenge(w, r, h.Rules.App.TwoFactorPath)
		return nil
	}
	if v.Record == nil && v.Token != "" && r.Method == http.MethodGet {
		if err := h.MFA.Discard(r.Context(), v.User, h.browser(v)); err != nil {
			return err
		}
	}
	return h.showCard(w, r, v, http.StatusOK, pages.Card{})
}

// enable mints a secret and shows it, once, as a QR code and as text.
func (h *Handler) enable(w http.ResponseWriter, r *http.Request, v Visitor) error {
	if v.Record != nil {
		return h.alreadyEnabled(w, r, v)
	}
	secret, err := h.MFA.Mint(r.Context(), v.User, h.browser(v), r.PostFormValue("ticket"))
	switch {
	case errors.Is(err, mfa.ErrAlreadyEnabled):
		h.toCard(w, r)
		return nil
	case errors.Is(err, mfa.ErrTicket):
		return h.refuseTicket(w, r, v)
	case err != nil:
		return err
	}
	return h.showCard(w, r, v, http.StatusOK, pages.Card{
		State: pages.Pending, Secret: secret.Text, KeyURI: secret.URI,
	})
}

// confirm enables two-factor with the first code and shows the recovery codes. A
// wrong code leaves the same secret on the page, and so does a wrong clock.
func (h *Handler) confirm(w http.ResponseWriter, r *http.Request, v Visitor) error {
	if v.Record != nil {
		return h.alreadyEnabled(w, r, v)
	}
	issue, err := h.newGrant(v, session.MethodTOTP)
	if err != nil {
		return err
	}
	codes, err := h.MFA.Confirm(r.Context(), v.User, h.browser(v), r.PostFormValue("code"), issue.grant)
	switch {
	case errors.Is(err, mfa.ErrWrongCode), errors.Is(err, mfa.ErrClock):
		return h.retryConfirm(w, r, v, err)
	case errors.Is(err, mfa.ErrNoPending):
		e, _ := explain(err)
		return h.showCard(w, r, v, e.status, pages.Card{Error: e.text})
	case errors.Is(err, mfa.ErrTicket):
		return h.refuseTicket(w, r, v)
	case errors.Is(err, mfa.ErrAlreadyEnabled):
		h.toCard(w, r)
		return nil
	case err != nil:
		return err
	}
	return h.showCodes(w, r, v, issue, codes, noticeConfirmed)
}

// refuseTicket asks for another ticket: this one is not valid, or not any more.
func (h *Handler) refuseTicket(w http.ResponseWriter, r *http.Request, v Visitor) error {
	e, _ := explain(mfa.ErrTicket)
	return h.showCard(w, r, v, e.status, pages.Card{Error: e.text, ErrorField: "ticket"})
}

func (h *Handler) retryConfirm(w http.ResponseWriter, r *http.Request, v Visitor, cause error) error {
	secret, err := h.MFA.Pending(r.Context(), v.User, h.browser(v))
	if errors.Is(err, mfa.ErrNoPending) {
		cause = err
	} else if err != nil {
		return err
	}
	e, _ := explain(cause)
	if errors.Is(cause, mfa.ErrNoPending) {
		return h.showCard(w, r, v, e.status, pages.Card{Error: e.text})
	}
	return h.showCard(w, r, v, e.status, pages.Card{
		State: pages.Pending, Secret: secret.Text, KeyURI: secret.URI, Error: e.text, ErrorField: "code",
	})
}

// alreadyEnabled answers a form that a newer state has overtaken: another tab,
// or another browser, enabled two-factor in the meantime.
func (h *Handler) alreadyEnabled(w http.ResponseWriter, r *http.Request, v Visitor) error {
	if v.SignIn == nil {
		h.toChallenge(w, r, h.Rules.App.TwoFactorPath)
		return nil
	}
	return h.showCard(w, r, v, http.StatusConflict, pages.Card{
		Error: "Two-factor authentication is already enabled. Nothing was changed.",
	})
}

// showCodes gives the browser its verified token and shows recovery codes, once.
func (h *Handler) showCodes(
	w http.ResponseWriter, r *http.Request, v Visitor, issue *issue, codes []string, notice string,
) error {
	h.Cookies.SetToken(w, issue.token)
	v.Token = issue.token
	v.SignIn = &issue.signIn
	if v.Record == nil {
		v.Record = &mfa.Record{ConfirmedAt: h.Clock()}
	}
	return h.renderCard(w, r, v, http.StatusOK, pages.Card{
		State: pages.Enabled, ConfirmedAt: v.Record.ConfirmedAt, CodesLeft: len(codes), Codes: codes, CodesAt: h.Clock(),
		Notice: notice,
	})
}

// showCard shows the card in the state of the visitor's enrolment, unless the
// given card says Pending already.
func (h *Handler) showCard(w http.ResponseWriter, r *http.Request, v Visitor, status int, c pages.Card) error {
	if v.Token == "" {
		token, err := h.Keeper.NewToken()
		if err != nil {
			return err
		}
		v.Token = token
		h.Cookies.SetToken(w, token)
	}
	if v.Record != nil {
		c.State = pages.Enabled
		c.ConfirmedAt = v.Record.ConfirmedAt
		c.CodesLeft = len(v.Record.Codes.Digests)
	}
	return h.renderCard(w, r, v, status, c)
}

func (h *Handler) renderCard(w http.ResponseWriter, r *http.Request, v Visitor, status int, c pages.Card) error {
	c.Account = v.User.Account
	if c.RequiredNotice = v.Required && v.Record == nil; c.RequiredNotice {
		c.Notice = "" // one notice at a time, and this is the one to act on
	}
	c.AsksCode = h.asksCode()
	c.AsksTicket = h.MFA.TicketRequired
	if to := r.FormValue("return_to"); to != "" {
		c.ReturnTo = h.returnTo(to)
	}
	c.Tokens = h.formTokens(v.Token)
	return h.Pages.Card(w, status, c)
}

func (h *Handler) returnTo(raw string) string {
	return proxy.ReturnTo(raw, h.Rules.App.TwoFactorPath)
}

func (h *Handler) toCard(w http.ResponseWriter, r *http.Request) {
	seeOther(w, r, h.Rules.App.TwoFactorPath)
}

// browser names this browser session of this sign-in; pending secrets are bound
// to it.
func (h *Handler) browser(v Visitor) string { return h.Keeper.Browser(v.Token, v.Binding) }
