// Package web serves the sidecar's own routes: enrolment, the challenge after the
// password, recovery codes, disabling, and the status JSON. Handlers return
// errors; one table turns those into what a person reads.
//
// It may import the domain (mfa, session), the pages, the client of the app and
// proxy's rules for who asks and where to return. It must never touch Redis, and
// must never decide who is signed in or whether a request may pass: it is told,
// as a Visitor.
//
// # What a browser is defended against here
//
// Every change is a POST that passes two checks: http.CrossOriginProtection, with
// no bypass patterns, and a form token bound to the browser's token and to the
// action. No page can be framed, cached or scripted from elsewhere. A secret is
// only ever in the answer to the POST that made it. The protection covers these
// routes alone: on the app's own routes it would refuse what the app allows.
package web

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/identity"
	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/session"
	"github.com/sallyport/sallyport/sidecar/web/pages"
)

const (
	maxForm       = 4 << 10 // bytes
	changeTimeout = 10 * time.Second
)

// App is what the pages ask of the app.
type App interface {
	// CheckPassword returns nil, mfa.ErrWrongPassword, or another error where
	// nothing is known.
	CheckPassword(ctx context.Context, from *http.Request, account, password string) error
	// SignOut ends the app's session and returns the Set-Cookie lines of its answer.
	SignOut(ctx context.Context, from *http.Request) ([]string, error)
}

// Visitor is who asks, as the server established it for this request.
type Visitor struct {
	Identity identity.Identity
	User     mfa.User
	// Binding names the app's sign-in; "" where the source has no id of it.
	Binding string
	// Token that the browser sent, "" if none that is well formed.
	Token string
	// Record is nil where the user is not enrolled.
	Record *mfa.Record
	// SignIn is the verified sign-in; nil where the request is not verified.
	SignIn *session.SignIn
	// Required: the policy demands a second factor of this user.
	Required bool
}

// Config is what a Handler works with. Every field is required.
type Config struct {
	Rules   *policy.Rules
	MFA     *mfa.Service
	Keeper  *session.Keeper
	Pages   *pages.Renderer
	App     App
	Cookies Cookies
	Clock   func() time.Time
	Log     *slog.Logger
	// Fault is told of every error that people are not told of.
	Fault func(context.Context, error)
}

// Handler serves the routes under the policy's twoFactorPath.
type Handler struct {
	Config

	router *chi.Mux
	assets http.Handler
}

// New returns a Handler.
func New(c Config) *Handler {
	h := &Handler{Config: c, assets: c.Pages.Assets()}
	prefix := c.Rules.App.TwoFactorPath
	r := chi.NewRouter()
	r.Use(middleware.GetHead)
	r.NotFound(h.handle(h.notFound))
	r.MethodNotAllowed(h.handle(h.notAllowed))
	r.Get(prefix, h.handle(h.card))
	r.Get(prefix+"/challenge", h.handle(h.challenge))
	r.Get(prefix+"/status", h.status)
	r.Group(func(r chi.Router) {
		r.Use(h.crossOrigin)
		r.Post(prefix+"/enable", h.change("enable", h.enable))
		r.Post(prefix+"/confirm", h.change("confirm", h.confirm))
		r.Post(prefix+"/recovery-codes", h.change("recovery-codes", h.regenerate))
		r.Post(prefix+"/disable", h.change("disable", h.disable))
		r.Post(prefix+"/challenge", h.change("challenge", h.answer))
		r.Post(prefix+"/cancel", h.change("cancel", h.cancel))
	})
	h.router = r
	return h
}

// Assets serves the style sheet and the script; anyone may have them.
func (h *Handler) Assets() http.Handler { return h.assets }

type visitorKey struct{}

// Serve answers a signed-in visitor's request for a path under the prefix.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, v Visitor) {
	h.router.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitorKey{}, v)))
}

func visitor(r *http.Request) Visitor {
	v, _ := r.Context().Value(visitorKey{}).(Visitor)
	return v
}

type handlerFunc func(w http.ResponseWriter, r *http.Request, v Visitor) error

func (h *Handler) handle(f handlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r, visitor(r)); err != nil {
			h.fail(w, r, err)
		}
	}
}

// change wraps a handler that changes something. It goes on when the client hangs
// up: an attempt that was judged must be counted, and a change that was begun
// must not stop half way.
func (h *Handler) change(action string, f handlerFunc) http.HandlerFunc {
	return h.handle(func(w http.ResponseWriter, r *http.Request, v Visitor) error {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			return errBadForm
		}
		if !h.formTokenFits(r, v, action) {
			return errFormToken
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), changeTimeout)
		defer cancel()
		return f(w, r.WithContext(ctx), v)
	})
}

func (h *Handler) crossOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(h.handle(func(http.ResponseWriter, *http.Request, Visitor) error {
		return errCrossOrigin
	}))
	return protection.Handler(next)
}

func (h *Handler) notFound(http.ResponseWriter, *http.Request, Visitor) error { return errNotFound }

// notAllowed says what is allowed instead (RFC 9110, section 15.5.6).
func (h *Handler) notAllowed(w http.ResponseWriter, r *http.Request, _ Visitor) error {
	var allowed []string
	if h.router.Match(chi.NewRouteContext(), http.MethodGet, r.URL.Path) {
		allowed = append(allowed, http.MethodGet, http.MethodHead)
	}
	if h.router.Match(chi.NewRouteContext(), http.MethodPost, r.URL.Path) {
		allowed = append(allowed, http.MethodPost)
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return errMethod
}

// limits of a verified sign-in under the policy.
func (h *Handler) limits() session.Limits { return Limits(h.Rules) }

// Limits returns how long a verification counts under the rules.
func Limits(rules *policy.Rules) session.Limits {
	return session.Limits{MaxAge: rules.Session.MaxAge.Duration, Idle: rules.Session.Idle.Duration}
}
