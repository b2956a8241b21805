package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/api/policy"
)

func TestValidateWantsOneIdentity(t *testing.T) {
	runRuleCases(t, []ruleCase{
		{
			"no type", func(r *policy.Rules) { r.Identity = policy.Identity{} },
			[]string{"spec.identity.type|is required; write Endpoint, JWT or Headers"},
		},
		{
			"a type without its block", func(r *policy.Rules) { r.Identity.Endpoint = nil },
			[]string{`spec.identity.endpoint|is required where spec.identity.type is Endpoint`},
		},
		{
			"a block of another type", func(r *policy.Rules) { r.Identity.JWT = &policy.JWTIdentity{} },
			[]string{"spec.identity.jwt|remove it, or write type: JWT"},
		},
		{"only a block of another type", func(r *policy.Rules) {
			r.Identity = policy.Identity{Type: policy.IdentityHeaders, Endpoint: &policy.EndpointIdentity{}}
		}, []string{"spec.identity.endpoint|belongs to type Endpoint", "spec.identity.headers|is required"}},
		{
			"an unknown type with a block", func(r *policy.Rules) { r.Identity.Type = "endpoint" },
			[]string{"spec.identity.type|did you mean Endpoint?", "spec.identity.endpoint|belongs to type Endpoint"},
		},
	})
}

func TestValidateRefusesEndpoint(t *testing.T) {
	endpoint := func(change func(*policy.EndpointIdentity)) func(*policy.Rules) {
		return func(r *policy.Rules) { change(r.Identity.Endpoint) }
	}
	cookies := func(names ...string) func(*policy.Rules) {
		return endpoint(func(e *policy.EndpointIdentity) { e.Cookies = names })
	}
	const at = "spec.identity.endpoint."
	runRuleCases(t, []ruleCase{
		{
			"a path elsewhere", endpoint(func(e *policy.EndpointIdentity) { e.Path = "//evil.example/me" }),
			[]string{at + "path|empty segment"},
		},
		{"cookies that are no tokens", cookies("", "a b", "a;b", "a=b", "ü"), []string{
			at + `cookies[0]|"" is not a cookie name`, at + `cookies[1]|"a b" is not`, at + `cookies[2]|"a;b" is not`,
			at + `cookies[3]|"a=b" is not`, at + `cookies[4]|"ü" is not`,
		}},
		{"an answer that cannot mean nobody", endpoint(func(e *policy.EndpointIdentity) {
			e.AnonymousStatus = []int{401, 200}
		}), []string{at + "anonymousStatus[1]|200 cannot mean nobody"}},
		{"a page of forms", endpoint(func(e *policy.EndpointIdentity) {
			e.Format, e.AnonymousStatus, e.AnonymousLocation = policy.AnswerForm, nil, "/user/login"
		}), nil},
		{"an unknown format", endpoint(func(e *policy.EndpointIdentity) { e.Format = "form" }), []string{at + "format|did you mean Form?"}},
		{"a sign-in page elsewhere", endpoint(func(e *policy.EndpointIdentity) {
			e.AnonymousLocation = "https://id.example/login"
		}), []string{at + `anonymousLocation|does not start with "/"`}},
		{"a sign-in page that is the endpoint", endpoint(func(e *policy.EndpointIdentity) {
			e.Path, e.AnonymousLocation = "/me", "/me"
		}), []string{at + "anonymousLocation|is path itself"}},
		{"a cookie twice", cookies("a", "b", "a"), []string{at + "cookies[2]|repeats " + at + "cookies[0]"}},
		{"the sidecar's own cookies", cookies("__Host-sallyport", "__host-Sallyport_x", "sallyport", "Sallyport-csrf"), []string{
			at + "cookies[0]|keeps for its own", at + "cookies[1]|keeps for its own",
			at + "cookies[2]|keeps for its own", at + "cookies[3]|keeps for its own",
		}},
		{"a cookie name that is too long", cookies(strings.Repeat("c", 129)), []string{at + "cookies[0]|at most 128"}},
		{"too many cookies", cookies(repeat(17, "c%d")...), []string{at + "cookies|has 17 entries; write at most 16"}},
		{"pointers that are none", endpoint(func(e *policy.EndpointIdentity) {
			e.Subject, e.Account, e.Roles = "id", "/a~2", "/a~"
		}), []string{at + "subject|is not a JSON pointer", at + "account|escapes nothing", at + "roles|escapes nothing"}},
		{
			"a pointer with a control character", endpoint(func(e *policy.EndpointIdentity) { e.Subject = "/\x7f" }),
			[]string{at + "subject|control character"},
		},
		{
			"a pointer that is too long", endpoint(func(e *policy.EndpointIdentity) { e.Subject = "/" + strings.Repeat("x", 256) }),
			[]string{at + "subject|longer than 256"},
		},
		{
			"a cache that is too long", endpoint(func(e *policy.EndpointIdentity) { e.CacheFor = span(5*time.Second + 1) }),
			[]string{at + `cacheFor|write "0s" to "5s"`},
		},
		{
			"a negative cache", endpoint(func(e *policy.EndpointIdentity) { e.CacheFor = span(-1) }),
			[]string{at + `cacheFor|out of bounds`},
		},
	})
}

func TestValidateRefusesHeaders(t *testing.T) {
	headers := func(change func(*policy.HeadersIdentity)) func(*policy.Rules) {
		return func(r *policy.Rules) { change(asHeaders(r)) }
	}
	proxies := func(cidrs ...string) func(*policy.Rules) {
		return headers(func(h *policy.HeadersIdentity) { h.TrustedProxies = cidrs })
	}
	const at = "spec.identity.headers."
	runRuleCases(t, []ruleCase{
		{"names that are no tokens", headers(func(h *policy.HeadersIdentity) {
			h.Subject, h.Account, h.Roles, h.SignIn = "X User", "X:Mail", "X-Grüppe", "X\r\n"
		}), []string{
			at + "subject|is not a header name", at + "account|is not a header name",
			at + "roles|is not a header name", at + "signIn|is not a header name",
		}},
		{"names with another meaning", headers(func(h *policy.HeadersIdentity) {
			h.Subject, h.Account, h.Roles = "Cookie", "HOST", "x-sallyport-verified"
		}), []string{at + "subject|another meaning", at + "account|another meaning", at + "roles|another meaning"}},
		{
			"a name that is too long", headers(func(h *policy.HeadersIdentity) { h.Subject = strings.Repeat("X", 129) }),
			[]string{at + "subject|is not a header name"},
		},
		{"no proxies", proxies(), []string{at + "trustedProxies|is required"}},
		{"everybody", proxies("0.0.0.0/0", "::/0"), []string{
			at + "trustedProxies[0]|trusts everybody", at + "trustedProxies[1]|trusts everybody",
		}},
		{"everybody, written oddly", proxies("10.0.0.0/0", "::ffff:0.0.0.0/96"), []string{
			at + "trustedProxies[0]|trusts everybody", at + "trustedProxies[1]|write it in IPv4 form",
		}},
		{"an address", proxies("192.0.2.7"), []string{at + `trustedProxies[0]|write "192.0.2.7/32"`}},
		{"a range with stray bits", proxies("10.1.2.3/8"), []string{at + `trustedProxies[0]|write "10.0.0.0/8", or "10.1.2.3/32"`}},
		{"names and nonsense", proxies("proxy.acme.svc", "10.0.0.0/33", "", "fe80::1%eth0"), []string{
			at + "trustedProxies[0]|is not a CIDR", at + "trustedProxies[1]|is not a CIDR",
			at + "trustedProxies[2]|is not a CIDR", at + "trustedProxies[3]|is not a CIDR",
		}},
		{"a range twice", proxies("10.0.0.0/8", "10.0.0.0/8"), []string{at + "trustedProxies[1]|repeats"}},
		{"too many proxies", proxies(repeat(33, "10.0.%d.0/24")...), []string{at + "trustedProxies|write at most 32"}},
	})
}

func TestValidateRefusesJWT(t *testing.T) {
	jwt := func(change func(*policy.JWTIdentity)) func(*policy.Rules) {
		return func(r *policy.Rules) { change(asJWT(r)) }
	}
	const at = "spec.identity.jwt."
	runRuleCases(t, []ruleCase{
		{
			"no issuer and no audience", jwt(func(j *policy.JWTIdentity) { j.Issuer, j.Audience = "", nil }),
			[]string{at + "issuer|is required", at + "audience|is required"},
		},
		{
			"an empty audience", jwt(func(j *policy.JWTIdentity) { j.Audience = []string{"a", ""} }),
			[]string{at + "audience[1]|is required"},
		},
		{
			"too many audiences", jwt(func(j *policy.JWTIdentity) { j.Audience = repeat(17, "a%d") }),
			[]string{at + "audience|write at most 16"},
		},
		{
			"an issuer that is too long", jwt(func(j *policy.JWTIdentity) { j.Issuer = strings.Repeat("i", 513) }),
			[]string{at + "issuer|longer than 512"},
		},
		{
			"the sidecar's own cookie", jwt(func(j *policy.JWTIdentity) { j.Cookie = "__Host-sallyport" }),
			[]string{at + "cookie|keeps for its own"},
		},
		{
			"a cookie that is no token", jwt(func(j *policy.JWTIdentity) { j.Cookie = "to ken" }),
			[]string{at + "cookie|is not a cookie name"},
		},
		{"claims with control characters", jwt(func(j *policy.JWTIdentity) {
			j.Claims = policy.JWTClaims{Subject: "\t", Account: "\t", Roles: "\t", SignIn: "\t"}
		}), []string{
			at + "claims.subject|control character", at + "claims.account|control character",
			at + "claims.roles|control character", at + "claims.signIn|control character",
		}},
	})
}

func TestValidateRefusesKeys(t *testing.T) {
	jwks := func(j policy.JWKS) func(*policy.Rules) { return func(r *policy.Rules) { asJWT(r).JWKS = j } }
	url := func(u string) func(*policy.Rules) { return jwks(policy.JWKS{URL: u}) }
	inline := func(doc string) func(*policy.Rules) { return jwks(policy.JWKS{Inline: doc}) }
	const at = "spec.identity.jwt.jwks"
	runRuleCases(t, []ruleCase{
		{"no source", jwks(policy.JWKS{}), []string{at + "|names 0 sources"}},
		{
			"two sources", jwks(policy.JWKS{URL: "https://a.example/k", SecretRef: &policy.SecretRef{Name: "a"}}),
			[]string{at + "|names 2 sources"},
		},
		{"a URL without TLS", url("http://id.example.com/k"), []string{at + ".url|write an https URL"}},
		{"a URL that only looks like loopback", url("http://127.0.0.1.example.com/k"), []string{at + ".url|write an https URL"}},
		{"a URL of another scheme", url("file:///etc/passwd"), []string{at + ".url|is not a URL"}},
		{"a URL without a host", url("https:///k"), []string{at + ".url|is not a URL"}},
		{"a URL with a space", url("https://id.example.com/ k"), []string{at + ".url|is not a URL"}},
		{"a URL with a backslash", url(`https://id.example.com\k`), []string{at + ".url|is not a URL"}},
		{"a URL with a password", url("https://u:secret@id.example.com/k"), []string{at + ".url|holds a user name or password"}},
		{"a URL with a fragment", url("https://id.example.com/k#"), []string{at + ".url|holds a fragment"}},
		{"a URL that is too long", url("https://id.example.com/" + strings.Repeat("k", 2048)), []string{at + ".url|is not a URL"}},
		{"a Secret without a name", jwks(policy.JWKS{SecretRef: &policy.SecretRef{}}), []string{at + ".secretRef.name|is not the name"}},
		{
			"a Secret of another namespace", jwks(policy.JWKS{SecretRef: &policy.SecretRef{Name: "other/jwks", Key: "../x"}}),
			[]string{at + ".secretRef.name|of the policy's own namespace", at + ".secretRef.key|is not a key"},
		},
		{"inline nonsense", inline("{"), []string{at + ".inline|is not a JSON object"}},
		{"an inline list", inline("[]"), []string{at + ".inline|is not a JSON object"}},
		{"inline with a duplicate", inline(`{"keys":[],"keys":[]}`), []string{at + ".inline|is not a JSON object"}},
		{"inline without keys", inline(`{"keys":[]}`), []string{at + ".inline|has no keys"}},
		{"inline keys of a wrong type", inline(`{"keys":{}}`), []string{at + ".inline|has no keys"}},
		{
			"an inline key that is none", inline(`{"keys":[1,{"x":"y"}]}`),
			[]string{at + ".inline|key 1 of the set is not an object", at + `.inline|key 2 of the set has no "kty"`},
		},
		{
			"inline private and symmetric keys", inline(`{"keys":[{"kty":"EC","d":"s3cret"},{"kty":"oct","k":"s3cret"},{"kty":"RSA","DP":"x"}]}`),
			[]string{
				at + ".inline|key 1 of the set holds a private key", at + ".inline|key 2 of the set holds a private key",
				at + ".inline|key 3 of the set holds a private key",
			},
		},
		{
			"an inline set that is too large", inline(`{"keys":[],"x":"` + strings.Repeat("x", 64<<10) + `"}`),
			[]string{at + ".inline|larger than 65536 bytes"},
		},
	})
}

// What a fault quotes ends up in logs and conditions.
func TestValidateNeverQuotesKeys(t *testing.T) {
	for name, change := range map[string]func(*policy.JWTIdentity){
		"private key":  func(j *policy.JWTIdentity) { j.JWKS = policy.JWKS{Inline: `{"keys":[{"kty":"EC","d":"s3cret"}]}`} },
		"broken set":   func(j *policy.JWTIdentity) { j.JWKS = policy.JWKS{Inline: `{"keys":[{"d":"s3cret"`} },
		"URL password": func(j *policy.JWTIdentity) { j.JWKS.URL = "https://u:s3cret@id.example.com/k" },
	} {
		t.Run(name, func(t *testing.T) {
			r := baseRules()
			change(asJWT(r))
			r.SetDefaults("portal")
			err := r.Validate().Err()
			if err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error is %v, want one without the secret", err)
			}
		})
	}
}
