package portal

import (
	"context"
	"errors"
	"net/http"
	"net/url"
)

// sessionCookie names the cookie that carries the session's id, and before a
// sign-in the id that the sign-in form is bound to.
const sessionCookie = "session"

// caller is who made a request.
type caller struct {
	user *account
	// session is the session's id, "" where the request brought its password along.
	session string
}

type callerKey struct{}

// callerOf returns who made the request; only behind requirePage or requireAPI.
func callerOf(r *http.Request) caller {
	c, _ := r.Context().Value(callerKey{}).(caller)
	return c
}

// bySession finds the caller by the session cookie.
//
// A request that carries an Authorization header too has two credentials, and a
// front door might judge one while the app obeys the other. So the rule is the
// same for every path: where there is an Authorization header, the cookie
// counts for nothing. Two session cookies count for nothing either.
//
// An error says that it could not be found out, which is no "nobody".
func (p *Portal) bySession(r *http.Request) (caller, bool, error) {
	if len(r.Header.Values("Authorization")) > 0 {
		return caller{}, false, nil
	}
	id, ok := sessionID(r)
	if !ok {
		return caller{}, false, nil
	}
	userID, err := p.sessions.Find(r.Context(), id)
	if err != nil {
		return caller{}, false, err
	}
	user, ok := p.directory.byID(userID)
	return caller{user: user, session: id}, ok, nil
}

// byBasic finds the caller by HTTP Basic credentials.
func (p *Portal) byBasic(r *http.Request) (caller, bool, error) {
	name, password, ok := r.BasicAuth()
	if !ok || len(r.Header.Values("Authorization")) != 1 {
		return caller{}, false, nil
	}
	user, err := p.directory.check(r.Context(), name, password)
	switch {
	case errors.Is(err, errBadCredentials):
		return caller{}, false, nil
	case err != nil:
		return caller{}, false, err
	}
	return caller{user: user}, true, nil
}

// sessionID returns the one session cookie of a request.
func sessionID(r *http.Request) (string, bool) {
	cookies := r.CookiesNamed(sessionCookie)
	if len(cookies) != 1 || cookies[0].Value == "" {
		return "", false
	}
	return cookies[0].Value, true
}

// requirePage lets signed-in browsers through and sends everybody else to the
// sign-in page, to come back afterwards.
func (p *Portal) requirePage(next http.Handler) http.Handler {
	return p.handle(func(w http.ResponseWriter, r *http.Request) error {
		who, ok, err := p.bySession(r)
		if err != nil {
			return err
		}
		if !ok {
			target := signInPath
			if r.Method == http.MethodGet || r.Method == http.MethodHead {
				target += "?next=" + url.QueryEscape(r.URL.RequestURI())
			}
			http.Redirect(w, r, target, http.StatusSeeOther)
			return nil
		}
		next.ServeHTTP(w, withCaller(r, who))
		return nil
	})
}

// requireAdmin comes after requirePage and refuses whoever holds no
// administrative role.
func (p *Portal) requireAdmin(next http.Handler) http.Handler {
	return p.handle(func(w http.ResponseWriter, r *http.Request) error {
		if !callerOf(r).user.Admin() {
			return &httpError{status: http.StatusForbidden, message: "This area is for administrators."}
		}
		next.ServeHTTP(w, r)
		return nil
	})
}

// requireAPI lets requests with a session or with Basic credentials through and
// answers 401 to everybody else. The challenge it sends is the given one.
func (p *Portal) requireAPI(challenge string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return p.handle(func(w http.ResponseWriter, r *http.Request) error {
			who, ok, err := p.bySession(r)
			if err == nil && !ok {
				who, ok, err = p.byBasic(r)
			}
			if err != nil {
				return err
			}
			if !ok {
				return unauthorized(challenge)
			}
			next.ServeHTTP(w, withCaller(r, who))
			return nil
		})
	}
}

// requireStream lets requests with a session through and answers 401 to
// everybody else. Streams need a session: they end when it does.
func (p *Portal) requireStream(next http.Handler) http.Handler {
	return p.handle(func(w http.ResponseWriter, r *http.Request) error {
		who, ok, err := p.bySession(r)
		if err != nil {
			return err
		}
		if !ok {
			return unauthorized(sessionChallenge)
		}
		next.ServeHTTP(w, withCaller(r, who))
		return nil
	})
}

func withCaller(r *http.Request, who caller) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, who))
}

// The challenges of a 401. The first makes no browser ask for a password, which
// a script's request should never cause; the second is for WebDAV clients,
// which sign in no other way.
const (
	sessionChallenge = `Session realm="portal"`
	basicChallenge   = `Basic realm="portal", charset="UTF-8"`
)

func unauthorized(challenge string) error {
	return &httpError{
		status: http.StatusUnauthorized, message: "Sign in first.",
		header: http.Header{"Www-Authenticate": {challenge}},
	}
}
