// Package policy holds the rules of an MFAPolicy: the types a platform team
// writes, their defaults, their validation, the strict decoder of a manifest,
// and the signed envelope in which a controller hands rules to sidecars.
//
// The rules in a manifest's spec are the sidecar's configuration. There is no
// second format: what is read in Git is what every sidecar obeys.
//
// It imports the standard library only, performs no I/O, and must never know
// Kubernetes types: both halves of the product depend on it.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
package policy

import (
	"encoding/json"
	"fmt"
	"time"
)

// Rules are what a sidecar obeys. The zero value is not usable: decode a
// manifest, or call SetDefaults and then Validate.
type Rules struct {
	// requireForEveryone demands a second factor from every signed-in user.
	RequireForEveryone bool `json:"requireForEveryone,omitempty"`
	// requireForAdmins demands a second factor from users who hold one of
	// adminRoles. A user whose roles cannot be read counts as one of them.
	RequireForAdmins bool `json:"requireForAdmins,omitempty"`
	// adminRoles names the roles that requireForAdmins covers. Case, spaces,
	// "_" and "-" do not matter. Default: administrator, it-administrator,
	// super-administrator.
	AdminRoles []string `json:"adminRoles,omitempty"`
	// workspace names the set of people that enrolments belong to. Policies of
	// one namespace that share it share enrolments. Default: the policy's name.
	Workspace string `json:"workspace,omitempty"`
	// issuer is what the authenticator app shows. Default: the policy's name.
	Issuer string `json:"issuer,omitempty"`
	// app describes the protected app.
	App App `json:"app"`
	// identity says how the sidecar learns who is signed in.
	Identity Identity `json:"identity"`
	// anonymous says what happens to a request without any sign-in. Default: Allow.
	Anonymous Anonymous `json:"anonymous,omitempty"`
	// exempt lists paths that are served without a second factor.
	Exempt []Exemption `json:"exempt,omitempty"`
	// session bounds how long a verification lasts.
	Session Session `json:"session,omitzero"`
	// branding changes what the pages look like.
	Branding Branding `json:"branding,omitzero"`
}

// App describes the protected app.
type App struct {
	// port is the app's container port: a number from 1 to 65535, or the name
	// of a port that the pod declares. Required.
	Port Port `json:"port"`
	// twoFactorPath is the prefix under which the sidecar serves its pages.
	// Default: /my/profile/two-factor.
	TwoFactorPath string `json:"twoFactorPath,omitempty"`
	// signInPath is the app's sign-in page. Default: /login.
	SignInPath string `json:"signInPath,omitempty"`
	// signOut is the request that ends the app's session.
	SignOut SignOut `json:"signOut,omitzero"`
	// passwordCheck says how a current password is checked: the app decides,
	// the sidecar asks it.
	PasswordCheck PasswordCheck `json:"passwordCheck,omitzero"`
}

// SignOut is the request that ends the app's session.
type SignOut struct {
	// path of the request. Default: /logout.
	Path string `json:"path,omitempty"`
	// method of the request: GET, POST or DELETE. Default: POST.
	Method string `json:"method,omitempty"`
}

// PasswordCheckType names an adapter to the app's own password check.
type PasswordCheckType string

// The adapters to the app's own password check.
const (
	// PasswordCheckForm submits the app's sign-in form, hidden fields included.
	PasswordCheckForm PasswordCheckType = "Form"
	// PasswordCheckJSON posts a JSON object with the two fields.
	PasswordCheckJSON PasswordCheckType = "JSON"
	// PasswordCheckBasic sends a GET with HTTP Basic credentials.
	PasswordCheckBasic PasswordCheckType = "Basic"
	// PasswordCheckNone is for apps that have no password: disabling asks for
	// a current code instead.
	PasswordCheckNone PasswordCheckType = "None"
)

// PasswordCheck says how a current password is checked.
type PasswordCheck struct {
	// type of the check: Form, JSON, Basic or None. Default: Form.
	Type PasswordCheckType `json:"type,omitempty"`
	// path that is asked. Default: app.signInPath.
	Path string `json:"path,omitempty"`
	// usernameField carries the account name. Default: username.
	UsernameField string `json:"usernameField,omitempty"`
	// passwordField carries the password. Default: password.
	PasswordField string `json:"passwordField,omitempty"`
	// success says which answer means that the password is right.
	Success PasswordSuccess `json:"success,omitzero"`
}

// PasswordSuccess says which answer means that the password is right. Every
// condition that is set must hold.
type PasswordSuccess struct {
	// status lists accepted status codes. Default: 302 and 303 for Form, else 200.
	Status []int `json:"status,omitempty"`
	// notLocation is a path that the answer's Location must not lead to.
	// Default: app.signInPath for Form, else none.
	NotLocation string `json:"notLocation,omitempty"`
}

// IdentityType names a source of "who is signed in".
type IdentityType string

// The sources of "who is signed in".
const (
	// IdentityEndpoint asks the app with the request's own credentials.
	IdentityEndpoint IdentityType = "Endpoint"
	// IdentityJWT reads a signed token.
	IdentityJWT IdentityType = "JWT"
	// IdentityHeaders trusts an authenticating proxy in front.
	IdentityHeaders IdentityType = "Headers"
)

// Identity selects exactly one source of "who is signed in".
type Identity struct {
	// type of the source: Endpoint, JWT or Headers. Required.
	Type IdentityType `json:"type"`
	// endpoint configures type Endpoint.
	Endpoint *EndpointIdentity `json:"endpoint,omitempty"`
	// jwt configures type JWT.
	JWT *JWTIdentity `json:"jwt,omitempty"`
	// headers configures type Headers.
	Headers *HeadersIdentity `json:"headers,omitempty"`
}

// EndpointIdentity asks the app with the request's own credentials.
type EndpointIdentity struct {
	// path that answers 200 with a JSON object for a signed-in user, and one of
	// anonymousStatus for nobody. Default: /api/me.
	Path string `json:"path,omitempty"`
	// anonymousStatus lists the answers that mean nobody, 401 or 403. Add 403
	// only where the app gives it to people who are not signed in and never to
	// one who is: whoever is taken for nobody is asked for nothing. Default: 401.
	AnonymousStatus []int `json:"anonymousStatus,omitempty"`
	// cookies that mean a sign-in; their values are also the sign-in's id.
	// Default: session.
	Cookies []string `json:"cookies,omitempty"`
	// subject is a JSON pointer (RFC 6901) to the user's stable id, a string or
	// an integer. Default: /id.
	Subject string `json:"subject,omitempty"`
	// account is a JSON pointer to the name that the user signs in with.
	// Default: /email.
	Account string `json:"account,omitempty"`
	// roles is a JSON pointer to a string or a list of strings. Default: /roles.
	Roles string `json:"roles,omitempty"`
	// cacheFor is how long an answer may be reused for identical credentials,
	// at most 5s. Default: 5s. 0s asks for every request.
	CacheFor *Duration `json:"cacheFor,omitempty"`
}

// JWTIdentity reads a signed token from a cookie or the Authorization header.
type JWTIdentity struct {
	// cookie that carries the token. Without it only "Authorization: Bearer" does.
	Cookie string `json:"cookie,omitempty"`
	// issuer that the token's iss must equal. Required.
	Issuer string `json:"issuer"`
	// audience lists values of which the token's aud must hold one. Required.
	Audience []string `json:"audience"`
	// jwks says where the public keys are. Required.
	JWKS JWKS `json:"jwks"`
	// claims names the token's claims.
	Claims JWTClaims `json:"claims,omitzero"`
}

// JWKS says where the public keys (RFC 7517) are: exactly one of its fields.
type JWKS struct {
	// url of the key set, https, or http to a loopback address.
	URL string `json:"url,omitempty"`
	// secretRef names a Secret in the policy's namespace; only a cluster can
	// resolve it.
	SecretRef *SecretRef `json:"secretRef,omitempty"`
	// inline is the key set itself, as a JSON document. Public keys only.
	Inline string `json:"inline,omitempty"`
}

// SecretRef names one key of a Secret in the policy's own namespace.
type SecretRef struct {
	// name of the Secret. Required.
	Name string `json:"name"`
	// key within the Secret. Default: jwks.json.
	Key string `json:"key,omitempty"`
}

// JWTClaims names a token's claims.
type JWTClaims struct {
	// subject claim. Default: sub.
	Subject string `json:"subject,omitempty"`
	// account claim. Default: email.
	Account string `json:"account,omitempty"`
	// roles claim, a string or a list of strings. Default: roles.
	Roles string `json:"roles,omitempty"`
	// signIn claim, a stable id of the sign-in. Default: sid.
	SignIn string `json:"signIn,omitempty"`
}

// HeadersIdentity trusts an authenticating proxy in front of the sidecar.
type HeadersIdentity struct {
	// subject header. Default: X-Forwarded-User.
	Subject string `json:"subject,omitempty"`
	// account header. Default: X-Forwarded-Email.
	Account string `json:"account,omitempty"`
	// roles header, comma separated. Default: X-Forwarded-Groups.
	Roles string `json:"roles,omitempty"`
	// signIn header, a stable id of the sign-in. Default: none; sign-in and
	// sign-out are then observed by their paths.
	SignIn string `json:"signIn,omitempty"`
	// trustedProxies lists the CIDRs whose headers are believed. From anyone
	// else these headers are dropped. Required.
	TrustedProxies []string `json:"trustedProxies"`
}

// Anonymous says what happens to a request without any sign-in.
type Anonymous string

// What happens to a request without any sign-in.
const (
	// AnonymousAllow passes it to the app.
	AnonymousAllow Anonymous = "Allow"
	// AnonymousDeny lets it reach the app's sign-in only.
	AnonymousDeny Anonymous = "Deny"
)

// Exemption names requests that need no second factor: an exact path, or all
// paths below a prefix. Only canonical paths ever match.
type Exemption struct {
	// path that matches exactly.
	Path string `json:"path,omitempty"`
	// prefix that matches itself and everything below; it must end in "/".
	Prefix string `json:"prefix,omitempty"`
	// methods that match. Default: every method.
	Methods []string `json:"methods,omitempty"`
	// passCredentials forwards the request's cookies and Authorization. Default:
	// false; without them an exempt path cannot act for a signed-in user.
	PassCredentials bool `json:"passCredentials,omitempty"`
}

// Session bounds how long a verification lasts.
type Session struct {
	// maxAge ends a verification this long after the code was entered. From 1m
	// to 720h. Default: 24h.
	MaxAge *Duration `json:"maxAge,omitempty"`
	// idle ends a verification that was not used for this long. 0s: never.
	// Default: 0s.
	Idle *Duration `json:"idle,omitempty"`
	// freshness is how recent a verification must be to regenerate recovery
	// codes; an older one is asked for a code first. Default: 15m, or maxAge
	// where that is shorter.
	Freshness *Duration `json:"freshness,omitempty"`
}

// Branding changes what the pages look like.
type Branding struct {
	// productName stands in the pages' header. Default: the issuer.
	ProductName string `json:"productName,omitempty"`
	// logoURL is a same-origin path to a logo.
	LogoURL string `json:"logoURL,omitempty"`
	// supportURL is where "Contact support" leads: an https or mailto URL, or a
	// same-origin path.
	SupportURL string `json:"supportURL,omitempty"`
}

// Duration is a time span written as Go writes it: "15m", "24h", "0s".
//
// +kubebuilder:validation:Type=string
// +kubebuilder:validation:MaxLength=32
type Duration struct{ time.Duration }

// MarshalJSON writes the duration as a string.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the duration from a string such as "15m".
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf(`must be a duration such as "15m" or "24h"`)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf(`%q is not a duration; write one such as "15m" or "24h"`, s)
	}
	d.Duration = v
	return nil
}

// Port is a container port by number, or by the name a pod declares.
//
// +kubebuilder:validation:Type=""
// +kubebuilder:validation:XIntOrString
type Port struct {
	Number int32  `json:"-"`
	Name   string `json:"-"`
}

// MarshalJSON writes the number, or the name where there is one.
func (p Port) MarshalJSON() ([]byte, error) {
	if p.Name != "" {
		return json.Marshal(p.Name)
	}
	return json.Marshal(p.Number)
}

// UnmarshalJSON reads a number or a name.
func (p *Port) UnmarshalJSON(b []byte) error {
	*p = Port{}
	if json.Unmarshal(b, &p.Number) == nil {
		return nil
	}
	p.Number = 0
	if json.Unmarshal(b, &p.Name) == nil {
		return nil
	}
	return fmt.Errorf("must be a port number or the name of a container port")
}
