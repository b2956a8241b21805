package server

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/authz"
	"github.com/sallyport/sallyport/sidecar/identity"
	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/proxy"
	"github.com/sallyport/sallyport/sidecar/web"
	"github.com/sallyport/sallyport/sidecar/web/pages"
)

// answerer says no: to a browser as a redirect or a page, to anything else as
// problem details (RFC 9457). None of its answers may be cached.
type answerer struct {
	rules   *policy.Rules
	pages   *pages.Renderer
	cookies web.Cookies
	log     *slog.Logger
}

const retryAfter = 5 * time.Second

// no is one negative answer in both of its forms.
type no struct {
	status   int
	code     string
	heading  string
	text     string
	location string
	retry    bool
}

func (a *answerer) say(w http.ResponseWriter, r *http.Request, n no) {
	if n.retry {
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
	}
	if proxy.AskedBy(r) == proxy.Other {
		proxy.WriteProblem(w, r, proxy.Problem{
			Status: n.status, Code: n.code, Title: n.heading, Detail: n.text, Location: n.location,
		})
		return
	}
	message := pages.Message{Heading: n.heading, Text: n.text, Reference: infoOf(r.Context()).id}
	if err := a.pages.Message(w, n.status, message); err != nil && r.Context().Err() == nil {
		a.log.WarnContext(r.Context(), "Could not write a page", slog.Any("error", err))
	}
}

// refusal answers a request that hygiene refused.
func (a *answerer) refusal(w http.ResponseWriter, r *http.Request, refusal *proxy.Refusal) {
	a.say(w, r, no{
		status: refusal.Status, code: refusal.Code, heading: "This request cannot be read", text: refusal.Detail,
	})
}

// indeterminate answers a request of which nobody can say who sent it.
func (a *answerer) indeterminate(w http.ResponseWriter, r *http.Request, reason identity.Reason) {
	if reason == identity.ReasonMalformed {
		a.say(w, r, no{
			status: http.StatusBadRequest, code: string(reason), heading: "Your sign-in cannot be read",
			text: "A cookie or a sign-in header of this request is malformed. Delete this site's cookies and sign in again.",
		})
		return
	}
	a.say(w, r, no{
		status: http.StatusServiceUnavailable, code: "identity_unavailable", retry: true,
		heading: "We could not check who you are",
		text:    "The workspace did not say who is signed in. Nothing was lost: try again in a moment.",
	})
}

// storeUnavailable answers when it cannot be known who is enrolled or verified.
func (a *answerer) storeUnavailable(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, mfa.ErrStoreLost) {
		a.say(w, r, no{
			status: http.StatusServiceUnavailable, code: "mfa_store_lost", heading: "Two-factor is out of order",
			text: "The place where two-factor settings are kept is not the one it was. To protect your account, " +
				"nobody can continue until an administrator has looked at it.",
		})
		return
	}
	a.say(w, r, no{
		status: http.StatusServiceUnavailable, code: "mfa_unavailable", retry: true,
		heading: "Two-factor is not available right now",
		text:    "Your sign-in could not be checked. Nothing was lost: try again in a moment.",
	})
}

// appUnavailable answers for an app that does not.
func (a *answerer) appUnavailable(w http.ResponseWriter, r *http.Request) {
	a.say(w, r, no{
		status: http.StatusBadGateway, code: "app_unavailable", retry: true, heading: "The app does not answer",
		text: "The workspace behind this page could not be reached. Try again in a moment.",
	})
}

// nobody answers a request that was cut. As a rule there is nobody to read it; but a
// client that closed its half of the connection reads on, and an answer that says
// nothing would be a 200, which a cache may keep.
func (a *answerer) nobody(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusServiceUnavailable)
}

// malformedBody answers a request whose body cannot be read to its end.
func (a *answerer) malformedBody(w http.ResponseWriter, r *http.Request) {
	a.say(w, r, no{
		status: http.StatusBadRequest, code: "malformed_body", heading: "This request cannot be read",
		text: "What was to be sent with it is malformed. Try again.",
	})
}

// stepUp sends a user to the challenge or to enrolment, and back afterwards.
func (a *answerer) stepUp(w http.ResponseWriter, r *http.Request, v *visit) {
	asker := proxy.AskedBy(r)
	returnTo := a.returnTo(r, asker, v.back)
	prefix := a.rules.App.TwoFactorPath
	n := no{
		status: http.StatusUnauthorized, code: "mfa_challenge_required", heading: "Two-factor verification required",
		text:     "Password accepted. Enter your code to continue.",
		location: prefix + "/challenge?" + url.Values{"return_to": {returnTo}}.Encode(),
	}
	if v.decision == authz.Enrol {
		n.code, n.heading = "mfa_enrolment_required", "Two-factor enrolment required"
		n.text = "Two-factor authentication is required by your organisation. Set it up to continue."
		n.location = prefix + "?" + url.Values{"return_to": {returnTo}}.Encode()
	}
	if asker == proxy.Other {
		a.say(w, r, n)
		return
	}
	if v.back != "" {
		a.cookies.EndReturn(w)
	}
	redirect(w, r, n.location)
}

// returnTo is where a user goes once through the door: where they were going, or
// where they asked to go before the app's sign-in came in between.
func (a *answerer) returnTo(r *http.Request, asker proxy.Asker, back string) string {
	prefix := a.rules.App.TwoFactorPath
	switch {
	case back != "":
		return proxy.ReturnTo(back, prefix)
	case asker == proxy.Navigation:
		return proxy.ReturnTo(r.URL.RequestURI(), prefix)
	default:
		return proxy.ReturnToFromReferer(r, prefix)
	}
}

// signIn sends somebody without a sign-in to the app's sign-in page, and notes
// where to return to. The sidecar's own pages send every navigation on, whatever
// it accepts; only a script is told in problem details.
func (a *answerer) signIn(w http.ResponseWriter, r *http.Request, own bool) {
	asker := proxy.AskedBy(r)
	bare := own && r.Header.Get("Sec-Fetch-Mode") == "" && r.Header.Get("Accept") == ""
	if asker == proxy.Other && !bare {
		a.say(w, r, no{
			status: http.StatusUnauthorized, code: "sign_in_required", heading: "Sign in first",
			text: "This address is for people who are signed in to the workspace.", location: a.rules.App.SignInPath,
		})
		return
	}
	back := a.rules.App.TwoFactorPath
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		back = proxy.ReturnTo(r.URL.RequestURI(), a.rules.App.TwoFactorPath)
	}
	a.cookies.SetReturn(w, back)
	redirect(w, r, a.rules.App.SignInPath)
}

// redirect always says 303: the browser continues with a GET, and no cache keeps it.
func redirect(w http.ResponseWriter, r *http.Request, to string) {
	pages.SetHeaders(w.Header())
	http.Redirect(w, r, to, http.StatusSeeOther) //nolint:gosec // to is a path of this origin: proxy.ReturnTo, or the policy's
}
