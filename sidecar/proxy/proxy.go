// Package proxy takes a request in and hands it to the app: hygiene first, so that
// nothing in it can be read in two ways, and then the reverse proxy.
//
// It also says who asks (a browser that navigates, or something else), where a
// browser may be sent back to, and how a refusal is worded for programs.
//
// It imports api/policy (what a canonical path is), sidecar/identity/wire (the one
// reading of cookies and forwarding headers) and sidecar/appconn (the connections to
// the app), and nothing else of ours. It
// must never decide whether a request may pass, and never read a body.
package proxy

import (
	"errors"
	"log"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/sidecar/appconn"
	"github.com/sallyport/sallyport/sidecar/identity/wire"
)

// The headers that tell the app about the second factor, in canonical form. Clients can
// never set them: hygiene removes whatever starts with this prefix.
const (
	assertionPrefix = "X-Sallyport-"
	// HeaderVerified is "true" or "false" on every request to the app.
	HeaderVerified = assertionPrefix + "Verified"
	// HeaderMethod is "totp" or "recovery", on verified requests.
	HeaderMethod = assertionPrefix + "Method"
	// HeaderVerifiedAt is when the code was entered (RFC 3339, UTC), on verified
	// requests.
	HeaderVerifiedAt = assertionPrefix + "Verified-At"
)

// Assertion is what the app is told about the request's second factor. The zero
// value says that there is none. Requests may share one.
type Assertion struct{ verified, method, at []string }

// Verified returns the Assertion of a code that was entered at a time; method is "totp"
// or "recovery".
func Verified(method string, at time.Time) Assertion {
	return Assertion{verified: []string{"true"}, method: []string{method}, at: []string{at.UTC().Format(time.RFC3339)}}
}

func (a Assertion) set(h http.Header) {
	if a.verified == nil {
		h[HeaderVerified] = []string{"false"}
		return
	}
	h[HeaderVerified], h[HeaderMethod], h[HeaderVerifiedAt] = a.verified, a.method, a.at
}

// Forwarding says how one request goes to the app.
type Forwarding struct {
	// Assertion is what the app is told.
	Assertion Assertion
	// Exempt removes the headers by which some apps are told of another path or
	// another method: the exemption was granted for the request line alone.
	Exempt bool
	// DropSetCookies removes all cookies from the answer. An app that was asked
	// without the request's cookies would set a fresh anonymous session, and so
	// sign its own user out.
	DropSetCookies bool
	// OnResponse looks at the answer before the client gets it, and may change its
	// headers. An error makes it a failure of the app. May be nil.
	OnResponse func(*http.Response) error
}

// Config is what a Proxy works with.
type Config struct {
	// App is the app's origin. Required.
	App *url.URL
	// OwnCookies names the sidecar's cookies: the app neither sees nor sets them.
	OwnCookies []string
	// ErrorHandler answers when the app does not. It is not called for clients
	// that are gone. Default: a 502 as problem details.
	ErrorHandler func(w http.ResponseWriter, r *http.Request, err error)
	// Log takes what goes wrong once an answer has begun. Default: nothing is
	// logged.
	Log *slog.Logger
}

// Proxy hands requests to one app. It is safe for concurrent use.
type Proxy struct {
	app        *url.URL
	own        func(wire.Pair) bool
	overrides  wire.HeaderSet
	onError    func(w http.ResponseWriter, r *http.Request, err error)
	http1      *appconn.Transport
	http2      *http.Transport
	buffers    *bufferPool
	log        *slog.Logger
	reverseLog *log.Logger
}

// New returns a Proxy. Call Close when it is no longer used.
func New(c Config) *Proxy {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	p := &Proxy{
		app: c.App, own: wire.Named(c.OwnCookies), overrides: wire.NewHeaderSet(overrides()...), onError: c.ErrorHandler,
		http1: appconn.New(c.App, newTransport()), http2: newCleartextHTTP2Transport(), buffers: newBufferPool(),
		log: c.Log, reverseLog: log.New(reverseLog{c.Log}, "", 0),
	}
	if p.onError == nil {
		p.onError = badGateway
	}
	return p
}

// Close lets go of idle connections. Requests in flight are not touched.
func (p *Proxy) Close() {
	p.http1.CloseIdleConnections()
	p.http2.CloseIdleConnections()
}

// Forward sends a request that passed hygiene to the app, and the app's answer to
// the client. It does not change r. Path and query go as they came.
func (p *Proxy) Forward(w http.ResponseWriter, r *http.Request, f Forwarding) {
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		var done func()
		r, done = fullDuplex(w, r)
		defer done()
	}
	x := &exchange{forward: forward{Forwarding: f, proxy: p, in: r}, w: w}
	if r.Header.Get("Upgrade") == "" && !x.isHTTP2() {
		x.run()
		return
	}
	(&httputil.ReverseProxy{
		// Rewrite and not Director: with Director, a client's Connection header can
		// take away the headers that are set here.
		Rewrite:        x.rewrite,
		ModifyResponse: x.modify,
		ErrorHandler:   x.fail,
		Transport:      x,
		FlushInterval:  -1, // what the app has written is for the client to see
		BufferPool:     p.buffers,
		ErrorLog:       p.reverseLog,
	}).ServeHTTP(w, r)
}

// forward is one request on its way to the app.
type forward struct {
	Forwarding

	proxy *Proxy
	in    *http.Request
}

// rewrite makes the request to the app of that of the reverse proxy, which has removed
// hop-by-hop and forwarding headers from it.
func (f *forward) rewrite(pr *httputil.ProxyRequest) {
	over := http.Header{}
	f.address(pr.Out, over)
	maps.Copy(pr.Out.Header, over)
	forwardTrailers(f.in, pr.Out)
}

// address turns a copy of the client's request to the app, and says in over what the app
// may know in place of the client's headers: without values, one is left out. What was meant by a query that Go cannot parse is for the app to say, so each
// goes as it came.
func (f *forward) address(out *http.Request, over http.Header) {
	in, app := f.in, f.proxy.app
	out.URL.Scheme, out.URL.Host = app.Scheme, app.Host
	out.URL.RawQuery, out.URL.ForceQuery = in.URL.RawQuery, in.URL.ForceQuery
	if raw := rawPath(in); raw != out.URL.EscapedPath() && strings.HasPrefix(raw, "/") && !strings.HasPrefix(raw, "//") {
		// Bytes such as "|" may not stand in a path, yet browsers send them; Go
		// would escape them. Opaque is sent as it is.
		out.URL.Opaque = raw
	}
	wire.Forwarded(over, in)
	line := wire.CookieLine(in.Header)
	if rest := wire.Without(line, f.proxy.own); rest != line || len(in.Header["Cookie"]) > 1 {
		over["Cookie"] = wire.CookieLines(rest)
	}
	if f.Exempt {
		f.proxy.dropOverrides(over, in.Header)
	}
	f.Assertion.set(over)
}

// overrides name another path or method to apps that heed them.
func overrides() []string {
	return []string{
		"X-Original-Url", "X-Original-Uri", "X-Original-Path", "X-Original-Method", "X-Envoy-Original-Path",
		"X-Rewrite-Url", "X-Forwarded-Uri", "X-Forwarded-Path", "X-Forwarded-Prefix", "X-Forwarded-Method",
		"X-Http-Method-Override", "X-Http-Method", "X-Method-Override",
	}
}

func (p *Proxy) dropOverrides(over, in http.Header) {
	for name := range in {
		if p.overrides.Has(name) {
			over[name] = nil
		}
	}
}

var errSwitched = errors.New("the app switched protocols without being asked to")

// modify cleans the app's answer before anyone else sees it.
func (f *forward) modify(response *http.Response) error {
	if response.StatusCode == http.StatusSwitchingProtocols && response.Request.Header.Get("Upgrade") == "" {
		return errSwitched
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		f.proxy.lighten(response)
	}
	f.proxy.dropCookies(response.Header, f.Forwarding)
	if f.OnResponse == nil {
		return nil
	}
	return f.OnResponse(response)
}

// dropCookies removes the cookies that the app may not set. Clear-Site-Data is
// left alone: an app that clears the browser's cookies signs its user out, and the
// verification may go with it.
func (p *Proxy) dropCookies(h http.Header, f Forwarding) {
	if f.DropSetCookies {
		h.Del("Set-Cookie")
		return
	}
	lines := h["Set-Cookie"]
	if len(lines) == 0 {
		return
	}
	kept := slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
		return p.own(wire.ReadSetCookie(line, time.Time{}).Pair)
	})
	if len(kept) == 0 {
		h.Del("Set-Cookie")
		return
	}
	h["Set-Cookie"] = kept
}

// fail answers for an app that did not. For a request whose context has ended
// there is nobody to tell and nothing to log; the status is for the case that the
// client is still there and only the request was cut.
func (f *forward) fail(w http.ResponseWriter, _ *http.Request, err error) {
	if f.in.Context().Err() != nil {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	f.proxy.onError(w, f.in, err)
}

func badGateway(w http.ResponseWriter, r *http.Request, _ error) {
	WriteProblem(w, r, Problem{
		Status: http.StatusBadGateway, Code: "app_unavailable", Title: "The app does not answer",
		Detail: "The app behind this address could not be reached. Try again in a moment.",
	})
}
