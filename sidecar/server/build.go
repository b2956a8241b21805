package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/identity"
	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/proxy"
	"github.com/sallyport/sallyport/sidecar/recent"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/seal"
	"github.com/sallyport/sallyport/sidecar/session"
	"github.com/sallyport/sallyport/sidecar/upstream"
	"github.com/sallyport/sallyport/sidecar/web"
	"github.com/sallyport/sallyport/sidecar/web/pages"
)

// build makes the door for a policy, with the keys of a key ring document. It has
// no side effect but what it returns.
func (s *Server) build(p *decree, keys []byte) (*door, error) {
	rules := &p.rules
	realm := p.realm()
	ring, err := seal.Parse(keys, realm)
	if err != nil {
		return nil, fmt.Errorf("read the key ring: %w", err)
	}
	app, err := s.appURL(rules.App.Port)
	if err != nil {
		return nil, err
	}
	cookies := web.Cookies{Insecure: s.InsecureCookies}
	source, err := identity.New(rules.Identity, identity.Options{
		App: app, Clock: s.Clock, OwnCookies: cookies.Names(), Observer: s.asked,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the identity source: %w", err)
	}
	renderer, err := pages.New(site(rules))
	if err != nil {
		return nil, fmt.Errorf("set up the pages: %w", err)
	}
	epoch := p.epoch
	if !p.managed {
		epoch = s.epochs.of(realm)
	}
	store, err := redisstore.New(s.Redis, redisstore.Config{
		Prefix: s.KeyPrefix, Realm: realm, Epoch: epoch, Replicas: s.Replicas, Clock: s.Clock,
		Timeout: s.StoreTimeout,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the store: %w", err)
	}
	domain := mfa.New(mfa.Config{
		Store: store, Ring: ring, Clock: s.Clock, Random: s.Random, Events: s.audit, Issuer: rules.Issuer,
		TicketRequired: rules.Enrolment.Mode != policy.EnrolmentOpen,
		Regulation:     mfa.DefaultRegulation(), Hasher: s.Hasher, ClockSound: s.drift.sound,
	})
	keeper := session.NewKeeper(ring, s.Random)
	verified, err := recent.New[standing](recallFor, maxRecalled, s.Clock)
	if err != nil {
		return nil, fmt.Errorf("set up what is remembered of verified sign-ins: %w", err)
	}
	d := &door{
		realm: realm, managed: p.managed, epoch: epoch, ring: ring, rules: rules, store: store, source: countUnknownRoles(source, rules, s.metrics.rolesUnknown), mfa: domain, keeper: keeper, cookies: cookies,
		verified: verified,
		answer:   &answerer{rules: rules, pages: renderer, cookies: cookies, log: s.Log},
		stamp:    func(value string) string { return ring.Name("epoch", value) },
		metrics:  s.metrics, audit: s.audit, clock: s.Clock, log: s.Log, recheck: s.Recheck, latest: s.current.Load,
		outages: s.outages,
		hygiene: proxy.NewHygiene(proxy.HygieneConfig{
			OwnCookies: cookies.Names(), SignificantCookies: identity.Cookies(rules.Identity),
			TrustedHeaders: source.Reserved(), Trusts: source.Trusts,
		}),
		web: web.New(web.Config{
			Rules: rules, MFA: domain, Keeper: keeper, Pages: renderer, App: upstream.New(app, rules.App),
			Cookies: cookies, Clock: s.Clock, Log: s.Log,
			Fault: func(ctx context.Context, err error) { s.outages.note(ctx, faultPage, err) },
		}),
	}
	if s.epochs.isProven(realm, epoch) {
		d.trust.Store(&trust{})
	}
	d.app = proxy.New(proxy.Config{App: app, OwnCookies: cookies.Names(), Log: s.Log, ErrorHandler: d.appFailed})
	return d, nil
}

// asked takes a question that the identity source put to somebody else.
func (s *Server) asked(ctx context.Context, e identity.Event) {
	s.metrics.asked(e)
	if e.Err != nil && !isCut(ctx, e.Err) {
		s.outages.note(ctx, unidentified(e.Reason), e.Err)
	}
}

func site(rules *policy.Rules) pages.Site {
	product := rules.Branding.ProductName
	if product == "" {
		product = rules.Issuer
	}
	return pages.Site{
		Prefix: rules.App.TwoFactorPath, Product: product, LogoURL: rules.Branding.LogoURL,
		SupportURL: rules.Branding.SupportURL, Issuer: rules.Issuer, SignInPath: rules.App.SignInPath,
	}
}

func (s *Server) appURL(port policy.Port) (*url.URL, error) {
	switch {
	case s.App != nil:
		return s.App, nil
	case port.Number != 0:
		return &url.URL{Scheme: "http", Host: "127.0.0.1:" + strconv.Itoa(int(port.Number))}, nil
	}
	return nil, fmt.Errorf("spec.app.port is the name %q: outside a cluster write its number, or pass --app", port.Name)
}

// appFailed answers when the app does not, or could not be sent the whole request.
func (d *door) appFailed(w http.ResponseWriter, r *http.Request, err error) {
	if isCut(r.Context(), err) {
		d.answer.nobody(w)
		return
	}
	if _, ok := errors.AsType[uploadError](err); ok {
		d.answer.malformedBody(w, r)
		return
	}
	d.outages.note(r.Context(), faultApp, err)
	d.answer.appUnavailable(w, r)
}
