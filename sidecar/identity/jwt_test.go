package identity_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/identity"
)

// keys are made once: RSA keys take their time.
var keys = sync.OnceValue(func() map[string]crypto.Signer {
	must := func(key crypto.Signer, err error) crypto.Signer {
		if err != nil {
			panic(err)
		}
		return key
	}
	ec := func(curve elliptic.Curve) crypto.Signer { return must(ecdsa.GenerateKey(curve, rand.Reader)) }
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	return map[string]crypto.Signer{
		"rsa":   must(rsa.GenerateKey(rand.Reader, 2048)),
		"small": must(rsa.GenerateKey(rand.Reader, 1024)),
		"p256":  ec(elliptic.P256()), "p384": ec(elliptic.P384()), "p521": ec(elliptic.P521()),
		"ed": ed, "foreign": ec(elliptic.P256()),
	}
})

func public(names ...string) []jose.JSONWebKey {
	var set []jose.JSONWebKey
	for _, name := range names {
		set = append(set, jose.JSONWebKey{Key: keys()[name].Public(), KeyID: name})
	}
	return set
}

func keySet(t *testing.T, set ...jose.JSONWebKey) string {
	t.Helper()
	document, err := json.Marshal(jose.JSONWebKeySet{Keys: set})
	if err != nil {
		t.Fatal(err)
	}
	return string(document)
}

// sign makes a token; header fields beyond alg come from extra.
func sign(t *testing.T, alg jose.SignatureAlgorithm, key any, payload string, extra map[jose.HeaderKey]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, &jose.SignerOptions{ExtraHeaders: extra})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func kid(id string) map[jose.HeaderKey]any { return map[jose.HeaderKey]any{"kid": id} }

// claims are good ones, edited; a nil value removes a claim. The clock of these
// tests starts at 1777636800.
func claims(t *testing.T, edits ...any) string {
	t.Helper()
	c := map[string]any{
		"iss": "https://idp.example", "aud": "app", "sub": "u-1", "email": "alice@example.org",
		"exp": newClock().Now().Add(time.Minute).Unix(), "roles": []string{"editor"}, "sid": "s-1",
	}
	for edit := range slices.Chunk(edits, 2) {
		name, _ := edit[0].(string)
		c[name] = edit[1]
		if edit[1] == nil {
			delete(c, name)
		}
	}
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(payload)
}

func jwtConfig(edit func(*policy.JWTIdentity)) policy.JWTIdentity {
	rules := policy.Rules{Identity: policy.Identity{JWT: &policy.JWTIdentity{
		Cookie: "token", Issuer: "https://idp.example", Audience: []string{"other", "app"},
	}}}
	rules.SetDefaults("test")
	edit(rules.Identity.JWT)
	return *rules.Identity.JWT
}

func newJWT(t *testing.T, c *clock, jwks string) *identity.JWT {
	t.Helper()
	source, err := identity.NewJWT(
		jwtConfig(func(cfg *policy.JWTIdentity) { cfg.JWKS.Inline = jwks }), identity.JWTOptions{Clock: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

var aliceByToken = identity.Identity{
	Kind: identity.Authenticated, Subject: "u-1", Account: "alice@example.org",
	Roles: []string{"editor"}, RolesKnown: true, SignIn: "s-1",
}

func TestJWTAcceptsEveryAsymmetricAlgorithm(t *testing.T) {
	source := newJWT(t, newClock(), keySet(t, public("rsa", "p256", "p384", "p521", "ed")...))
	for alg, name := range map[jose.SignatureAlgorithm]string{
		jose.RS256: "rsa", jose.RS384: "rsa", jose.RS512: "rsa", jose.PS256: "rsa", jose.PS384: "rsa", jose.PS512: "rsa",
		jose.ES256: "p256", jose.ES384: "p384", jose.ES512: "p521", jose.EdDSA: "ed",
	} {
		for _, header := range []map[jose.HeaderKey]any{kid(name), nil} {
			token := sign(t, alg, keys()[name], claims(t), header)
			for _, r := range []*http.Request{
				request("Cookie", "a=1; token="+token), request("Authorization", "Bearer "+token),
				request("Authorization", "bearer  "+token), request("Cookie", "token="+token, "Authorization", "Bearer "+token),
				request("Cookie", "token="+token, "Authorization", "Basic eA=="),
			} {
				if diff := cmp.Diff(aliceByToken, source.Identify(t.Context(), r)); diff != "" {
					t.Errorf("%s, header %v, %d cookies: %s", alg, header, len(r.Header["Cookie"]), diff)
				}
			}
		}
	}
}

// forge makes a token of raw parts.
func forge(header, payload, signature string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(header)) + "." + encode([]byte(payload)) + "." + signature
}

func TestJWTTakesABadTokenForNobodys(t *testing.T) {
	all := append(public("p256", "rsa", "p384"), jose.JSONWebKey{Key: keys()["p384"].Public(), KeyID: "only256", Algorithm: "ES256"})
	source := newJWT(t, newClock(), keySet(t, all...))
	good := sign(t, jose.ES256, keys()["p256"], claims(t), kid("p256"))
	part := strings.Split(good, ".")
	asSecret, _ := json.Marshal(public("rsa")[0])
	now := newClock().Now().Unix()
	es := func(payload string, header map[jose.HeaderKey]any) string {
		return sign(t, jose.ES256, keys()["p256"], payload, header)
	}
	for name, token := range map[string]string{
		"no token at all":                 "garbage",
		"one part too few":                part[0] + "." + part[1],
		"one part too many":               good + ".x",
		"alg none":                        forge(`{"alg":"none"}`, claims(t), ""),
		"alg NONE":                        forge(`{"alg":"NONE"}`, claims(t), ""),
		"no alg":                          forge(`{}`, claims(t), part[2]),
		"HS256 with the public key":       sign(t, jose.HS256, asSecret, claims(t), kid("rsa")),
		"another payload":                 part[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(claims(t, "sub", "u-2"))) + "." + part[2],
		"no signature":                    part[0] + "." + part[1] + ".",
		"a foreign key":                   sign(t, jose.ES256, keys()["foreign"], claims(t), kid("p256")),
		"a foreign key without a kid":     sign(t, jose.ES256, keys()["foreign"], claims(t), nil),
		"an unknown kid":                  es(claims(t), kid("p257")),
		"another key's kid":               es(claims(t), kid("rsa")),
		"a key bound to another alg":      sign(t, jose.ES384, keys()["p384"], claims(t), kid("only256")),
		"a key brought along":             sign(t, jose.ES256, keys()["foreign"], claims(t), map[jose.HeaderKey]any{"jwk": public("foreign")[0]}),
		"a key set pointed to":            sign(t, jose.ES256, keys()["foreign"], claims(t), map[jose.HeaderKey]any{"jku": "https://evil.example", "kid": "p256"}),
		"an unknown critical header":      es(claims(t), map[jose.HeaderKey]any{"crit": []string{"x"}, "x": 1}),
		"a critical b64":                  es(claims(t), map[jose.HeaderKey]any{"crit": []string{"b64"}, "b64": true}),
		"another issuer":                  es(claims(t, "iss", "https://idp.example/"), nil),
		"no issuer":                       es(claims(t, "iss", nil), nil),
		"another audience":                es(claims(t, "aud", []string{"apps"}), nil),
		"no audience":                     es(claims(t, "aud", nil), nil),
		"no expiry":                       es(claims(t, "exp", nil), nil),
		"expired longer ago than 30 s":    es(claims(t, "exp", now-31), nil),
		"an expiry that is text":          es(claims(t, "exp", "never"), nil),
		"not valid for more than 30 s":    es(claims(t, "nbf", now+31), nil),
		"two issuers":                     es(`{"iss":"https://evil","iss":"https://idp.example","aud":"app","sub":"a","exp":1999999999}`, nil),
		"claims in another case":          es(`{"ISS":"https://idp.example","AUD":"app","SUB":"a","EXP":1999999999}`, nil),
		"a payload that is no object":     es(`"u-1"`, nil),
		"a payload that is empty":         es("", nil),
		"a token of 17 KiB":               es(claims(t, "x", strings.Repeat("x", 17<<10)), nil),
		"JSON instead of compact":         `{"payload":"` + part[1] + `","protected":"` + part[0] + `","signature":"` + part[2] + `"}`,
		"padded base64":                   good + "=",
		"an encrypted token's five parts": "a.b.c.d.e",
	} {
		t.Run(name, func(t *testing.T) {
			got := source.Identify(t.Context(), request("Authorization", "Bearer "+token))
			if diff := cmp.Diff(identity.Identity{Kind: identity.Anonymous}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if diff := cmp.Diff(aliceByToken, source.Identify(t.Context(), request("Authorization", "Bearer "+good))); diff != "" {
		t.Errorf("the good token does not hold either:\n%s", diff)
	}
}

func TestJWTReadsClaims(t *testing.T) {
	source := newJWT(t, newClock(), keySet(t, public("p256")...))
	now := newClock().Now().Unix()
	unreadable := identity.Identity{Reason: identity.ReasonAnswer}
	alice := func(edit func(*identity.Identity)) identity.Identity {
		id := aliceByToken
		edit(&id)
		return id
	}
	for _, tc := range []struct {
		name  string
		edits []any
		want  identity.Identity
	}{
		{"expired for 29 s still holds", []any{"exp", now - 29}, aliceByToken},
		{"valid in 29 s holds already", []any{"nbf", now + 29}, aliceByToken},
		{"one of several audiences will do", []any{"aud", []string{"x", "app"}}, aliceByToken},
		{"an integer subject keeps its digits", []any{"sub", json.Number("12345678901234567890")}, alice(func(id *identity.Identity) { id.Subject = "12345678901234567890" })},
		{"one role is one role, whatever it holds", []any{"roles", "a b,c"}, alice(func(id *identity.Identity) { id.Roles = []string{"a b,c"} })},
		{"no roles claim leaves roles unknown", []any{"roles", nil}, alice(func(id *identity.Identity) { id.Roles, id.RolesKnown = nil, false })},
		{"an empty list of roles is known", []any{"roles", []string{}}, alice(func(id *identity.Identity) { id.Roles = nil })},
		{"no sid leaves the sign-in unnamed", []any{"sid", nil}, alice(func(id *identity.Identity) { id.SignIn = "" })},
		{"a sid of another type is none", []any{"sid", 7}, alice(func(id *identity.Identity) { id.SignIn = "" })},
		{"no subject makes no sense", []any{"sub", nil}, unreadable},
		{"an empty subject makes no sense", []any{"sub", ""}, unreadable},
		{"a subject with a line break makes no sense", []any{"sub", "a\nb"}, unreadable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			token := sign(t, jose.ES256, keys()["p256"], claims(t, tc.edits...), nil)
			if diff := cmp.Diff(tc.want, source.Identify(t.Context(), request("Cookie", "token="+token))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestJWTFindsOneTokenOrNone(t *testing.T) {
	source := newJWT(t, newClock(), keySet(t, public("p256")...))
	one := sign(t, jose.ES256, keys()["p256"], claims(t), nil)
	two := sign(t, jose.ES256, keys()["p256"], claims(t, "sub", "u-2"), nil)
	for _, tc := range []struct {
		name    string
		headers []string
		want    identity.Kind
	}{
		{"no credential is nobody", nil, identity.Anonymous},
		{"another scheme is nobody's token", []string{"Authorization", "Basic eA=="}, identity.Anonymous},
		{"an empty cookie is no token", []string{"Cookie", "token="}, identity.Anonymous},
		{"a bare Bearer is no token", []string{"Authorization", "Bearer"}, identity.Anonymous},
		{"two different tokens are malformed", []string{"Cookie", "token=" + one, "Authorization", "Bearer " + two}, identity.Indeterminate},
		{"a good and a bad token are malformed", []string{"Cookie", "token=x", "Authorization", "Bearer " + one}, identity.Indeterminate},
		{"two cookies are malformed", []string{"Cookie", "token=" + one + "; token=" + one}, identity.Indeterminate},
		{"two headers are malformed", []string{"Authorization", "Bearer " + one, "Authorization", "Basic eA=="}, identity.Indeterminate},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := source.Identify(t.Context(), request(tc.headers...))
			if got.Kind != tc.want || (got.Kind == identity.Indeterminate) != (got.Reason == identity.ReasonMalformed) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestJWTStripsEverySpelling(t *testing.T) {
	source := newJWT(t, newClock(), keySet(t, public("p256")...))
	r := request("Cookie", `a="x, y";TOKEN=1; "token"=2`, "Cookie", "token=3; %74oken=4; tokens=5;  b=6", "Authorization", "Basic eA==")
	source.Strip(r)
	want := []string{`a="x, y"; tokens=5;  b=6`}
	if diff := cmp.Diff(want, r.Header["Cookie"]); diff != "" || r.Header.Get("Authorization") != "" {
		t.Errorf("%s\n%v", diff, r.Header)
	}
	r = request("Cookie", "token=3")
	source.Strip(r)
	if _, ok := r.Header["Cookie"]; ok {
		t.Errorf("an empty Cookie header was left: %v", r.Header)
	}
}

// What goes on to the app is what was judged.
func TestJWTRemovesWhatItDidNotJudge(t *testing.T) {
	source := newJWT(t, newClock(), keySet(t, public("p256")...))
	good := sign(t, jose.ES256, keys()["p256"], claims(t), nil)
	for _, tc := range []struct {
		name          string
		headers, left []string
	}{
		{"a good cookie stays, another scheme goes", []string{"Cookie", "a=1; token=" + good, "Authorization", "Basic eA=="}, []string{"Cookie", "a=1; token=" + good}},
		{"a good token in the header stays", []string{"Cookie", "a=1", "Authorization", "Bearer " + good}, []string{"Cookie", "a=1", "Authorization", "Bearer " + good}},
		{"a bad cookie goes, and what is beside it", []string{"Cookie", "a=1; token=x", "Authorization", "Basic eA=="}, []string{"Cookie", "a=1"}},
		{"a bad token in the header goes", []string{"Cookie", "a=1", "Authorization", "Bearer x"}, []string{"Cookie", "a=1"}},
		{"without a token another scheme goes", []string{"Authorization", "Basic eA=="}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := request(tc.headers...)
			source.Identify(t.Context(), r)
			if diff := cmp.Diff(request(tc.left...).Header, r.Header); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestJWTObserves(t *testing.T) {
	c := newClock()
	source := newJWT(t, c, keySet(t, public("p256")...))
	token := func(edits ...any) string { return sign(t, jose.ES256, keys()["p256"], claims(t, edits...), nil) }
	old := token()
	for _, tc := range []struct {
		name    string
		cookie  string
		set     []string
		want    string
		changed bool
	}{
		{"nothing set changes nothing", old, nil, "", false},
		{"another cookie changes nothing", old, []string{"a=1"}, "", false},
		{"a fresh token of the same sign-in changes nothing", old, []string{"token=" + token("x", 1)}, "s-1", false},
		{"a token of another sign-in is followed", old, []string{"token=" + token("sid", "s-2")}, "s-2", true},
		{"a token that does not hold ends the sign-in", old, []string{"token=garbage"}, "", true},
		{"an ended cookie ends the sign-in", old, []string{"token=; Max-Age=0"}, "", true},
		{"ended and set is set", old, []string{"token=" + token("sid", "s-2"), "token=; Max-Age=0"}, "s-2", true},
		{"ended for nobody changes nothing", "garbage", []string{"token=; Max-Age=0"}, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := request("Cookie", "token="+tc.cookie, "Authorization", "Basic eA==")
			before := r.Header.Clone()
			got, changed := source.Observe(r, http.Header{"Set-Cookie": tc.set})
			if diff := cmp.Diff(before, r.Header); diff != "" {
				t.Errorf("observing changed the request:\n%s", diff)
			}
			if got != tc.want || changed != tc.changed {
				t.Errorf("got %q, %t; want %q, %t", got, changed, tc.want, tc.changed)
			}
		})
	}
}

func TestNewJWTRefusesWhatCannotWork(t *testing.T) {
	private, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: keys()["p256"], KeyID: "x"}}})
	symmetric, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: []byte("secret-secret"), KeyID: "x"}}})
	for _, tc := range []struct {
		name, want string
		edit       func(*policy.JWTIdentity)
	}{
		{"an unresolved Secret", "jwks.url or jwks.inline", func(c *policy.JWTIdentity) { c.JWKS.SecretRef = &policy.SecretRef{Name: "idp"} }},
		{"no key set", "no key set", func(*policy.JWTIdentity) {}},
		{"a private key", "not a public key", func(c *policy.JWTIdentity) { c.JWKS.Inline = string(private) }},
		{"a symmetric key", "not a public key", func(c *policy.JWTIdentity) { c.JWKS.Inline = string(symmetric) }},
		{"no JSON", "not a JSON Web Key Set", func(c *policy.JWTIdentity) { c.JWKS.Inline = "{" }},
		{"no usable key", "no public key", func(c *policy.JWTIdentity) { c.JWKS.Inline = `{"keys":[{"kty":"EC","crv":"X"},{}]}` }},
		{"small RSA keys only", "no public key", func(c *policy.JWTIdentity) { c.JWKS.Inline = keySet(t, public("small")...) }},
		{"encryption keys only", "no public key", func(c *policy.JWTIdentity) {
			key := public("p256")[0]
			key.Use = "enc"
			c.JWKS.Inline = keySet(t, key)
		}},
		{"http to elsewhere", "https", func(c *policy.JWTIdentity) { c.JWKS.URL = "http://idp.example/keys" }},
		{"http to a look-alike of loopback", "https", func(c *policy.JWTIdentity) { c.JWKS.URL = "http://localhost.evil/keys" }},
		{"a file", "https", func(c *policy.JWTIdentity) { c.JWKS.URL = "file:///etc/passwd" }},
		{"a user name in the URL", "user name", func(c *policy.JWTIdentity) { c.JWKS.URL = "https://u:canary@idp.example/keys" }},
		{"no issuer", "issuer", func(c *policy.JWTIdentity) { c.Issuer = "" }},
		{"no audience", "audience", func(c *policy.JWTIdentity) { c.Audience = nil }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := identity.NewJWT(jwtConfig(tc.edit), identity.JWTOptions{Clock: time.Now})
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}
