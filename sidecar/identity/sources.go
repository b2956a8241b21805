package identity

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/sallyport/sallyport/api/policy"
)

// Event is one question that a source put to somebody else. It holds nothing that
// identifies a user or a credential.
type Event struct {
	Source policy.IdentityType
	// Kind and Reason are the answer to a question put to the app; of keys that
	// were fetched, Kind is not set.
	Kind   Kind
	Reason Reason
	Took   time.Duration
	// Err says why no answer could be had.
	Err error
}

// Observer is told of every Event. It must not block.
type Observer func(context.Context, Event)

// Options are what a source works with beside the policy.
type Options struct {
	// App is the app's origin. Required for Endpoint.
	App *url.URL
	// AppTransport carries the questions to the app. It must not be shared with
	// proxied traffic. Default: one of its own.
	AppTransport http.RoundTripper
	// KeysTransport fetches key sets. Default: one of its own.
	KeysTransport http.RoundTripper
	// OwnCookies names the sidecar's cookies, which never leave it.
	OwnCookies []string
	// Clock tells the time. Required.
	Clock func() time.Time
	// Observer, if any.
	Observer Observer
}

// Reserver is a Source that says which headers only some peers may set.
type Reserver interface {
	Source
	// Reserved names the headers that say who is signed in.
	Reserved() []string
	// Trusts reports whether the peer may set them.
	Trusts(peer netip.Addr) bool
}

// New returns the source that the policy selects.
func New(cfg policy.Identity, o Options) (Reserver, error) {
	switch {
	case cfg.Type == policy.IdentityEndpoint && cfg.Endpoint != nil:
		return NewEndpoint(*cfg.Endpoint, EndpointOptions{
			App: o.App, Transport: o.AppTransport, OwnCookies: o.OwnCookies, Clock: o.Clock, Observer: o.Observer,
		})
	case cfg.Type == policy.IdentityJWT && cfg.JWT != nil:
		return NewJWT(*cfg.JWT, JWTOptions{Transport: o.KeysTransport, Clock: o.Clock, Observer: o.Observer})
	case cfg.Type == policy.IdentityHeaders && cfg.Headers != nil:
		return NewHeaders(*cfg.Headers)
	default:
		return nil, fmt.Errorf("identity.type is %q, and the policy configures no such source", cfg.Type)
	}
}

// Cookies names the cookies that decide who is signed in: those that must have
// one reading only.
func Cookies(cfg policy.Identity) []string {
	switch {
	case cfg.Type == policy.IdentityEndpoint && cfg.Endpoint != nil:
		return cfg.Endpoint.Cookies
	case cfg.Type == policy.IdentityJWT && cfg.JWT != nil && cfg.JWT.Cookie != "":
		return []string{cfg.JWT.Cookie}
	default:
		return nil
	}
}

func indeterminate(reason Reason) Identity { return Identity{Kind: Indeterminate, Reason: reason} }
