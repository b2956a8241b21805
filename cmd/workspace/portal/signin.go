package portal

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

const (
	signInPath = "/login"
	homePath   = "/my"
	// maxFormBytes bounds the bodies that are read whole.
	maxFormBytes = 64 << 10
)

// signInForm is what the sign-in page shows.
type signInForm struct {
	CSRF, Next, Username, Error string
}

func (p *Portal) showSignIn(w http.ResponseWriter, r *http.Request) error {
	next := safeNext(r.URL.Query().Get("next"))
	_, ok, err := p.bySession(r)
	if err != nil {
		return err
	}
	if ok {
		http.Redirect(w, r, next, http.StatusSeeOther) //nolint:gosec // safeNext lets paths of this origin through and nothing else
		return nil
	}
	return p.renderSignIn(w, r, http.StatusOK, signInForm{Next: next})
}

// renderSignIn shows the form, bound to the visitor's session cookie.
func (p *Portal) renderSignIn(w http.ResponseWriter, r *http.Request, status int, form signInForm) error {
	id, ok := sessionID(r)
	if !ok || !wellFormed(id) {
		var err error
		if id, err = p.token(); err != nil {
			return err
		}
		p.setCookie(w, id, 0)
	}
	form.CSRF = csrfToken(id)
	return p.render(w, r, status, page{name: "login", title: "Sign in", section: "sign-in", data: form})
}

func (p *Portal) signIn(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
	if err := r.ParseForm(); err != nil {
		return &httpError{status: http.StatusBadRequest, message: "The form could not be read.", cause: err}
	}
	username := r.PostForm.Get("username")
	form := signInForm{Next: safeNext(r.PostForm.Get("next")), Username: username}
	id, ok := sessionID(r)
	if !ok || !wellFormed(id) || !hmac.Equal([]byte(r.PostForm.Get("csrf")), []byte(csrfToken(id))) {
		form.Error = "This sign-in form is no longer valid. Please try again."
		return p.renderSignIn(w, r, http.StatusForbidden, form)
	}
	user, err := p.directory.check(r.Context(), username, r.PostForm.Get("password"))
	switch {
	case errors.Is(err, errBadCredentials):
		p.log.InfoContext(r.Context(), "Refused a sign-in", slog.String("via", "form"))
		form.Error = "That user name and password do not match. Please try again."
		return p.renderSignIn(w, r, http.StatusUnauthorized, form)
	case err != nil:
		return err
	}
	if err := p.startSession(w, r, user, "form"); err != nil {
		return err
	}
	http.Redirect(w, r, form.Next, http.StatusSeeOther)
	return nil
}

// signInJSON is the same for scripts. It has no token of its own: a page of
// another origin can neither send this content type unasked nor pass the
// cross-origin check that stands before every route.
func (p *Portal) signInJSON(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	if err := readJSON(w, r, &in); err != nil {
		return err
	}
	user, err := p.directory.check(r.Context(), in.Username, in.Password)
	switch {
	case errors.Is(err, errBadCredentials):
		p.log.InfoContext(r.Context(), "Refused a sign-in", slog.String("via", "json"))
		return &httpError{
			status: http.StatusUnauthorized, message: "That user name and password do not match.",
			header: http.Header{"Www-Authenticate": {sessionChallenge}},
		}
	case err != nil:
		return err
	}
	if err := p.startSession(w, r, user, "json"); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"user": describe(user)})
}

// startSession gives the browser a session under a new id: an id that somebody
// planted before the sign-in, or knew from an earlier one, is worth nothing.
func (p *Portal) startSession(w http.ResponseWriter, r *http.Request, user *account, via string) error {
	id, err := p.token()
	if err != nil {
		return err
	}
	if err := p.endSession(r); err != nil {
		return err
	}
	if err := p.sessions.Start(r.Context(), id, user.ID); err != nil {
		return err
	}
	p.setCookie(w, id, int(sessionLifetime.Seconds()))
	p.log.InfoContext(r.Context(), "Signed in", slog.String("userId", user.ID), slog.String("via", via))
	return nil
}

func (p *Portal) signOut(w http.ResponseWriter, r *http.Request) error {
	if err := p.endSession(r); err != nil {
		return err // the cookie stays, for the next attempt to name what is to end
	}
	p.setCookie(w, "", -1)
	http.Redirect(w, r, signInPath, http.StatusSeeOther)
	return nil
}

// endSession ends whatever sessions the request names, be it one too many, and
// whether or not somebody waits for the answer.
func (p *Portal) endSession(r *http.Request) error {
	var ids []string
	for _, c := range r.CookiesNamed(sessionCookie) {
		ids = append(ids, c.Value)
	}
	if err := p.sessions.End(context.WithoutCancel(r.Context()), ids...); err != nil {
		return err
	}
	p.signOuts.ring()
	return nil
}

func (p *Portal) setCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure is set wherever browsers use https
		Name: sessionCookie, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: p.secure,
	})
}

// csrfToken binds the sign-in form to a cookie without remembering either, so
// that visitors who never sign in cost no memory and a form of one replica can
// be posted to another.
//
// Threat: a page elsewhere that signs its visitor in as somebody else. It does not
// know the visitor's cookie, 256 random bits, which is the key here. A key of the
// portal's own would add nothing: whoever shows a cookie is told its token.
func csrfToken(id string) string {
	mac := hmac.New(sha256.New, []byte(id))
	mac.Write([]byte("sign-in form"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func wellFormed(id string) bool {
	b, err := base64.RawURLEncoding.DecodeString(id)
	return err == nil && len(b) == 32
}

// safeNext returns a path of this origin to go to after the sign-in, and the
// dashboard for anything odd. What browsers would read as another host (a second
// slash, a backslash, control characters they drop) is odd.
func safeNext(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") {
		return homePath
	}
	if strings.ContainsFunc(next, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' }) {
		return homePath
	}
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || strings.HasPrefix(u.Path, "//") {
		return homePath
	}
	if u.Path == signInPath || u.Path == "/logout" {
		return homePath
	}
	return next
}

// readJSON decodes a small JSON body.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return &httpError{status: http.StatusUnsupportedMediaType, message: "Send application/json."}
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxFormBytes)).Decode(into); err != nil {
		return &httpError{status: http.StatusBadRequest, message: "The body is not the JSON that is expected.", cause: err}
	}
	return nil
}
