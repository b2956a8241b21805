package web

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/upstream"
	"github.com/sallyport/sallyport/sidecar/web/pages"
)

var (
	errBadForm     = errors.New("the form cannot be read")
	errFormToken   = errors.New("the form token is missing or wrong")
	errCrossOrigin = errors.New("the request comes from another origin")
	errNotFound    = errors.New("no such page")
	errMethod      = errors.New("no such method here")
)

// explanation is what a person reads about an error, and the status that goes
// with it.
type explanation struct {
	status  int
	heading string
	text    string
	// retryAfter is told in the text and in Retry-After; 0 where no wait helps.
	retryAfter time.Duration
}

// explanations is the one place that turns errors into words.
var explanations = []struct {
	err error
	explanation
}{
	{mfa.ErrWrongCode, explanation{
		status: http.StatusUnprocessableEntity,
		text:   "That code did not match. Wait for the next code your app generates and enter it.",
	}},
	{mfa.ErrWrongPassword, explanation{
		status: http.StatusUnprocessableEntity,
		text:   "Password did not match. Two-factor remains enabled.",
	}},
	{mfa.ErrNoPending, explanation{
		status: http.StatusConflict,
		text:   `No pending enrollment. Click "Enable" to start over`,
	}},
	{mfa.ErrTicket, explanation{
		status: http.StatusUnprocessableEntity,
		text:   "That ticket is not valid. Check it, or ask your administrator for a new one.",
	}},
	{mfa.ErrFactorDisabled, explanation{
		status: http.StatusForbidden,
		text: "This way of signing in is switched off after too many wrong codes. " +
			"Use the other one, or ask your administrator to reset two-factor.",
	}},
	{mfa.ErrStale, explanation{
		status: http.StatusConflict,
		text:   "Your two-factor settings changed in the meantime. Nothing was lost: try again.",
	}},
	{mfa.ErrClock, explanation{
		status: http.StatusServiceUnavailable,
		text:   "Codes of your app cannot be checked right now: a clock here is wrong. This counted as no attempt.",
	}},
	{mfa.ErrBusy, explanation{
		status: http.StatusServiceUnavailable, retryAfter: 5 * time.Second,
		text: "Too many codes are being checked right now.",
	}},
	{upstream.ErrUnavailable, explanation{
		status: http.StatusServiceUnavailable, retryAfter: 10 * time.Second,
		text: "The app could not check your password right now. Two-factor remains enabled.",
	}},
	{mfa.ErrStoreLost, explanation{
		status: http.StatusServiceUnavailable, heading: "Two-factor is out of order",
		text: "The place where two-factor settings are kept is not the one it was. To protect your account, " +
			"nobody can continue until an administrator has looked at it.",
	}},
	{errBadForm, explanation{
		status: http.StatusBadRequest, heading: "That form could not be read",
		text: "Go back, reload the page and send the form again.",
	}},
	{errFormToken, explanation{
		status: http.StatusForbidden, heading: "This page is out of date",
		text: "Nothing was changed. Open the two-factor page again and repeat the step. " +
			"If this keeps happening, check that your browser accepts cookies.",
	}},
	{errCrossOrigin, explanation{
		status: http.StatusForbidden, heading: "That request came from another site",
		text: "Nothing was changed. Open the two-factor page in this workspace and repeat the step there.",
	}},
	{errNotFound, explanation{
		status: http.StatusNotFound, heading: "No such page",
		text: "There is nothing at this address.",
	}},
	{errMethod, explanation{
		status: http.StatusMethodNotAllowed, heading: "That cannot be done here",
		text: "Open the two-factor page and start from there.",
	}},
}

// explain returns what to say about an error; known is false for one that only
// the log may hear about.
func explain(err error) (e explanation, known bool) {
	if locked, ok := errors.AsType[*mfa.LockedError](err); ok {
		seconds := int(math.Ceil(locked.RetryAfter.Seconds()))
		return explanation{
			status: http.StatusTooManyRequests, retryAfter: time.Duration(seconds) * time.Second,
			text: fmt.Sprintf("Too many attempts. Wait %d seconds, then try again.", seconds),
		}, true
	}
	for _, row := range explanations {
		if errors.Is(err, row.err) {
			return row.explanation, true
		}
	}
	return explanation{
		status: http.StatusServiceUnavailable, heading: "Two-factor is not available right now", retryAfter: 10 * time.Second,
		text: "Nothing was changed and nothing was lost. Try again in a moment.",
	}, false
}

func (e explanation) announce(header http.Header) {
	if e.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(e.retryAfter.Seconds())))
	}
}

// fail answers with a page about an error that no form can show.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	e, known := explain(err)
	if !known || errors.Is(err, mfa.ErrStoreLost) {
		h.Fault(r.Context(), err)
	}
	if e.heading == "" {
		e.heading = "That did not work"
	}
	e.announce(w.Header())
	message := pages.Message{
		Heading: e.heading, Text: e.text,
		ActionText: "Back to two-factor authentication", ActionHref: h.Rules.App.TwoFactorPath,
	}
	if err := h.Pages.Message(w, e.status, message); err != nil {
		h.Log.ErrorContext(r.Context(), "Could not write a page", errorAttr(err))
	}
}
