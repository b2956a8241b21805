package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/authz"
	"github.com/sallyport/sallyport/sidecar/identity"
	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/proxy"
	"github.com/sallyport/sallyport/sidecar/recent"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/seal"
	"github.com/sallyport/sallyport/sidecar/session"
	"github.com/sallyport/sallyport/sidecar/web"
)

const (
	// touchEvery is how often a verified sign-in's last use is written down.
	touchEvery = time.Minute
	// recallFor is how long a verified sign-in counts without the store being asked, and
	// so how long another sidecar's ending of it may go unnoticed here.
	recallFor = time.Second
	// maxRecalled bounds how many verified sign-ins are remembered.
	maxRecalled = 10_000
)

// door serves requests under one policy. It never changes; another policy is
// another door.
type door struct {
	realm string
	// managed doors were told the epoch of their store, or "" where it is not known.
	managed bool
	ring    *seal.Ring
	epoch   string
	rules   *policy.Rules
	store   *redisstore.Store
	hygiene *proxy.Hygiene
	source  identity.Source
	mfa     *mfa.Service
	keeper  *session.Keeper
	// verified are the sign-ins that the store knew for verified a moment ago.
	verified *recent.Cache[standing]
	web      *web.Handler
	cookies  web.Cookies
	app      *proxy.Proxy
	answer   *answerer
	metrics  *metrics
	audit    *audit
	clock    func() time.Time
	log      *slog.Logger
	outages  *outages
	recheck  time.Duration
	// trust is why the store may not be believed, or that it may be.
	trust atomic.Pointer[trust]
	// stamp marks the epoch as ours.
	stamp redisstore.Stamp
	// latest is the door of the policy in force, by which open streams are judged.
	latest func() *door
}

// standing is how a user and one sign-in stand with the second factor. What it points to
// may not be changed: requests share it.
type standing struct {
	user    mfa.User
	binding string // names the app's sign-in, "" where it has no name
	record  *mfa.Record
	signIn  *session.SignIn
	// assertion is what the app is told of signIn.
	assertion proxy.Assertion
}

// visit is what is known about one request on its way.
type visit struct {
	class    authz.Path
	own      bool
	pass     policy.Passage // what of the credentials reaches the app on an exempt path
	token    string
	back     string // where to return to after the app's sign-in
	visitor  web.Visitor
	decision authz.Decision
	told     proxy.Assertion // what the app is told while the sign-in is verified
}

// ServeHTTP takes a request the whole way: hygiene, identity, decision, and then
// the app, a page, or a refusal.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	visit := d.read(r)
	if refusal := d.hygiene.Clean(r); refusal != nil {
		d.metrics.refusals.WithLabelValues(refusal.Code).Inc()
		d.audit.write(r.Context(), eventRefused, slog.String("code", refusal.Code))
		d.answer.refusal(w, r, refusal)
		return
	}
	d.classify(r, visit)
	switch {
	case visit.own && strings.HasPrefix(r.URL.Path, d.rules.App.TwoFactorPath+"/assets/"):
		d.web.Assets().ServeHTTP(w, r)
		return
	case visit.class == authz.PathExempt:
		d.metrics.decided(authz.Allow)
		d.forward(w, r, visit)
		return
	}
	if err := d.decide(r, visit); err != nil {
		d.unavailable(w, r, err)
		return
	}
	d.metrics.decided(visit.decision)
	d.serve(w, r, visit)
}

// read takes the sidecar's own cookies before hygiene removes them.
func (d *door) read(r *http.Request) *visit {
	v := &visit{}
	if token, ok := proxy.CookieValue(r, d.cookies.Token()); ok && session.WellFormed(token) {
		v.token = token
	}
	if back, ok := proxy.CookieValue(r, d.cookies.Return()); ok {
		v.back = d.cookies.DecodeReturn(back)
	}
	return v
}

func (d *door) classify(r *http.Request, v *visit) {
	path, canonical := proxy.CanonicalPath(r)
	if !canonical {
		return // the app's, and never exempt
	}
	app := d.rules.App
	if path == app.TwoFactorPath || strings.HasPrefix(path, app.TwoFactorPath+"/") {
		v.own = true
		return
	}
	switch {
	// Before exemptions: a sign-out that a policy exempts still ends a verification.
	case path == app.SignOut.Path && r.Method == app.SignOut.Method:
		v.class = authz.PathSignOut
	case path == app.SignInPath || path == app.PasswordCheck.Path:
		v.class = authz.PathSignIn
	default:
		if pass, ok := d.rules.Exempts(r.Method, path, r.Header["Authorization"]); ok {
			v.class, v.pass = authz.PathExempt, pass
		}
	}
}

// decide establishes who asks and what may happen. An error means that the state
// of the second factor cannot be read: nothing passes.
func (d *door) decide(r *http.Request, v *visit) error {
	id := d.source.Identify(r.Context(), r)
	d.metrics.identified(id)
	v.visitor = web.Visitor{Identity: id, Token: v.token}
	in := authz.Input{
		Path: v.class, Identity: id.Kind, DenyAnonymous: d.rules.Anonymous == policy.AnonymousDeny,
	}
	if id.Kind == identity.Authenticated {
		if err := d.establish(r.Context(), v); err != nil {
			return err
		}
		in.Enrolled = v.visitor.Record != nil
		in.Verified = v.visitor.SignIn != nil
		in.Required = v.visitor.Required
	}
	v.decision = authz.Decide(in)
	return nil
}

// establish reads the user's enrolment and this sign-in's verification.
func (d *door) establish(ctx context.Context, v *visit) error {
	id, token := v.visitor.Identity, v.token
	v.visitor.Required = d.rules.Requires(id.Roles, id.RolesKnown)
	if err := d.trust.Load().reason(); err != nil {
		return err
	}
	if v.own {
		// What a page shows and changes is what the store says now.
		d.verified.Forget(id.Subject)
	}
	now, err := d.verified.Get(ctx, recent.Key{Owner: id.Subject, Name: token + "\n" + id.SignIn}, func() recent.Ask[standing] {
		return func(ctx context.Context) (standing, bool, error) { return d.stands(ctx, id, token) }
	})
	if err != nil {
		return err
	}
	v.visitor.User, v.visitor.Binding, v.visitor.Record = now.user, now.binding, now.record
	if now.signIn != nil && now.signIn.Counts(d.clock(), web.Limits(d.rules), now.record.Generation, now.binding) {
		v.visitor.SignIn, v.told = now.signIn, now.assertion
	}
	return nil
}

// stands asks the store. Only a verified sign-in is kept: whoever has just enrolled, or
// just passed the challenge, is known for it on the very next request.
func (d *door) stands(ctx context.Context, id identity.Identity, token string) (s standing, keep bool, err error) {
	s.user = d.mfa.User(id.Subject, id.Account)
	s.binding = d.keeper.Binding(s.user.Key, id.SignIn)
	var key string
	if token != "" {
		key = d.keeper.Key(token)
	}
	snapshot, err := d.mfa.Load(ctx, s.user, key)
	if err != nil {
		return standing{}, false, err
	}
	s.record = snapshot.Record
	if s.record == nil || snapshot.SignIn == nil {
		return s, false, nil
	}
	s.signIn, err = d.keeper.Decode(s.user.Key, key, snapshot.SignIn)
	if errors.Is(err, session.ErrForged) {
		// Somebody wrote to the store who has no keys. It verifies nothing.
		d.audit.write(ctx, eventForged, slog.String("user", s.user.Key))
		return s, false, nil
	}
	if err != nil {
		return standing{}, false, err
	}
	s.assertion = proxy.Verified(string(s.signIn.Method), s.signIn.VerifiedAt)
	return s, true, nil
}

// serve carries a decision out.
func (d *door) serve(w http.ResponseWriter, r *http.Request, v *visit) {
	signedIn := v.visitor.Identity.Kind == identity.Authenticated
	switch {
	case v.decision == authz.Refuse:
		reason := v.visitor.Identity.Reason
		d.audit.write(r.Context(), eventIndeterminate, slog.String("reason", string(reason)))
		d.answer.indeterminate(w, r, reason)
	case v.own && signedIn:
		d.dropReturn(w, v)
		defer d.verified.Forget(v.visitor.Identity.Subject)
		d.web.Serve(w, r, v.visitor)
	case v.own, v.decision == authz.SignIn:
		d.answer.signIn(w, r, v.own)
	case v.decision == authz.Challenge, v.decision == authz.Enrol:
		d.audit.write(r.Context(), eventDenied,
			slog.String("user", v.visitor.User.Key), slog.String("decision", v.decision.String()))
		d.answer.stepUp(w, r, v)
	case signedIn && v.back != "" && proxy.AskedBy(r) == proxy.Navigation:
		d.comeBack(w, r, v)
	default:
		d.pass(w, r, v)
	}
}

// comeBack takes a user who has just signed in to the page they first asked for.
func (d *door) comeBack(w http.ResponseWriter, r *http.Request, v *visit) {
	d.cookies.EndReturn(w)
	redirect(w, r, proxy.ReturnTo(v.back, d.rules.App.TwoFactorPath))
}

// dropReturn forgets where to return to once a page of the sidecar is reached.
func (d *door) dropReturn(w http.ResponseWriter, v *visit) {
	if v.back != "" {
		d.cookies.EndReturn(w)
	}
}

// pass lets a request through to the app.
func (d *door) pass(w http.ResponseWriter, r *http.Request, v *visit) {
	if d.endsVerification(r, v) {
		d.source.Forget(r)
		if err := d.endVerification(r.Context(), v); err != nil {
			d.unavailable(w, r, err)
			return
		}
	} else {
		d.touch(r.Context(), v)
	}
	defer d.watch(r, v).release()
	d.forward(w, r, v)
}

// endsVerification reports whether the request ends this sign-in's verification:
// the app's sign-out always does, its sign-in does where the identity source has
// no id by which another sign-in could be told apart.
func (d *door) endsVerification(r *http.Request, v *visit) bool {
	switch v.class {
	case authz.PathSignOut:
		return true
	case authz.PathSignIn:
		return r.Method == http.MethodPost && v.visitor.Binding == ""
	default:
		return false
	}
}

func (d *door) endVerification(ctx context.Context, v *visit) error {
	if v.token == "" || v.visitor.User.Key == "" {
		return nil
	}
	defer d.verified.Forget(v.visitor.Identity.Subject)
	// The app's session may end although the client is gone: so does this.
	if err := d.mfa.EndSignIn(context.WithoutCancel(ctx), v.visitor.User, d.keeper.Key(v.token)); err != nil {
		return err
	}
	v.visitor.SignIn = nil
	d.audit.write(ctx, eventSignOut, slog.String("user", v.visitor.User.Key))
	return nil
}

// touch writes down that a verified sign-in is in use, where the policy ends idle
// ones. A failure ends nobody's session now; the next request tries again.
func (d *door) touch(ctx context.Context, v *visit) {
	signIn := v.visitor.SignIn
	if signIn == nil || d.rules.Session.Idle.Duration == 0 || d.clock().Sub(signIn.LastSeen) < touchEvery {
		return
	}
	v.visitor.SignIn = signIn.Used(d.clock())
	d.update(ctx, v, v.visitor.SignIn)
}

// update writes a verified sign-in down. Where that fails it stays as it was: idle
// for longer, or bound to the former session cookie, and so asked for a code
// sooner.
func (d *door) update(ctx context.Context, v *visit, signIn *session.SignIn) {
	defer d.verified.Forget(v.visitor.Identity.Subject)
	key := d.keeper.Key(v.token)
	value, err := d.keeper.Encode(v.visitor.User.Key, key, *signIn)
	if err == nil {
		err = d.mfa.UpdateSignIn(ctx, v.visitor.User, key, value, signIn.TTL(d.clock(), web.Limits(d.rules)))
	}
	if err != nil {
		d.outages.note(ctx, faultSignIn, err)
	}
}

// forward hands the request to the app.
func (d *door) forward(w http.ResponseWriter, r *http.Request, v *visit) {
	r = takeYourTime(w, r)
	exempt := v.class == authz.PathExempt
	stripped := exempt && v.pass != policy.PassCredentials
	if stripped {
		authorization := r.Header["Authorization"]
		d.source.Strip(r)
		r.Header.Del("Cookie")
		r.Header.Del("Authorization")
		if v.pass == policy.PassAuthorization {
			r.Header["Authorization"] = authorization
		}
	}
	d.app.Forward(w, r, proxy.Forwarding{
		Assertion:      v.assertion(),
		Exempt:         exempt,
		DropSetCookies: stripped,
		OnResponse:     func(response *http.Response) error { return d.observe(r, v, response.Header) },
	})
}

func (v *visit) assertion() proxy.Assertion {
	if v.visitor.SignIn == nil { // or not any more
		return proxy.Assertion{}
	}
	return v.told
}

// observe looks at what the app's answer does to the sign-in. Where the app rolls
// its session cookie over, the verification follows; at the app's sign-in it must
// not, for that is a new sign-in.
func (d *door) observe(r *http.Request, v *visit, header http.Header) error {
	if v.class == authz.PathExempt {
		return nil
	}
	if d.endsVerification(r, v) {
		d.cookies.EndToken(header)
	}
	signIn, changed := d.source.Observe(r, header)
	if !changed || v.visitor.SignIn == nil || v.class != authz.PathApp {
		return nil
	}
	ctx := context.WithoutCancel(r.Context())
	if signIn == "" {
		return d.endVerification(ctx, v)
	}
	v.visitor.SignIn = v.visitor.SignIn.Follow(d.keeper.Binding(v.visitor.User.Key, signIn))
	d.update(ctx, v, v.visitor.SignIn)
	return nil
}

// unavailable answers when the state of the second factor cannot be read.
func (d *door) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	if isCut(r.Context(), err) {
		d.answer.nobody(w)
		return
	}
	d.metrics.decided(authz.Refuse)
	d.outages.note(r.Context(), unreadable(err), err)
	d.answer.storeUnavailable(w, r, err)
}
