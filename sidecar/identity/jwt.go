package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejson "github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/identity/wire"
)

const (
	leeway   = 30 * time.Second
	maxToken = 16 << 10
	maxTries = 16 // keys tried for a token that does not name one
)

// JWTOptions are what a JWT source works with beside the policy.
type JWTOptions struct {
	// Transport fetches the key set. Default: one of its own.
	Transport http.RoundTripper
	// Clock tells the time. Required.
	Clock func() time.Time
	// Observer, if any.
	Observer Observer
}

// JWT reads a signed token from a cookie or from "Authorization: Bearer".
//
// Signatures are asymmetric only. An HMAC token would be signed with what everyone
// may read, and "none" is no signature at all. Header fields that bring a key or
// point to one (jku, x5u, jwk, x5c) are ignored: keys come from the policy's key
// set and nowhere else.
type JWT struct {
	cfg   policy.JWTIdentity
	keys  keySource
	drop  func(wire.Pair) bool
	clock func() time.Time
}

var _ Reserver = (*JWT)(nil)

// keySource hands out the keys that a token with this key id may be signed with;
// none means that the key is unknown. An error means that nothing is known.
type keySource interface {
	lookup(ctx context.Context, kid string) ([]jose.JSONWebKey, error)
}

// NewJWT returns a source that reads tokens, under a policy with its defaults
// filled in.
func NewJWT(cfg policy.JWTIdentity, o JWTOptions) (*JWT, error) {
	if cfg.Issuer == "" || len(cfg.Audience) == 0 || cfg.Claims.Subject == "" {
		return nil, errors.New("identity.jwt needs an issuer, an audience and a subject claim")
	}
	if o.Clock == nil {
		return nil, errors.New("identity.jwt needs a clock")
	}
	keys, err := newKeySource(cfg.JWKS, o)
	if err != nil {
		return nil, err
	}
	j := &JWT{cfg: cfg, keys: keys, clock: o.Clock, drop: func(wire.Pair) bool { return false }}
	if cfg.Cookie != "" {
		j.drop = wire.Named([]string{cfg.Cookie})
	}
	return j, nil
}

func newKeySource(cfg policy.JWKS, o JWTOptions) (keySource, error) {
	switch {
	case cfg.SecretRef != nil:
		return nil, fmt.Errorf("identity.jwt.jwks.secretRef names the Secret %q, which only a cluster can resolve: "+
			"let the controller publish this policy, or use jwks.url or jwks.inline", cfg.SecretRef.Name)
	case cfg.Inline != "":
		keys, err := parseKeys([]byte(cfg.Inline), true)
		if err != nil {
			return nil, fmt.Errorf("identity.jwt.jwks.inline: %w", err)
		}
		return fixedKeys(keys), nil
	case cfg.URL != "":
		keys, err := newRemoteKeys(cfg.URL, o)
		if err != nil {
			return nil, fmt.Errorf("identity.jwt.jwks.url: %w", err)
		}
		return keys, nil
	default:
		return nil, errors.New("identity.jwt.jwks names no key set")
	}
}

// Identify reads the request's token. A token that does not hold is nobody's: it
// is removed, so that the app does not see it either and the user can sign in
// again. An Authorization header that is no token was not judged and goes too.
func (j *JWT) Identify(ctx context.Context, r *http.Request) Identity {
	token, ok := j.token(r)
	if !ok {
		return indeterminate(ReasonMalformed)
	}
	id := Identity{Kind: Anonymous}
	if token != "" {
		id = j.identify(ctx, token)
	}
	switch {
	case id.Kind == Anonymous:
		j.Strip(r)
	case !isBearer(r.Header.Get("Authorization")):
		r.Header.Del("Authorization")
	}
	return id
}

func isBearer(authorization string) bool {
	scheme, _, _ := strings.Cut(authorization, " ")
	return strings.EqualFold(scheme, "Bearer")
}

// token finds the one token of a request, "" for none. It is not ok where there
// are several: the app may go by another one than the sidecar.
func (j *JWT) token(r *http.Request) (token string, ok bool) {
	var found []string
	if j.cfg.Cookie != "" {
		found = wire.Values(wire.CookieLine(r.Header), j.cfg.Cookie)
	}
	authorization := r.Header["Authorization"]
	if len(found) > 1 || len(authorization) > 1 {
		return "", false
	}
	for _, value := range authorization {
		scheme, credentials, _ := strings.Cut(value, " ")
		if strings.EqualFold(scheme, "Bearer") {
			found = append(found, strings.TrimSpace(credentials))
		}
	}
	found = slices.DeleteFunc(found, func(s string) bool { return s == "" })
	if len(found) == 0 {
		return "", true
	}
	return found[0], len(slices.Compact(found)) == 1
}

func (j *JWT) identify(ctx context.Context, token string) Identity {
	payload, err := j.verify(ctx, token)
	if err != nil {
		return indeterminate(ReasonKeys)
	}
	if payload == nil || !j.inForce(payload) {
		return Identity{Kind: Anonymous}
	}
	document, err := decodeJSON(payload)
	if err != nil {
		return indeterminate(ReasonAnswer)
	}
	claims, _ := document.(map[string]any)
	subject, ok := readSubject(claims[j.cfg.Claims.Subject])
	if !ok {
		return indeterminate(ReasonAnswer)
	}
	id := Identity{Kind: Authenticated, Subject: subject, Account: readAccount(claims[j.cfg.Claims.Account])}
	id.Roles, id.RolesKnown = readRoles(claims[j.cfg.Claims.Roles])
	id.SignIn, _ = claims[j.cfg.Claims.SignIn].(string)
	return id
}

// verify returns the payload of a token whose signature holds, nil for any other
// token. An error means that the keys are not at hand.
func (j *JWT) verify(ctx context.Context, token string) ([]byte, error) {
	signed, header, ok := parseToken(token)
	if !ok {
		return nil, nil
	}
	keys, err := j.keys.lookup(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	for _, key := range keys[:min(len(keys), maxTries)] {
		if !fits(key, jose.SignatureAlgorithm(header.Algorithm)) {
			continue
		}
		if payload, err := signed.Verify(key.Key); err == nil {
			return payload, nil
		}
	}
	return nil, nil
}

func parseToken(token string) (*jose.JSONWebSignature, jose.Header, bool) {
	if len(token) > maxToken {
		return nil, jose.Header{}, false
	}
	signed, err := jose.ParseSignedCompact(token, algorithms())
	if err != nil || len(signed.Signatures) != 1 {
		return nil, jose.Header{}, false
	}
	header := signed.Signatures[0].Protected
	// "crit" demands to be understood or refused. The library understands b64,
	// which changes what is signed; nothing here needs it.
	_, critical := header.ExtraHeaders["crit"]
	return signed, header, !critical
}

// inForce checks who a token is from, who it is for and when it holds. A token
// without an end is not accepted. The library's own decoder is used, which knows
// one spelling of a claim and no claim twice.
func (j *JWT) inForce(payload []byte) bool {
	var c struct {
		Issuer    string           `json:"iss"`
		Audience  jwt.Audience     `json:"aud"`
		Expiry    *jwt.NumericDate `json:"exp"`
		NotBefore *jwt.NumericDate `json:"nbf"`
		IssuedAt  *jwt.NumericDate `json:"iat"`
	}
	if err := josejson.Unmarshal(payload, &c); err != nil || c.Expiry == nil {
		return false
	}
	claims := jwt.Claims{
		Issuer: c.Issuer, Audience: c.Audience, Expiry: c.Expiry, NotBefore: c.NotBefore, IssuedAt: c.IssuedAt,
	}
	expected := jwt.Expected{Issuer: j.cfg.Issuer, AnyAudience: j.cfg.Audience, Time: j.clock()}
	return claims.ValidateWithLeeway(expected, leeway) == nil
}

// Strip removes the token's cookie in every spelling, and Authorization.
func (j *JWT) Strip(r *http.Request) {
	r.Header.Del("Authorization")
	wire.SetCookieLine(r.Header, wire.Without(wire.CookieLine(r.Header), j.drop))
}

// Reserved names what other products' proxies set: no header beside Authorization
// says who is signed in.
func (j *JWT) Reserved() []string { return foreignHeaders[:] }

// Trusts nobody to set them.
func (j *JWT) Trusts(netip.Addr) bool { return false }

// Forget has nothing to drop: a token is judged each time.
func (j *JWT) Forget(*http.Request) {}

// Observe follows the token's cookie: the new token says whether it is of the same
// sign-in. One that does not hold ends the sign-in.
func (j *JWT) Observe(r *http.Request, response http.Header) (signIn string, changed bool) {
	if j.cfg.Cookie == "" {
		return "", false
	}
	token, set := "", false
	for _, line := range response["Set-Cookie"] {
		c := wire.ReadSetCookie(line, j.clock())
		switch {
		case c.Name != j.cfg.Cookie:
		case !c.Ended:
			token, set = c.Value, true
		case token == "":
			set = true
		}
	}
	if !set {
		return "", false
	}
	// Not Identify, which may remove headers: others may be reading them by now.
	var before Identity
	if old, ok := j.token(r); ok && old != "" {
		before = j.identify(r.Context(), old)
	}
	if token == "" {
		return "", before.Kind == Authenticated
	}
	after := j.identify(r.Context(), token)
	return after.SignIn, after.Kind != Authenticated || after.SignIn != before.SignIn
}
