package identity_test

import (
	"context"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/identity"
)

func TestNewChoosesTheSource(t *testing.T) {
	endpoint := endpointConfig()
	token := jwtConfig(func(cfg *policy.JWTIdentity) { cfg.JWKS.Inline = keySet(t, public("p256")...) })
	headers := policy.HeadersIdentity{Subject: "X-User", TrustedProxies: []string{"10.0.0.0/8"}}
	options := identity.Options{App: &url.URL{Scheme: "http", Host: "127.0.0.1:8080"}, Clock: time.Now}
	for _, tc := range []struct {
		cfg      policy.Identity
		cookies  []string
		reserved string
	}{
		{policy.Identity{Type: policy.IdentityEndpoint, Endpoint: &endpoint}, []string{"session"}, "Remote-User"},
		{policy.Identity{Type: policy.IdentityJWT, JWT: &token}, []string{"token"}, "X-Webauth-User"},
		{policy.Identity{Type: policy.IdentityHeaders, Headers: &headers}, nil, "X-User"},
	} {
		source, err := identity.New(tc.cfg, options)
		if err != nil {
			t.Fatalf("%s: %v", tc.cfg.Type, err)
		}
		if diff := cmp.Diff(tc.cookies, identity.Cookies(tc.cfg)); diff != "" {
			t.Errorf("%s: cookies: %s", tc.cfg.Type, diff)
		}
		if !slices.Contains(source.Reserved(), tc.reserved) {
			t.Errorf("%s: anybody may set %s", tc.cfg.Type, tc.reserved)
		}
		if source.Trusts(netip.MustParseAddr("127.0.0.1")) {
			t.Errorf("%s: the node's own processes may set %s", tc.cfg.Type, tc.reserved)
		}
	}
	for _, cfg := range []policy.Identity{{}, {Type: policy.IdentityEndpoint}, {Type: "LDAP", Endpoint: &endpoint}} {
		if _, err := identity.New(cfg, options); err == nil {
			t.Errorf("%+v: no error", cfg)
		}
	}
}

func TestNewTellsTheCauseAndNoCredential(t *testing.T) {
	var events []identity.Event
	cfg := endpointConfig()
	source, err := identity.New(policy.Identity{Type: policy.IdentityEndpoint, Endpoint: &cfg}, identity.Options{
		App: &url.URL{Scheme: "http", Host: "127.0.0.1:1"}, Clock: time.Now,
		Observer: func(_ context.Context, e identity.Event) { events = append(events, e) },
	})
	if err != nil {
		t.Fatal(err)
	}
	source.Identify(t.Context(), request("Cookie", "session=canary", "Authorization", "Bearer canary"))
	if len(events) != 1 || events[0].Err == nil || events[0].Reason != identity.ReasonUnreachable ||
		strings.Contains(events[0].Err.Error(), "canary") {
		t.Errorf("told %+v", events)
	}
}
