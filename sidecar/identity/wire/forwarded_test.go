package wire_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/identity/wire"
)

func TestForwarded(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(*http.Request)
		want http.Header
	}{
		{"a direct client is described", func(*http.Request) {}, http.Header{
			"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"http"},
			"X-Forwarded-Host": {"app.example"}, "X-Forwarded-Port": {"80"},
		}},
		{"a TLS client is described as such", func(r *http.Request) { r.TLS = &tls.ConnectionState{} }, http.Header{
			"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"},
			"X-Forwarded-Host": {"app.example"}, "X-Forwarded-Port": {"443"},
		}},
		{"what an ingress said is kept and the peer is added", func(r *http.Request) {
			r.RemoteAddr = "[::ffff:10.0.0.9]:1234"
			r.Header = http.Header{
				"X-Forwarded-For": {"203.0.113.7", "10.1.1.1"}, "X-Forwarded-Proto": {"https"},
				"X-Forwarded-Host": {"outer.example"}, "X-Real-Ip": {"203.0.113.7"}, "X-Forwarded-Ssl": {"on"},
				"Forwarded": {"for=203.0.113.7"}, "X-Other": {"no"},
			}
		}, http.Header{
			"X-Forwarded-For": {"203.0.113.7, 10.1.1.1, 10.0.0.9"}, "X-Forwarded-Proto": {"https"},
			"X-Forwarded-Host": {"outer.example"}, "X-Forwarded-Port": {"443"}, "X-Real-Ip": {"203.0.113.7"},
			"X-Forwarded-Ssl": {"on"}, "Forwarded": {"for=203.0.113.7, for=10.0.0.9"},
		}},
		{"an IPv6 peer is quoted in Forwarded", func(r *http.Request) {
			r.RemoteAddr, r.Host = "[2001:db8::1%eth0]:1", "app.example:8443"
			r.Header = http.Header{"Forwarded": {"for=a"}, "X-Forwarded-For": {""}}
		}, http.Header{
			"X-Forwarded-For": {"2001:db8::1"}, "Forwarded": {`for=a, for="[2001:db8::1]"`},
			"X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"app.example:8443"}, "X-Forwarded-Port": {"8443"},
		}},
		{"a peer without an address adds none", func(r *http.Request) { r.RemoteAddr = "@" }, http.Header{
			"X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"app.example"}, "X-Forwarded-Port": {"80"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://app.example/", http.NoBody)
			tc.edit(r)
			before := r.Header.Clone()
			got := http.Header{}
			wire.Forwarded(got, r)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(before, r.Header); diff != "" {
				t.Errorf("the request changed:\n%s", diff)
			}
		})
	}
}

func TestSameHeader(t *testing.T) {
	for _, alias := range []string{"X-Auth-User", "x-auth-user", "X_Auth_User", "X-Auth_User", "X.Auth~User"} {
		if !wire.SameHeader(alias, "X-Auth-User") {
			t.Errorf("%q is not taken for X-Auth-User", alias)
		}
	}
	for _, other := range []string{"X-Auth-Users", "XAuthUser", "X-Auth-Usér", "Y-Auth-User", ""} {
		if wire.SameHeader(other, "X-Auth-User") {
			t.Errorf("%q is taken for X-Auth-User", other)
		}
	}
	h := http.Header{"X_auth_user": {"a"}, "X-Auth-User": {"b"}, "X-Auth-Users": {"c"}}
	wire.DelHeader(h, "X-Auth-User")
	if diff := cmp.Diff(http.Header{"X-Auth-Users": {"c"}}, h); diff != "" {
		t.Error(diff)
	}
}
