package identity

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/identity/wire"
	"github.com/sallyport/sallyport/sidecar/recent"
)

// maxAnswers bounds how many answers are remembered.
const maxAnswers = 10_000

// maxCacheFor bounds how long a signed-out session may still count, whatever a
// policy says.
const maxCacheFor = 5 * time.Second

// EndpointOptions are what an Endpoint works with beside the policy.
type EndpointOptions struct {
	// App is the app's origin. Required.
	App *url.URL
	// Transport carries the questions. It must not be shared with proxied traffic:
	// a connection that a client poisoned must not answer who the client is.
	// Default: one of its own, without proxy and without compression.
	Transport http.RoundTripper
	// OwnCookies names the sidecar's cookies, which the app never sees.
	OwnCookies []string
	// Clock tells the time. Required.
	Clock func() time.Time
	// Observer, if any.
	Observer Observer
}

// Endpoint asks the app who its session belongs to.
type Endpoint struct {
	target    url.URL
	transport http.RoundTripper
	cookies   []string
	own       func(wire.Pair) bool
	subject   Pointer
	account   Pointer
	roles     Pointer
	format    policy.AnswerFormat
	anonymous []int
	// signInPath is where the app redirects nobody to, "" where it does not.
	signInPath string
	answers    *recent.Cache[Identity]
	clock      func() time.Time
	observer   Observer
}

var _ Reserver = (*Endpoint)(nil)

// NewEndpoint returns a source that asks the app, under a policy with its
// defaults filled in.
func NewEndpoint(cfg policy.EndpointIdentity, o EndpointOptions) (*Endpoint, error) {
	if o.App == nil || o.App.Host == "" {
		return nil, errors.New("identity.endpoint needs the app's origin")
	}
	if o.Clock == nil {
		return nil, errors.New("identity.endpoint needs a clock")
	}
	if !policy.CanonicalPath(cfg.Path) {
		return nil, fmt.Errorf("identity.endpoint.path %q is not a plain path", cfg.Path)
	}
	if cfg.Subject == "" {
		return nil, errors.New("identity.endpoint.subject is missing")
	}
	e := &Endpoint{
		target:    url.URL{Scheme: o.App.Scheme, Host: o.App.Host, Path: cfg.Path},
		transport: o.Transport, cookies: cfg.Cookies, own: wire.Named(o.OwnCookies),
		format: policy.AnswerJSON, anonymous: cfg.AnonymousStatus, signInPath: cfg.AnonymousLocation,
		clock: o.Clock, observer: o.Observer,
	}
	if cfg.Format != "" {
		e.format = cfg.Format
	}
	if e.transport == nil {
		e.transport = newAskTransport()
	}
	for _, p := range []struct {
		field, text string
		into        *Pointer
	}{{"subject", cfg.Subject, &e.subject}, {"account", cfg.Account, &e.account}, {"roles", cfg.Roles, &e.roles}} {
		pointer, err := ParsePointer(p.text)
		if err != nil {
			return nil, fmt.Errorf("identity.endpoint.%s: %w", p.field, err)
		}
		*p.into = pointer
	}
	var lifetime time.Duration
	if cfg.CacheFor != nil {
		lifetime = min(cfg.CacheFor.Duration, maxCacheFor)
	}
	var err error
	e.answers, err = recent.New[Identity](lifetime, maxAnswers, o.Clock)
	return e, err
}

func newAskTransport() http.RoundTripper {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: askTimeout}).DialContext,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        askIdle,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxAnswer,
	}
}

// evidence is everything in a request that may make it somebody's.
type evidence struct {
	cookies       string // the Cookie line without the sidecar's own
	listed        string // those of them that the policy lists
	ambiguous     bool   // one that the policy lists came more than once
	authorization []string
}

func (e *Endpoint) evidence(r *http.Request) evidence {
	ev := evidence{cookies: wire.Without(wire.CookieLine(r.Header), e.own), authorization: r.Header["Authorization"]}
	ev.listed, ev.ambiguous = e.listed(ev.cookies)
	return ev
}

// ofCookies is the evidence without the header.
func (ev evidence) ofCookies() evidence {
	ev.authorization = nil
	return ev
}

// ofHeader is the evidence without the cookies.
func (ev evidence) ofHeader() evidence { return evidence{authorization: ev.authorization} }

// name names the evidence of a request, for what is remembered.
func (ev evidence) name(r *http.Request) string {
	var short [512]byte // most fit; what is longer grows out of it
	all := short[:0]
	part := func(values ...string) {
		all = binary.BigEndian.AppendUint64(all, uint64(len(values)))
		for _, v := range values {
			all = append(binary.BigEndian.AppendUint64(all, uint64(len(v))), v...)
		}
	}
	part(ev.cookies)
	part(ev.authorization...)
	part(r.Host)
	part(r.Header["X-Forwarded-Host"]...)
	part(r.Header["X-Forwarded-Proto"]...)
	sum := sha256.Sum256(all)
	return string(sum[:])
}

// Identify asks the app, or remembers what it said moments ago. Any cookie and
// any Authorization is reason enough to ask, not only what the policy lists: a
// remember-me cookie that nobody thought of must not make its owner a nobody.
//
// An Authorization header and cookies are judged each by itself. Apps differ in
// which of the two they heed, and one app may differ from path to path. So a header
// that is nobody's is removed, and one that is somebody's goes on only beside
// cookies of the same user, or of nobody.
func (e *Endpoint) Identify(ctx context.Context, r *http.Request) Identity {
	ev := e.evidence(r)
	if ev.ambiguous || len(ev.authorization) > 1 {
		return indeterminate(ReasonMalformed)
	}
	if len(ev.authorization) == 0 {
		return e.judge(ctx, r, ev)
	}
	byHeader := e.judge(ctx, r, ev.ofHeader())
	if byHeader.Kind == Indeterminate {
		return byHeader
	}
	byCookies := e.judge(ctx, r, ev.ofCookies())
	switch {
	case byCookies.Kind == Indeterminate:
		return byCookies
	case byHeader.Kind == Anonymous:
		r.Header.Del("Authorization")
		return byCookies
	case byCookies.Kind == Authenticated && byCookies.Subject != byHeader.Subject:
		return indeterminate(ReasonMalformed)
	}
	byHeader.SignIn = ev.signIn()
	return byHeader
}

// judge asks about one set of credentials. The app's anonymous session stays in a
// request that is nobody's: the app has just said so of these very cookies, and
// among them is the form token of its sign-in page.
func (e *Endpoint) judge(ctx context.Context, r *http.Request, ev evidence) Identity {
	if ev.cookies == "" && len(ev.authorization) == 0 {
		return Identity{Kind: Anonymous}
	}
	id, _ := e.answers.Get(ctx, recent.Key{Owner: ev.name(r)}, func() recent.Ask[Identity] {
		question := e.question(r, ev)
		return func(ctx context.Context) (Identity, bool, error) { return e.ask(ctx, question) }
	}) // the answer says itself why it is none
	if id.Kind == Authenticated {
		id.SignIn = ev.signIn()
	}
	return id
}

// signIn names the sign-in by the cookies that the policy lists. Where none of
// them came, everything that came names it: too fine a name only asks for a code
// more often.
func (ev evidence) signIn() string {
	id := ev.listed
	if id == "" {
		id = ev.cookies
	}
	return withAuthorization(id, ev.authorization)
}

// listed returns those of the cookies that the policy lists, and whether one of them is
// there more than once.
func (e *Endpoint) listed(cookies string) (listed string, ambiguous bool) {
	for _, name := range e.cookies {
		count := 0
		for cookie := range wire.Written(cookies, name) {
			if listed == "" {
				listed = cookie // as a rule the only one, of which no copy is made
			} else {
				listed += "; " + cookie
			}
			count++
		}
		ambiguous = ambiguous || count > 1
	}
	return listed, ambiguous
}

// withAuthorization makes the header part of the name: with other credentials
// beside the same cookie it is another sign-in.
func withAuthorization(id string, authorization []string) string {
	if len(authorization) == 0 {
		return id
	}
	return id + "\n" + strings.Join(authorization, "\n")
}

// Strip removes every cookie and the Authorization header: nobody has said which
// of them make the request somebody's.
func (e *Endpoint) Strip(r *http.Request) {
	r.Header.Del("Authorization")
	r.Header.Del("Cookie")
}

// Reserved names what other products' proxies set: no header says who is signed in.
func (e *Endpoint) Reserved() []string { return foreignHeaders[:] }

// Trusts nobody to set them.
func (e *Endpoint) Trusts(netip.Addr) bool { return false }

// Forget drops the answers that were remembered for the request's credentials.
func (e *Endpoint) Forget(r *http.Request) {
	ev := e.evidence(r)
	e.answers.Forget(ev.ofCookies().name(r))
	e.answers.Forget(ev.ofHeader().name(r))
}

// Observe follows the listed cookies. Any Set-Cookie at all makes the sidecar ask
// anew on the next request, since nobody knows what the others mean to the app.
//
// A listed cookie that the request carried and the response takes away ends the
// sign-in, whatever else the response sets. Taking away one that was not there
// means nothing.
func (e *Endpoint) Observe(r *http.Request, response http.Header) (signIn string, changed bool) {
	lines := response["Set-Cookie"]
	if len(lines) == 0 {
		return "", false
	}
	e.Forget(r)
	ev := e.evidence(r)
	before := ev.signIn()
	set, ended := e.touched(lines)
	after := ev.cookies
	for _, name := range e.cookies {
		value, isSet := set[name]
		switch {
		case isSet:
			after = wire.Without(after, func(p wire.Pair) bool { return p.Name == name })
			after = strings.TrimPrefix(after+"; "+name+"="+value, "; ")
		case ended[name] && len(wire.Values(ev.cookies, name)) > 0:
			return "", true
		}
	}
	if len(set) == 0 {
		return before, false
	}
	listed, _ := e.listed(after)
	signIn = withAuthorization(listed, ev.authorization)
	return signIn, signIn != before
}

// touched sorts the listed cookies of a response into those that are set and
// those that are ended. One that is both is set: apps clear an old path or domain
// of a cookie beside setting it.
func (e *Endpoint) touched(lines []string) (set map[string]string, ended map[string]bool) {
	set, ended = map[string]string{}, map[string]bool{}
	for _, line := range lines {
		c := wire.ReadSetCookie(line, e.clock())
		switch {
		case !slices.Contains(e.cookies, c.Name):
		case c.Ended:
			ended[c.Name] = true
		default:
			set[c.Name] = c.Value
		}
	}
	return set, ended
}
