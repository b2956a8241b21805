package portal

import (
	"io"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

// routes is the table of what the portal answers to.
func (p *Portal) routes() http.Handler {
	r := chi.NewRouter()
	r.Use(middleware.GetHead)
	r.NotFound(p.handle(func(http.ResponseWriter, *http.Request) error { return notFound() }))
	r.MethodNotAllowed(p.handle(methodNotAllowed))

	r.Get("/", p.handle(p.showLanding))
	r.Get("/about", p.handle(p.showAbout))
	r.Get(signInPath, p.handle(p.showSignIn))
	r.Post(signInPath, p.handle(p.signIn))
	r.Post("/logout", p.handle(p.signOut))
	r.Post("/api/login", p.handle(p.signInJSON))
	r.Get("/static/*", p.handle(p.serveStatic))
	r.Get("/healthz", plainText("ok\n"))
	r.Get("/robots.txt", plainText("User-agent: *\nDisallow: /admin\nDisallow: /api/\nDisallow: /my\n"))

	r.Group(func(r chi.Router) {
		r.Use(p.requirePage)
		r.Get(homePath, p.handle(p.showDashboard))
		r.Get("/my/profile", p.handle(p.showProfile))
		r.Get("/my/documents", p.handle(p.showDocuments))
		r.Post("/my/documents", p.handle(p.upload))
		r.Get("/my/download/large", p.handle(p.downloadLarge))
		r.Get("/my/live", p.handle(p.showLive))
		r.With(p.requireAdmin).Get("/admin", p.handle(p.showAdmin))
	})
	r.Group(func(r chi.Router) {
		r.Use(p.requireAPI(sessionChallenge))
		r.Get("/api/me", p.handle(p.me))
		r.Get("/api/tasks", p.handle(p.listTasks))
		r.Post("/api/tasks", p.handle(p.addTask))
		r.Delete("/api/tasks/{id}", p.handle(p.removeTask))
	})
	r.Group(func(r chi.Router) {
		r.Use(p.requireStream)
		r.Get("/ws/echo-chat", p.handle(p.echoChat))
		r.Get("/events/clock", p.handle(p.clockEvents))
	})

	// WebDAV brings methods that the router does not know.
	dav := p.requireAPI(basicChallenge)(p.handle(p.dav))
	return p.guard(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == davPath || strings.HasPrefix(req.URL.Path, davPath+"/") {
			dav.ServeHTTP(w, req)
			return
		}
		r.ServeHTTP(w, req)
	}))
}

// guard stands before every route.
//
// Threat: another origin's page that makes a browser change something here, or
// that frames a page; a script that got into a page; a shared cache. Requests
// that change something are refused when the browser says that they come from
// another origin; a client that says nothing is no browser and carries no
// ambient credential worth borrowing. Pages may load nothing but the portal's
// own files, and nothing is cacheable unless a route says so.
func (p *Portal) guard(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(p.handle(func(http.ResponseWriter, *http.Request) error {
		return &httpError{status: http.StatusForbidden, message: "This request came from another site."}
	}))
	protected := origins.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.onRequest(r)
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
			"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		protected.ServeHTTP(w, r)
	})
}

// methodNotAllowed names the methods that would have been right, as RFC 9110
// demands; the router keeps them to itself where its own answer is replaced.
func methodNotAllowed(_ http.ResponseWriter, r *http.Request) error {
	routes, path := chi.RouteContext(r.Context()).Routes, r.URL.EscapedPath()
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete} {
		asked := method
		if method == http.MethodHead {
			asked = http.MethodGet
		}
		if routes.Match(chi.NewRouteContext(), asked, path) {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 { // a method that the router does not know, anywhere
		return notFound()
	}
	return notAllowed(allowed...)
}

func notFound() error {
	return &httpError{status: http.StatusNotFound, message: "There is nothing at this address."}
}

func notAllowed(allowed ...string) error {
	return &httpError{
		status: http.StatusMethodNotAllowed, message: "This address does not answer to that method.",
		header: http.Header{"Allow": {strings.Join(allowed, ", ")}},
	}
}

func plainText(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, text)
	}
}
