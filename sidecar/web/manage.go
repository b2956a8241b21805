package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/proxy"
	"github.com/sallyport/sallyport/sidecar/session"
	"github.com/sallyport/sallyport/sidecar/web/pages"
)

// regenerate puts a fresh set of recovery codes in place and shows it. It wants a
// recent code: a browser left open must not hand out the keys to the account.
func (h *Handler) regenerate(w http.ResponseWriter, r *http.Request, v Visitor) error {
	switch {
	case v.Record == nil:
		h.toCard(w, r)
		return nil
	case !h.fresh(v):
		h.toChallenge(w, r, h.Rules.App.TwoFactorPath)
		return nil
	}
	issue, err := h.newGrant(v, v.SignIn.Method)
	if err != nil {
		return err
	}
	// No code was entered just now, so the new sign-in is as old as the one it replaces.
	issue.signIn.VerifiedAt = v.SignIn.VerifiedAt
	codes, err := h.MFA.Regenerate(r.Context(), v.User, issue.grant)
	if errors.Is(err, mfa.ErrNotEnrolled) {
		h.toCard(w, r)
		return nil
	}
	if err != nil {
		return err
	}
	return h.showCodes(w, r, v, issue, codes, noticeRegenerated)
}

// disable ends the enrolment after the app has accepted the current password, or
// after a current code where the app has no passwords.
func (h *Handler) disable(w http.ResponseWriter, r *http.Request, v Visitor) error {
	switch {
	case v.Record == nil:
		h.toCard(w, r)
		return nil
	case v.SignIn == nil:
		h.toChallenge(w, r, h.Rules.App.TwoFactorPath)
		return nil
	}
	field, err := h.tryDisable(r, v)
	if err == nil {
		v.Record, v.SignIn = nil, nil
		return h.showCard(w, r, v, http.StatusOK, pages.Card{Notice: noticeDisabled})
	}
	if errors.Is(err, mfa.ErrNotEnrolled) {
		h.toCard(w, r)
		return nil
	}
	e, known := explain(err)
	if !known || errors.Is(err, mfa.ErrStoreLost) {
		return err
	}
	e.announce(w.Header())
	return h.showCard(w, r, v, e.status, pages.Card{Error: e.text, ErrorField: field})
}

func (h *Handler) tryDisable(r *http.Request, v Visitor) (field string, err error) {
	if h.asksCode() {
		return "code", h.MFA.DisableWithCode(r.Context(), v.User, r.PostFormValue("code"))
	}
	password := r.PostFormValue("password")
	return "password", h.MFA.Disable(r.Context(), v.User, func(ctx context.Context) error {
		return h.App.CheckPassword(ctx, r, v.Identity.Account, password)
	})
}

func (h *Handler) asksCode() bool {
	return h.Rules.App.PasswordCheck.Type == policy.PasswordCheckNone
}

func (h *Handler) fresh(v Visitor) bool {
	return v.SignIn != nil && v.SignIn.Fresh(h.Clock(), h.Rules.Session.Freshness.Duration)
}

// Status is what an app needs to draw its own two-factor card.
type Status struct {
	// State is not-configured, pending or enabled.
	State string `json:"state"`
	// ConfirmedAt is RFC 3339, null unless enabled.
	ConfirmedAt *time.Time `json:"confirmedAt"`
	// RecoveryCodesRemaining is 0 unless enabled.
	RecoveryCodesRemaining int `json:"recoveryCodesRemaining"`
	// Required by the policy for this user.
	Required bool `json:"required"`
	// Verified: this sign-in has passed the second step.
	Verified bool `json:"verified"`
}

func (h *Handler) status(w http.ResponseWriter, r *http.Request) {
	v := visitor(r)
	status := Status{State: pages.NotConfigured.String(), Required: v.Required, Verified: v.SignIn != nil}
	switch {
	case v.Record != nil:
		status.State = pages.Enabled.String()
		status.ConfirmedAt = &v.Record.ConfirmedAt
		status.RecoveryCodesRemaining = len(v.Record.Codes.Digests)
	case v.Token != "":
		_, err := h.MFA.Pending(r.Context(), v.User, h.browser(v))
		switch {
		case err == nil:
			status.State = pages.Pending.String()
		case !errors.Is(err, mfa.ErrNoPending):
			e, _ := explain(err)
			h.Fault(r.Context(), fmt.Errorf("read a pending enrolment: %w", err))
			e.announce(w.Header())
			proxy.WriteProblem(w, r, proxy.Problem{
				Status: e.status, Code: "unavailable", Title: e.heading, Detail: e.text,
			})
			return
		}
	}
	pages.SetHeaders(w.Header())
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(status) // a reader who left is no news
}

// issue is a verified sign-in in the making: the token that the browser gets if
// the store accepts the change that earns it.
type issue struct {
	token  string
	signIn session.SignIn
	grant  func(generation string) (mfa.Grant, error)
}

// newGrant prepares a verified sign-in with a token of its own, so that a token
// planted before the verification never becomes a verified one.
func (h *Handler) newGrant(v Visitor, method session.Method) (*issue, error) {
	token, err := h.Keeper.NewToken()
	if err != nil {
		return nil, err
	}
	now := h.Clock()
	i := &issue{token: token, signIn: session.SignIn{Method: method, VerifiedAt: now, LastSeen: now}}
	if v.Binding != "" {
		i.signIn.Bindings = []string{v.Binding}
	}
	i.grant = func(generation string) (mfa.Grant, error) {
		i.signIn.Generation = generation
		grant := mfa.Grant{Key: h.Keeper.Key(token), TTL: i.signIn.TTL(now, h.limits())}
		if v.Token != "" {
			grant.Replaces = h.Keeper.Key(v.Token)
		}
		var err error
		grant.Value, err = h.Keeper.Encode(v.User.Key, grant.Key, i.signIn)
		return grant, err
	}
	return i, nil
}
