package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sallyport/sallyport/test/stack"
)

// issuer signs tokens and publishes its keys.
type issuer struct {
	t   *testing.T
	w   *world
	key *ecdsa.PrivateKey
	url string
	// away makes the key set unreachable.
	away atomic.Bool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, key: key}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if i.away.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(set)
	}))
	t.Cleanup(server.Close)
	i.url = server.URL
	return i
}

// policy is the office's, with this issuer's tokens for an identity.
func (i *issuer) policy(p stack.Policy) stack.Policy {
	spec := map[string]any{"identity": map[string]any{"type": "JWT", "jwt": map[string]any{
		"cookie": "id_token", "issuer": "https://id.example", "audience": []string{"portal"},
		"jwks": map[string]any{"url": i.url}, "claims": map[string]any{"account": "name"},
	}}}
	maps.Copy(spec, p.Spec)
	p.Spec = spec
	return p
}

type claims map[string]any

// token of the user for this sign-in, with claims changed; a nil one is left out.
func (i *issuer) token(user, sid string, changed claims) string {
	i.t.Helper()
	all := claims{
		"iss": "https://id.example", "aud": "portal", "sub": user, "name": user, "roles": []string{"employee"}, "sid": sid,
		"exp": i.w.clock.Now().Add(10 * time.Hour).Unix(), "jti": rand.Text(),
	}
	maps.Copy(all, changed)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil || value == "" })
	return i.sign(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: i.key, KeyID: "k1"}}, all)
}

func (i *issuer) sign(key jose.SigningKey, all claims) string {
	i.t.Helper()
	signer, err := jose.NewSigner(key, nil)
	if err != nil {
		i.t.Fatal(err)
	}
	payload, err := json.Marshal(all)
	if err != nil {
		i.t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		i.t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return compact
}

// startJWT runs the office with tokens for an identity.
func startJWT(t *testing.T, p stack.Policy) (*world, *issuer) {
	t.Helper()
	i := newIssuer(t)
	i.w = startOffice(t, stack.Options{Policy: i.policy(p)})
	return i.w, i
}

// holding is somebody whose browser holds the token.
func (i *issuer) holding(name, token string) *person {
	i.t.Helper()
	p := i.w.visitor(name)
	p.hold(token)
	return p
}

func (p *person) hold(token string) { p.setCookie("id_token", token) }

func TestTokenIdentity(t *testing.T) {
	t.Parallel()
	w, i := startJWT(t, stack.Policy{})
	alice := i.holding("alice", i.token("alice", "s1", nil))
	alice.wantPasses(true, "before enrolling")
	alice.enrol()
	alice.wantPasses(true, "once enrolled")
	alice.hold(i.token("alice", "s1", nil))
	alice.wantPasses(true, "with a renewed token of the same sign-in")
	alice.hold(i.token("alice", "s2", nil))
	alice.wantPasses(false, "with a token of another sign-in")
	alice.verify()
	alice.wantPasses(true, "once verified")
	alice.hold(i.token("bob", "s2", nil))
	if alice.status().Verified {
		t.Error("alice's verification is bob's")
	}
	alice.hold(i.token("alice", "s2", nil))
	alice.wantPasses(true, "back")

	bearer := "Authorization: Bearer " + i.token("alice", "s2", nil)
	got := send(t, w.URL(), "GET", "/api", bearer)
	wantStatus(t, got, http.StatusUnauthorized)
	if challenge := got.Header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, `Bearer error="insufficient_user_authentication"`) {
		t.Errorf("WWW-Authenticate %q", challenge)
	}
	w.one("GET", "/api", bearer, "Cookie: sallyport="+alice.Cookie("sallyport"))
	two := send(t, w.URL(), "GET", "/api", bearer, "Cookie: id_token="+i.token("bob", "x", nil))
	wantStatus(t, two, http.StatusBadRequest)
}

// A token that does not hold is nobody's, and the app does not get to see it.
func TestTokensThatDoNotHold(t *testing.T) {
	t.Parallel()
	w, i := startJWT(t, stack.Policy{})
	i.holding("alice", i.token("alice", "s1", nil)).enrol()
	now := w.clock.Now()
	good := i.token("alice", "s1", nil)
	parts := strings.Split(good, ".")
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := i.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	full := claims{"iss": "https://id.example", "aud": "portal", "sub": "alice", "exp": now.Add(time.Hour).Unix()}
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	for name, token := range map[string]string{
		"expired":                      i.token("alice", "s1", claims{"exp": now.Add(-time.Hour).Unix()}),
		"without an end":               i.token("alice", "s1", claims{"exp": nil}),
		"not yet valid":                i.token("alice", "s1", claims{"nbf": now.Add(time.Hour).Unix()}),
		"of another issuer":            i.token("alice", "s1", claims{"iss": "https://id.example/"}),
		"for another app":              i.token("alice", "s1", claims{"aud": []string{"wiki"}}),
		"for nobody":                   i.token("alice", "s1", claims{"aud": nil}),
		"without a signature":          none,
		"signed by another key":        i.sign(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: other, KeyID: "k1"}}, full),
		"signed with the public key":   i.sign(jose.SigningKey{Algorithm: jose.HS256, Key: public}, full),
		"with a changed payload":       parts[0] + "." + parts[1][:len(parts[1])-2] + "AA." + parts[2],
		"no token at all":              "x",
		"two dots":                     "..",
		"of two parts":                 parts[0] + "." + parts[1],
		"that is longer than a cookie": strings.Repeat("x", 6000),
	} {
		for _, header := range []string{"Cookie: theme=dark; id_token=" + token, "Authorization: Bearer " + token} {
			got := w.one("GET", "/my", header)
			kind, _, _ := strings.Cut(header, ":")
			if strings.Contains(got.Header.Get("Cookie"), "id_token") || got.Header.Get("Authorization") != "" {
				t.Errorf("a token %s reached the app in %s", name, kind)
			}
			if kind == "Cookie" && got.Header.Get("Cookie") != "theme=dark" {
				t.Errorf("%s: the app saw the cookies %q", name, got.Header.Get("Cookie"))
			}
		}
	}
	// The sign-in page is still within reach, and the sidecar's pages lead there.
	wantLocation(t, i.holding("alice", none).Get(prefix), "/login")
}

func TestKeysOfTokensAway(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.away.Store(true)
	i.w = startOffice(t, stack.Options{Policy: i.policy(stack.Policy{})})
	p := i.holding("alice", i.token("alice", "s1", nil))
	wantRefused(t, p, "identity_unavailable", true)
	wantPublicOpen(t, p)
}

func TestTokenWithoutASubject(t *testing.T) {
	t.Parallel()
	_, i := startJWT(t, stack.Policy{})
	wantRefused(t, i.holding("alice", i.token("alice", "s1", claims{"sub": nil})), "identity_unavailable", true)
}

func TestRolesOfATokenRequireTheFactor(t *testing.T) {
	t.Parallel()
	_, i := startJWT(t, stack.Policy{Admins: true})
	i.holding("alice", i.token("alice", "s1", nil)).wantPasses(true, "an employee")
	i.holding("adam", i.token("adam", "s1", claims{"roles": []string{"Administrator"}})).wantPasses(false, "an administrator")
	i.holding("ines", i.token("ines", "s1", claims{"roles": "it_administrator"})).wantPasses(false, "an IT administrator")
	i.holding("eve", i.token("eve", "s1", claims{"roles": nil})).wantPasses(false, "who brings no roles")
}

// Where tokens have no id of the sign-in, the app's sign-in and sign-out end it.
func TestTokenWithoutASignIn(t *testing.T) {
	t.Parallel()
	_, i := startJWT(t, stack.Policy{})
	alice := i.holding("alice", i.token("alice", "", nil))
	alice.enrol()
	for _, path := range []string{"/logout", "/login"} {
		alice.wantPasses(true, "before "+path)
		token := alice.Cookie("sallyport")
		alice.hold(i.token("alice", "", nil))
		alice.wantPasses(true, "with a renewed token")
		alice.Post(path, nil)
		alice.wantPasses(false, "after "+path)
		alice.setCookie("sallyport", token)
		alice.wantPasses(false, "after "+path+", with the token from before")
		alice.verify()
	}
}
