package identity_test

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/identity"
)

func newHeaders(t *testing.T) *identity.Headers {
	t.Helper()
	rules := policy.Rules{Identity: policy.Identity{Headers: &policy.HeadersIdentity{
		SignIn: "X-Session-Id", TrustedProxies: []string{"192.0.2.0/24", "2001:db8::/32", "::ffff:198.51.100.0/120", "203.0.113.9"},
	}}}
	rules.SetDefaults("test")
	source, err := identity.NewHeaders(*rules.Identity.Headers)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func TestHeadersBelieveTrustedPeers(t *testing.T) {
	source := newHeaders(t)
	nobody := identity.Identity{Kind: identity.Anonymous}
	malformed := identity.Identity{Reason: identity.ReasonMalformed}
	unreadable := identity.Identity{Reason: identity.ReasonAnswer}
	for _, tc := range []struct {
		name    string
		headers []string
		want    identity.Identity
	}{
		{"a user is a user", []string{
			"X-Forwarded-User", "u-1", "X-Forwarded-Email", "a@example.org", "X-Forwarded-Groups", "a, it administrator,,", "X-Session-Id", "s1",
		}, identity.Identity{
			Kind: identity.Authenticated, Subject: "u-1", Account: "a@example.org", Roles: []string{"a", "it administrator"},
			RolesKnown: true, SignIn: "s1",
		}},
		{"missing roles are unknown", []string{"X-Forwarded-User", "u-1"}, identity.Identity{Kind: identity.Authenticated, Subject: "u-1"}},
		{"blank roles are none", []string{"X-Forwarded-User", "u-1", "X-Forwarded-Groups", ""}, identity.Identity{Kind: identity.Authenticated, Subject: "u-1", RolesKnown: true}},
		{"no subject is nobody", []string{"X-Forwarded-Email", "a@example.org"}, nobody},
		{"an empty subject is nobody", []string{"X-Forwarded-User", ""}, nobody},
		{"two subjects are malformed", []string{"X-Forwarded-User", "a", "X-Forwarded-User", "a"}, malformed},
		{"an empty and another subject are malformed", []string{"X-Forwarded-User", "", "X-Forwarded-User", "a"}, malformed},
		{"two sign-ins are malformed", []string{"X-Forwarded-User", "a", "X-Session-Id", "a", "X-Session-Id", "b"}, malformed},
		{"two accounts are malformed", []string{"X-Forwarded-User", "a", "X-Forwarded-Email", "a", "X-Forwarded-Email", "b"}, malformed},
		{"two lists of roles are malformed", []string{"X-Forwarded-User", "a", "X-Forwarded-Groups", "a", "X-Forwarded-Groups", "b"}, malformed},
		{"a subject that is not UTF-8 makes no sense", []string{"X-Forwarded-User", "a\xff"}, unreadable},
		{"a subject that is too long makes no sense", []string{"X-Forwarded-User", strings.Repeat("a", 257)}, unreadable},
		{"a subject with a tab makes no sense", []string{"X-Forwarded-User", "a\tb"}, unreadable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, source.Identify(t.Context(), request(tc.headers...))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHeadersTrustByTheConnectionOnly(t *testing.T) {
	source := newHeaders(t)
	for peer, trusted := range map[string]bool{
		"192.0.2.1:1": true, "192.0.3.1:1": false, "[::ffff:192.0.2.9]:1": true, "[2001:db8::7]:1": true,
		"[2001:db9::7]:1": false, "198.51.100.7:1": true, "198.51.101.7:1": false, "203.0.113.9:1": true,
		"203.0.113.8:1": false, "127.0.0.1:1": false, "@": false, "": false, "192.0.2.1": false,
	} {
		r := request("X-Forwarded-User", "u-1", "X-Forwarded-For", "192.0.2.1", "Authorization", "Basic eA==")
		r.RemoteAddr = peer
		want := identity.Anonymous
		if trusted {
			want = identity.Authenticated
		}
		if got := source.Identify(t.Context(), r); got.Kind != want {
			t.Errorf("%q: got %+v", peer, got)
		}
		if left := r.Header.Get("X-Forwarded-User") != "" && r.Header.Get("Authorization") != ""; left != trusted {
			t.Errorf("%q: left %v", peer, r.Header)
		}
	}
	for peer, trusted := range map[netip.Addr]bool{
		{}: false, netip.MustParseAddr("127.0.0.1"): false, netip.MustParseAddr("::ffff:192.0.2.1"): true,
	} {
		if got := source.Trusts(peer); got != trusted {
			t.Errorf("trust in %v: got %t", peer, got)
		}
	}
}

func TestHeadersReserveTheirOwnAndOthers(t *testing.T) {
	want := []string{"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Session-Id", "Remote-User"}
	reserved := newHeaders(t).Reserved()
	for _, name := range want {
		if !slices.Contains(reserved, name) {
			t.Errorf("anybody may set %s", name)
		}
	}
}

func TestHeadersStripEverySpelling(t *testing.T) {
	r := request("Authorization", "Basic eA==", "Cookie", "a=1", "X-Forwarded-User", "a", "X_Forwarded_User", "b", "X-Other", "c")
	r.Header["x-forwarded-GROUPS"] = []string{"d"}
	newHeaders(t).Strip(r)
	if diff := cmp.Diff(http.Header{"Cookie": {"a=1"}, "X-Other": {"c"}}, r.Header); diff != "" {
		t.Error(diff)
	}
}

func TestNewHeadersRefusesWhatCannotWork(t *testing.T) {
	for name, cfg := range map[string]policy.HeadersIdentity{
		"nobody to trust":             {Subject: "X-User"},
		"no subject":                  {TrustedProxies: []string{"10.0.0.0/8"}},
		"no address":                  {Subject: "X-User", TrustedProxies: []string{"ingress.example"}},
		"more than IPv4 mapped":       {Subject: "X-User", TrustedProxies: []string{"::ffff:0.0.0.0/64"}},
		"one good and one bad prefix": {Subject: "X-User", TrustedProxies: []string{"10.0.0.0/8", "10.0.0.0/33"}},
	} {
		if _, err := identity.NewHeaders(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
