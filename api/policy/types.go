// Package policy holds the rules of an MFAPolicy: the types a platform team
// writes, their defaults, their validation, the strict decoder of a manifest,
// and the signed envelope in which a controller hands rules to sidecars.
//
// The rules in a manifest's spec are the sidecar's configuration. There is no
// second format: what is read in Git is what every sidecar obeys.
//
// The types carry the schema of the MFAPolicy resource as markers, so that an
// API server refuses what Validate refuses, as far as a schema can say it.
// The bounds of both are the same; Validate has the last word.
//
// It imports the standard library only, performs no I/O, and must never know
// Kubernetes types: both halves of the product depend on it.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
package policy

// Rules are what a sidecar obeys. The zero value is not usable: decode a
// manifest, or call SetDefaults and then Validate.
//
// +kubebuilder:validation:XValidation:fieldPath=".adminRoles",rule=`self.identity.type != 'Headers' || !has(self.adminRoles) || self.adminRoles.all(r, !r.contains(','))`,message="a role with a comma can never match, because the roles header is a list separated by commas; write the roles as separate entries"
// +kubebuilder:validation:XValidation:fieldPath=".app.twoFactorPath",rule=`!has(self.identity.endpoint) || [self.identity.endpoint.?path.orValue('/api/me')].all(p, [self.app.?twoFactorPath.orValue('/my/profile/two-factor')].all(own, p != own && !p.startsWith(own + '/')))`,message="twoFactorPath covers identity.endpoint.path, which must reach the app; write a prefix that the app does not use"
// +kubebuilder:validation:XValidation:fieldPath=".exempt",rule=`!has(self.exempt) || [self.app.?twoFactorPath.orValue('/my/profile/two-factor')].all(own, self.exempt.all(e, !has(e.path) || (e.path != own && !e.path.startsWith(own + '/'))))`,message="one of the paths belongs to the two-factor pages (app.twoFactorPath), which cannot be exempt; remove this exemption"
// +kubebuilder:validation:XValidation:fieldPath=".exempt",rule=`!has(self.exempt) || [self.app.?twoFactorPath.orValue('/my/profile/two-factor')].all(own, self.exempt.all(e, !has(e.prefix) || e.prefix == '/' || (!(own + '/').startsWith(e.prefix) && !e.prefix.startsWith(own + '/'))))`,message="one of the prefixes covers two-factor pages (app.twoFactorPath), which cannot be exempt; write a narrower prefix"
type Rules struct {
	// requireForEveryone demands a second factor from every signed-in user.
	// Whoever has none is led to set one up and can do nothing else until it
	// stands. Whoever has one is asked for it at every sign-in, whatever this
	// says. A change is in force on every running pod within seconds. Default:
	// false. Example: true.
	// +kubebuilder:default=false
	RequireForEveryone bool `json:"requireForEveryone,omitempty"`
	// requireForAdmins demands a second factor from users who hold one of
	// adminRoles. A user whose roles cannot be read counts as one of them.
	// Default: false. Example: true.
	// +kubebuilder:default=false
	RequireForAdmins bool `json:"requireForAdmins,omitempty"`
	// adminRoles names the roles that requireForAdmins covers, at most 64. Case,
	// spaces, "_" and "-" do not matter: "IT Administrator" is
	// "it-administrator". Default: administrator, it-administrator,
	// super-administrator. Example: [owner, administrator].
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="size(self) > 0",message="is empty; name at least one role, or remove the field for the default"
	AdminRoles []roleText `json:"adminRoles,omitempty"`
	// workspace names the set of people that enrolments belong to. Policies of
	// one namespace that share it share enrolments: whoever enrols at one app is
	// enrolled at the others. At most 63 lower-case letters, digits and "-". It
	// cannot change, because everybody would count as not enrolled in the new
	// one. Default: the policy's name. Example: portal.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')`,message=`is not a workspace name; write at most 63 lower-case letters, digits and "-", with a letter or digit at both ends, or remove the field: the default is the policy's name`
	Workspace string `json:"workspace,omitempty"`
	// issuer is what the authenticator app shows above the code: one line of at
	// most 64 characters, without ":". A change shows in new enrolments only.
	// Default: the policy's name. Example: Acme portal.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`!self.contains(':')`,message=`holds ":", which separates issuer and account in authenticator apps; leave it out`
	Issuer lineText `json:"issuer,omitempty"`
	// app describes the protected app: its port, its sign-in and sign-out, and
	// how it checks a password. Required. Example: {port: 8080}.
	App App `json:"app"`
	// identity says how the sidecar learns who is signed in: it asks the app
	// (Endpoint), reads a token (JWT) or believes a proxy in front (Headers).
	// Required: the type, and the one block that belongs to it. Example: {type:
	// Endpoint, endpoint: {path: /api/me}}.
	Identity Identity `json:"identity"`
	// anonymous says what happens to a request without any sign-in. Allow passes
	// it to the app, which has its own answer. Deny lets it reach the sign-in
	// page only. A request whose sign-in cannot be established is refused either
	// way. Default: Allow. Example: Deny.
	Anonymous Anonymous `json:"anonymous,omitempty"`
	// exempt lists paths that are served without a second factor, at most 128:
	// health checks, static files, webhooks of other systems. It must not hold
	// pages for signed-in people. Default: none. Example: [{path: /healthz},
	// {prefix: /static/, methods: [GET, HEAD]}].
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	Exempt []Exemption `json:"exempt,omitempty"`
	// enrolment says who may set up a second factor. Default: whoever is signed in.
	// Example: {mode: Ticket}.
	Enrolment Enrolment `json:"enrolment,omitzero"`
	// session bounds how long a verification lasts. Durations are written as Go
	// writes them: numbers with the units h, m, s or ms. Default: 24 hours at
	// most, no end for lack of use. Example: {maxAge: 12h, idle: 30m}.
	Session Session `json:"session,omitzero"`
	// branding changes what the two-factor pages look like. Default: the issuer
	// as the name, no logo, no support link. Example: {productName: Acme portal}.
	Branding Branding `json:"branding,omitzero"`
}

// Anonymous says what happens to a request without any sign-in.
// +kubebuilder:validation:Enum=Allow;Deny
type Anonymous string

// What happens to a request without any sign-in.
const (
	// AnonymousAllow passes it to the app.
	AnonymousAllow Anonymous = "Allow"
	// AnonymousDeny lets it reach the app's sign-in only.
	AnonymousDeny Anonymous = "Deny"
)

// Enrolment says who may set up a second factor.
type Enrolment struct {
	// mode Open lets whoever is signed in set up two-factor: who has stolen a
	// password can be the first to do so. Ticket asks for a ticket too, which an
	// administrator issues to one person by an MFATicket and hands over by another
	// way; it works once, within 24 hours. Enrolments that exist are not touched.
	// Default: Open. Example: Ticket.
	Mode EnrolmentMode `json:"mode,omitempty"`
}

// EnrolmentMode says what it takes to set up a second factor.
// +kubebuilder:validation:Enum=Open;Ticket
type EnrolmentMode string

// What it takes to set up a second factor.
const (
	// EnrolmentOpen takes a sign-in.
	EnrolmentOpen EnrolmentMode = "Open"
	// EnrolmentTicket takes a ticket too.
	EnrolmentTicket EnrolmentMode = "Ticket"
)

// Exemption names requests that need no second factor: an exact path, or all
// paths below a prefix. Only canonical paths ever match.
//
// +kubebuilder:validation:XValidation:rule="has(self.path) || has(self.prefix)",message="exempts nothing; write path for one path, or prefix for all paths below one"
// +kubebuilder:validation:XValidation:rule="!has(self.path) || !has(self.prefix)",message="has path and prefix; write one of them, or two entries"
// +kubebuilder:validation:XValidation:fieldPath=".authorization",rule="!has(self.authorization) || !has(self.passCredentials) || !self.passCredentials",message="would pass cookies beside the token; remove passCredentials"
type Exemption struct {
	// path that matches exactly. A request for it with an escape ("%2F"), an
	// empty segment ("//") or a dot segment ("/./") never matches. Write path or
	// prefix. Example: /healthz.
	Path pathText `json:"path,omitempty"`
	// prefix that matches itself and everything below; it must end in "/", and
	// cannot be "/" alone. Write path or prefix. Example: /static/.
	// +kubebuilder:validation:XValidation:rule=`self != '/'`,message=`would exempt everything; write the prefixes that need no second factor, such as "/static/"`
	// +kubebuilder:validation:XValidation:rule=`self.endsWith('/')`,message=`does not end in "/"; add it, or write path for this one path`
	Prefix pathText `json:"prefix,omitempty"`
	// methods that match, in upper case, at most 16. GET does not bring HEAD with
	// it. Default: every method. Example: [GET, HEAD].
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	Methods []methodText `json:"methods,omitempty"`
	// passCredentials forwards the request's cookies and Authorization to the
	// app, and the app's Set-Cookie back. Without them an exempt path cannot act
	// for a signed-in user. Default: false. Example: true.
	PassCredentials bool `json:"passCredentials,omitempty"`
	// authorization lists schemes of the Authorization header, at most 8. Only a
	// request that carries exactly one such header is exempt then, and only that
	// header reaches the app: no cookie, and the app's Set-Cookie does not come
	// back. So API tokens keep working, and a browser's session is judged as
	// anywhere else. List no scheme that carries what a password alone can get:
	// Basic, where the app takes passwords by it, or Bearer, where the app's
	// sign-in hands out tokens. Default: none; the exemption is for every request.
	// Example: [token, Bearer].
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	Authorization []schemeText `json:"authorization,omitempty"`
}

// Session bounds how long a verification lasts.
//
// +kubebuilder:validation:XValidation:fieldPath=".maxAge",rule=`!has(self.maxAge) || self.maxAge.matches(r'^([0-9]{1,7}(\.[0-9]+)?(ns|us|ms|s|m)|[0-9]{1,5}(\.[0-9]+)?h)+$') && duration(self.maxAge) >= duration('1m') && duration(self.maxAge) <= duration('720h')`,message=`is out of bounds or no duration; write from 1m to 720h, such as "24h"`
// +kubebuilder:validation:XValidation:fieldPath=".idle",rule=`!has(self.idle) || self.idle.matches(r'^(0|([0-9]{1,7}(\.[0-9]+)?(ns|us|ms|s|m)|[0-9]{1,5}(\.[0-9]+)?h)+)$') && (duration(self.idle) == duration('0s') || duration(self.idle) >= duration('1m') && (has(self.maxAge) ? !self.maxAge.matches(r'^([0-9]{1,7}(\.[0-9]+)?(ns|us|ms|s|m)|[0-9]{1,5}(\.[0-9]+)?h)+$') || duration(self.idle) <= duration(self.maxAge) : duration(self.idle) <= duration('24h')))`,message=`is out of bounds or no duration; write "0s" for never, or from 1m to maxAge (24h where maxAge is not written)`
// +kubebuilder:validation:XValidation:fieldPath=".freshness",rule=`!has(self.freshness) || self.freshness.matches(r'^([0-9]{1,7}(\.[0-9]+)?(ns|us|ms|s|m)|[0-9]{1,5}(\.[0-9]+)?h)+$') && duration(self.freshness) >= duration('1m') && (has(self.maxAge) ? !self.maxAge.matches(r'^([0-9]{1,7}(\.[0-9]+)?(ns|us|ms|s|m)|[0-9]{1,5}(\.[0-9]+)?h)+$') || duration(self.freshness) <= duration(self.maxAge) : duration(self.freshness) <= duration('24h'))`,message=`is out of bounds or no duration; write from 1m to maxAge (24h where maxAge is not written), such as "15m"`
type Session struct {
	// maxAge ends a verification this long after the code was entered, however
	// much it was used. The app's own session may end it sooner: a new sign-in
	// always asks again. From 1m to 720h. Default: 24h. Example: 12h.
	MaxAge *Duration `json:"maxAge,omitempty"`
	// idle ends a verification that was not used for this long. 0s is never: the
	// verification then lives as long as the app's session, at most maxAge. 0s,
	// or from 1m to maxAge. Default: 0s. Example: 30m.
	Idle *Duration `json:"idle,omitempty"`
	// freshness is how recent a verification must be to regenerate recovery
	// codes; an older one is asked for a code first. From 1m to maxAge. Default:
	// 15m, or maxAge where that is shorter. Example: 5m.
	Freshness *Duration `json:"freshness,omitempty"`
}

// Branding changes what the pages look like.
type Branding struct {
	// productName stands in the pages' header: one line of at most 64 characters.
	// Default: the issuer. Example: Acme portal.
	// +kubebuilder:validation:MaxLength=64
	ProductName lineText `json:"productName,omitempty"`
	// logoURL is a same-origin path to a logo. The browser fetches it from the
	// app; where it is needed before the second factor, exempt it. Default: none.
	// Example: /static/logo.svg.
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^/([!-.0-\[\]-~][!-\[\]-~]*)?$') && isURL(self)`,message=`is not a path of the app; write one such as "/static/logo.svg"`
	LogoURL string `json:"logoURL,omitempty"`
	// supportURL is where "Contact support" leads: an https or mailto URL, or a
	// same-origin path. Default: none, and no such link.
	// Example: mailto:help@acme.example.
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^(/([!-.0-\[\]-~][!-\[\]-~]*)?|https://[!"$-.0->A-\[\]-~][!-\[\]-~]*|mailto:[!"$->A-\[\]-~]+@[!"$->@-\[\]-~][!-\[\]-~]*)$') && !self.matches(r'^https://[^/?#]*@') && isURL(self)`,message=`leads nowhere safe; write an https URL, "mailto:" and an address, or a path of the app`
	SupportURL string `json:"supportURL,omitempty"`
}
