package policy

// IdentityType names a source of "who is signed in".
// +kubebuilder:validation:Enum=Endpoint;JWT;Headers
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
//
// +kubebuilder:validation:XValidation:fieldPath=".endpoint",rule=`self.type != 'Endpoint' || has(self.endpoint)`,message=`is required where type is Endpoint; write the block "endpoint", which may be empty: {}`
// +kubebuilder:validation:XValidation:fieldPath=".jwt",rule=`self.type != 'JWT' || has(self.jwt)`,message=`is required where type is JWT; write the block "jwt" with issuer, audience and jwks`
// +kubebuilder:validation:XValidation:fieldPath=".headers",rule=`self.type != 'Headers' || has(self.headers)`,message=`is required where type is Headers; write the block "headers" with trustedProxies`
// +kubebuilder:validation:XValidation:fieldPath=".endpoint",rule=`self.type == 'Endpoint' || !has(self.endpoint)`,message="belongs to type Endpoint; remove it, or write type: Endpoint"
// +kubebuilder:validation:XValidation:fieldPath=".jwt",rule=`self.type == 'JWT' || !has(self.jwt)`,message="belongs to type JWT; remove it, or write type: JWT"
// +kubebuilder:validation:XValidation:fieldPath=".headers",rule=`self.type == 'Headers' || !has(self.headers)`,message="belongs to type Headers; remove it, or write type: Headers"
type Identity struct {
	// type of the source. Endpoint asks the app with the request's own
	// credentials. JWT reads a signed token. Headers trusts an authenticating
	// proxy in front. Required. Example: Endpoint.
	Type IdentityType `json:"type"`
	// endpoint configures type Endpoint, and may be empty: {}.
	// Example: {path: /api/me, cookies: [session], subject: /id}.
	Endpoint *EndpointIdentity `json:"endpoint,omitempty"`
	// jwt configures type JWT. Example: {issuer: https://id.acme.example,
	// audience: [portal], jwks: {url: https://id.acme.example/jwks.json}}.
	JWT *JWTIdentity `json:"jwt,omitempty"`
	// headers configures type Headers. Example: {trustedProxies: [10.0.0.0/8]}.
	Headers *HeadersIdentity `json:"headers,omitempty"`
}

// AnswerFormat says how the user is found in an endpoint's answer.
// +kubebuilder:validation:Enum=JSON;Form
type AnswerFormat string

// How the user is found in an endpoint's answer.
const (
	// AnswerJSON is a JSON document.
	AnswerJSON AnswerFormat = "JSON"
	// AnswerForm is an HTML page whose forms are filled in for the user.
	AnswerForm AnswerFormat = "Form"
)

// EndpointIdentity asks the app with the request's own credentials.
//
// +kubebuilder:validation:XValidation:fieldPath=".anonymousLocation",rule="!has(self.anonymousLocation) || self.anonymousLocation != (has(self.path) ? self.path : '/api/me')",message="is path itself, which cannot lead there; write the app's sign-in page"
type EndpointIdentity struct {
	// path that answers 200 with the user's own JSON object or page for a
	// signed-in user, and with anonymousStatus or a redirect to
	// anonymousLocation for nobody. Anything else is a failure, and never nobody.
	// Default: /api/me. Example: /api/session.
	Path pathText `json:"path,omitempty"`
	// format of the answer. JSON is a document, into which subject, account and
	// roles point. Form is for apps without one: an HTML page whose forms are
	// filled in for the user, such as their settings; subject, account and roles
	// then name fields, as /username does. A page on which the field of the
	// subject is missing, or there twice, is a failure. Default: JSON. Example:
	// Form.
	Format AnswerFormat `json:"format,omitempty"`
	// anonymousStatus lists the answers that mean nobody, 401 or 403. Add 403
	// only where the app gives it to people who are not signed in and never to
	// one who is: whoever is taken for nobody is asked for nothing. Default: 401,
	// or none where anonymousLocation is written. Example: [401, 403].
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:validation:XValidation:rule="self.all(s, s == 401 || s == 403)",message="cannot mean nobody; write 401 or 403"
	AnonymousStatus []int `json:"anonymousStatus,omitempty"`
	// anonymousLocation is the path of the app's sign-in page, where it redirects
	// people who are not signed in and asked for path: such a redirect (302, 303
	// or 307) means nobody. Write it only where the app never sends one there who
	// is signed in. Default: none. Example: /user/login.
	AnonymousLocation pathText `json:"anonymousLocation,omitempty"`
	// cookies that mean a sign-in, at most 16; their values are also the
	// sign-in's id. Name the session cookie, and none that changes in between: a
	// changed value is a new sign-in. Default: session. Example: [PHPSESSID].
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="size(self) > 0",message="is empty; name the cookies that mean a sign-in"
	Cookies []cookieText `json:"cookies,omitempty"`
	// subject is a JSON pointer (RFC 6901) into the answer, to the user's stable
	// id, a string or an integer. Enrolments hang on it: take one that is never
	// given to somebody else. Default: /id. Example: /user/id.
	Subject pointerText `json:"subject,omitempty"`
	// account is a JSON pointer to the name that the user signs in with. The
	// authenticator app shows it, and the password check sends it. Default:
	// /email. Example: /user/name.
	Account pointerText `json:"account,omitempty"`
	// roles is a JSON pointer to a string or a list of strings. Default: /roles.
	// Example: /user/groups.
	Roles pointerText `json:"roles,omitempty"`
	// cacheFor is how long an answer may be reused for identical credentials,
	// from 0s to 5s. 0s asks for every request. Default: 5s. Example: 2s.
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^(0|([0-9]{1,7}(\.[0-9]+)?(ns|us|ms|s|m)|[0-9]{1,5}(\.[0-9]+)?h)+)$') && duration(self) <= duration('5s')`,message=`is out of bounds or no duration; write "0s" to "5s"`
	CacheFor *Duration `json:"cacheFor,omitempty"`
}

// JWTIdentity reads a signed token from a cookie or the Authorization header.
type JWTIdentity struct {
	// cookie that carries the token. Default: none; only "Authorization: Bearer"
	// does then. Example: token.
	Cookie cookieText `json:"cookie,omitempty"`
	// issuer that the token's iss must equal, to the letter. At most 512
	// characters. Required. Example: https://id.acme.example.
	// +kubebuilder:validation:MaxLength=512
	Issuer lineText `json:"issuer"`
	// audience lists values of which the token's aud must hold one, at most 16.
	// Required. Example: [portal].
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="size(self) > 0",message="is required; list the audiences that tokens for this app carry"
	Audience []audienceText `json:"audience"`
	// jwks says where the public keys are. Required: exactly one of url,
	// secretRef and inline. Example: {url: https://id.acme.example/jwks.json}.
	JWKS JWKS `json:"jwks"`
	// claims names the token's claims. Default: sub, email, roles and sid.
	// Example: {account: preferred_username, roles: groups}.
	Claims JWTClaims `json:"claims,omitzero"`
}

// JWKS says where the public keys (RFC 7517) are: exactly one of its fields.
//
// +kubebuilder:validation:XValidation:rule="[has(self.url), has(self.secretRef), has(self.inline)].filter(x, x).size() == 1",message="names no source of keys, or several; write exactly one of url, secretRef and inline"
type JWKS struct {
	// url of the key set: https, or http to a loopback address. The sidecar
	// fetches it, and again when a token names a key that it does not know.
	// Example: https://id.acme.example/jwks.json.
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[A-Za-z][A-Za-z0-9+.-]*://[!-\[\]-~]+$') && isURL(self) && url(self).getHostname() != ''`,message=`is not a URL; write one such as "https://id.example.com/jwks.json"`
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r'^[^/?#]*//[^/?#]*@')`,message="holds a user name or password; remove them, public keys need none"
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^(?i)(https:|http://([^/?#]*@)?(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]*)?([/?#]|$)|[^:]*(:[^/]|:/[^/]|$))')`,message="could be answered by anyone on the way; write an https URL, or http to a loopback address"
	// +kubebuilder:validation:XValidation:rule=`!self.contains('#')`,message=`holds a fragment; remove "#" and what follows`
	URL string `json:"url,omitempty"`
	// secretRef names a Secret in the policy's namespace that holds the key set;
	// the controller reads it. Only a cluster can resolve it. Example: {name:
	// portal-jwks}.
	SecretRef *SecretRef `json:"secretRef,omitempty"`
	// inline is the key set itself, as a JSON document of at most 64 KiB. Public
	// keys only. Example: '{"keys": [{"kty": "EC", …}]}'.
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r'(?i)"(d|k|p|q|dp|dq|qi|oth)"\s*:')`,message="holds a private key; write public keys only, and replace this key: it has been disclosed"
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^\s*\{') && self.contains('"keys"')`,message=`is not a set of keys; write a JSON object such as {"keys": [...]} with at least one public key`
	Inline string `json:"inline,omitempty"`
}

// SecretRef names one key of a Secret in the policy's own namespace.
type SecretRef struct {
	// name of the Secret. Required. Example: portal-jwks.
	Name secretName `json:"name"`
	// key within the Secret, at most 253 characters. Default: jwks.json.
	// Example: keys.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[A-Za-z0-9._-]+$') && self != '.' && !self.startsWith('..')`,message=`is not a key of a Secret; write letters, digits, "-", "_" and "."`
	Key string `json:"key,omitempty"`
}

// JWTClaims names a token's claims.
type JWTClaims struct {
	// subject claim: the user's stable id. Enrolments hang on it. At most 128
	// characters. Default: sub. Example: oid.
	// +kubebuilder:validation:MaxLength=128
	Subject lineText `json:"subject,omitempty"`
	// account claim: the name that the user signs in with. At most 128
	// characters. Default: email. Example: preferred_username.
	// +kubebuilder:validation:MaxLength=128
	Account lineText `json:"account,omitempty"`
	// roles claim, a string or a list of strings. At most 128 characters.
	// Default: roles. Example: groups.
	// +kubebuilder:validation:MaxLength=128
	Roles lineText `json:"roles,omitempty"`
	// signIn claim: a stable id of the sign-in, which lives as long as the
	// sign-in and outlives a renewed token. At most 128 characters. Default: sid.
	// Example: session_state.
	// +kubebuilder:validation:MaxLength=128
	SignIn lineText `json:"signIn,omitempty"`
}

// HeadersIdentity trusts an authenticating proxy in front of the sidecar.
type HeadersIdentity struct {
	// subject header: the user's stable id. Enrolments hang on it.
	// Default: X-Forwarded-User. Example: Remote-User.
	Subject headerText `json:"subject,omitempty"`
	// account header: the name that the user signs in with.
	// Default: X-Forwarded-Email. Example: Remote-Email.
	Account headerText `json:"account,omitempty"`
	// roles header, a list separated by commas. Default: X-Forwarded-Groups.
	// Example: Remote-Groups.
	Roles headerText `json:"roles,omitempty"`
	// signIn header: a stable id of the sign-in. Default: none; sign-in and
	// sign-out are then observed by their paths. Example: X-Auth-Session-Id.
	SignIn headerText `json:"signIn,omitempty"`
	// trustedProxies lists the CIDRs whose headers are believed, at most 32. From
	// anyone else these headers are dropped. Everyone in these ranges can name
	// themselves: list the proxy's own addresses and no more. Required.
	// Example: [10.1.2.0/24].
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="size(self) > 0",message="is required; list the addresses of the authenticating proxy, such as [10.0.0.0/8]"
	TrustedProxies []proxyText `json:"trustedProxies"`
}
