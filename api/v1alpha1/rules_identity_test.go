package v1alpha1_test

import "strings"

func endpointCases() []ruleCase {
	const ep = "spec.identity.endpoint."
	const ownCookie = "is a name that the sidecar keeps for its own cookies; write the cookie that the app sets"
	return []ruleCase{
		{name: "an unknown source", patches: set(`identity: {type: endpoint}`), want: refused(
			`spec.identity.type|supported values: "Endpoint", "JWT", "Headers"`)},
		{name: "no source", patches: set(`identity: {type: null}`), want: refused("spec.identity.type|Required value")},
		{name: "a type without its block", patches: set(`identity: {endpoint: null}`), want: refused(
			`spec.identity.endpoint|is required where type is Endpoint; write the block "endpoint", which may be empty: {}`)},
		{name: "a block of another type too", patches: set(`identity: {headers: {trustedProxies: [10.0.0.0/8]}}`), want: refused(
			"spec.identity.headers|belongs to type Headers; remove it, or write type: Headers")},
		{name: "only a block of another type", patches: set(`identity: {type: JWT}`), want: refused(
			"spec.identity.endpoint|belongs to type Endpoint; remove it, or write type: Endpoint",
			`spec.identity.jwt|is required where type is JWT; write the block "jwt" with issuer, audience and jwks`)},
		{name: "an endpoint with all there is", patches: set(`identity: {endpoint: {path: /me, anonymousStatus: [401, 403], cookies: [a, __Secure-b],
  subject: /user/id, account: "/a~1b", roles: "/~0", cacheFor: 0s}}`)},
		{name: "an endpoint elsewhere", patches: set(`identity: {endpoint: {path: "https://evil.example/me"}}`), want: refused(ep + "path|" + notCanonical)},
		{name: "an answer that cannot mean nobody", patches: set(`identity: {endpoint: {anonymousStatus: [200]}}`), want: refused(
			ep + "anonymousStatus|cannot mean nobody; write 401 or 403")},
		{name: "a page of forms", patches: set(`identity: {endpoint: {path: /user/settings, format: Form, anonymousLocation: /user/login, subject: /name}}`)},
		{name: "an unknown format", patches: set(`identity: {endpoint: {format: HTML}}`), want: refused(
			ep + `format|supported values: "JSON", "Form"`)},
		{name: "a sign-in page elsewhere", patches: set(`identity: {endpoint: {anonymousLocation: "https://id.example/login"}}`), want: refused(
			ep + "anonymousLocation|" + notCanonical)},
		{name: "a sign-in page that is the endpoint", patches: set(`identity: {endpoint: {path: /me, anonymousLocation: /me}}`), want: refused(
			ep + "anonymousLocation|is path itself, which cannot lead there; write the app's sign-in page")},
		{name: "no cookies", patches: set(`identity: {endpoint: {cookies: []}}`), serverOnly: true, want: refused(
			ep + "cookies|is empty; name the cookies that mean a sign-in")},
		{name: "a cookie that is none", patches: set(`identity: {endpoint: {cookies: ["a b"]}}`), want: refused(
			ep + `cookies[0]|is not a cookie name; write letters, digits and "-" or "_", at most 128`)},
		{name: "a cookie of ours", patches: set(`identity: {endpoint: {cookies: [__host-Sallyport]}}`), want: refused(ep + "cookies[0]|" + ownCookie)},
		{name: "a cookie of ours by its first letters", patches: set(`identity: {endpoint: {cookies: [Sallyport-csrf]}}`), want: refused(
			ep + "cookies[0]|" + ownCookie)},
		{name: "a cookie twice", patches: set(`identity: {endpoint: {cookies: [a, b, a]}}`), want: refused(ep + `cookies[2]|Duplicate value: "a"`)},
		{name: "a pointer that is none", patches: set(`identity: {endpoint: {subject: id}}`), want: refused(
			ep + `subject|is not a JSON pointer; start it with "/", such as "/user/id"`)},
		{name: "a pointer with a stray tilde", patches: set(`identity: {endpoint: {roles: /a~2}}`), want: refused(
			ep + `roles|holds a "~" that escapes nothing; write "~0" for "~" and "~1" for "/"`)},
		{name: "a pointer that ends with a space", patches: set(`identity: {endpoint: {account: "/a "}}`), want: refused(
			ep + "account|ends with a space, or holds a control character; write plain text on one line")},
		{name: "the longest reuse", patches: set(`identity: {endpoint: {cacheFor: 5000ms}}`)},
		{name: "a reuse that is too long", patches: set(`identity: {endpoint: {cacheFor: 5001ms}}`), want: refused(
			ep + `cacheFor|is out of bounds or no duration; write "0s" to "5s"`)},
		{name: "a reuse that is no duration", patches: set(`identity: {endpoint: {cacheFor: "5"}}`), want: refused(
			ep + `cacheFor|is out of bounds or no duration; write "0s" to "5s"`)},
		{name: "a reuse that is a number", patches: set(`identity: {endpoint: {cacheFor: 5}}`), want: refused(
			ep + `cacheFor|spec.identity.endpoint.cacheFor in body must be of type string: "integer"`)},
	}
}

func jwtCases() []ruleCase {
	const at = "spec.identity.jwt."
	const noTLS = "could be answered by anyone on the way; write an https URL, or http to a loopback address"
	const noURL = `is not a URL; write one such as "https://id.example.com/jwks.json"`
	const oneSource = "names no source of keys, or several; write exactly one of url, secretRef and inline"
	keys := func(jwks string) []string { return set(asJWT, `identity: {jwt: {jwks: `+jwks+`}}`) }
	return []ruleCase{
		{name: "a token", patches: set(asJWT)},
		{name: "a token with all there is", patches: set(asJWT, `identity: {jwt: {cookie: token, claims: {subject: oid, account: upn, roles: groups, signIn: sid}}}`)},
		{name: "a token without an issuer", patches: set(asJWT, `identity: {jwt: {issuer: null}}`), want: refused(at + "issuer|Required value")},
		{name: "a token for nobody", patches: set(asJWT, `identity: {jwt: {audience: []}}`), want: refused(
			at + "audience|is required; list the audiences that tokens for this app carry")},
		{name: "an audience that is blank", patches: set(asJWT, `identity: {jwt: {audience: [""]}}`), want: refused(
			at + "audience[0]|is empty, starts or ends with a space, or holds a control character; write plain text on one line")},
		{name: "a claim that is too long", patches: set(asJWT, `identity: {jwt: {claims: {subject: `+strings.Repeat("c", 129)+`}}}`), want: refused(
			at + "claims.subject|may not be more than 128 bytes")},
		{name: "a token in a cookie of ours", patches: set(asJWT, `identity: {jwt: {cookie: sallyport}}`), want: refused(
			at + "cookie|is a name that the sidecar keeps for its own cookies; write the cookie that the app sets")},
		{name: "no keys", patches: keys(`{url: null}`), want: refused(at + "jwks|" + oneSource)},
		{name: "keys from two places", patches: keys(`{secretRef: {name: a}}`), want: refused(at + "jwks|" + oneSource)},
		{name: "keys in a Secret", patches: keys(`{url: null, secretRef: {name: portal.jwks, key: keys.json}}`)},
		{name: "keys in a Secret that is none", patches: keys(`{url: null, secretRef: {name: Portal}}`), want: refused(
			at + "jwks.secretRef.name|is not the name of a Secret; write one of the policy's own namespace")},
		{name: "keys under a key that is none", patches: keys(`{url: null, secretRef: {name: a, key: ..a}}`), want: refused(
			at + `jwks.secretRef.key|is not a key of a Secret; write letters, digits, "-", "_" and "."`)},
		{name: "keys in the manifest", patches: keys(`{url: null, inline: '{"keys": [{"kty": "EC", "kid": "d"}]}'}`)},
		{name: "a private key in the manifest", patches: keys(`{url: null, inline: '{"keys": [{"kty": "EC", "D" : "x"}]}'}`), want: refused(
			at + "jwks.inline|holds a private key; write public keys only, and replace this key: it has been disclosed")},
		{name: "no keys in the manifest", patches: keys(`{url: null, inline: "-----BEGIN PUBLIC KEY-----"}`), want: refused(
			at + `jwks.inline|is not a set of keys; write a JSON object such as {"keys": [...]} with at least one public key`)},
		{name: "keys from loopback", patches: keys(`{url: "http://127.0.0.1:8080/keys"}`)},
		{name: "keys from loopback by name", patches: keys(`{url: "http://localhost/keys"}`)},
		{name: "keys from loopback by IPv6", patches: keys(`{url: "http://[::1]:80/keys"}`)},
		{name: "keys without TLS", patches: keys(`{url: "http://id.acme.example/keys"}`), want: refused(at + "jwks.url|" + noTLS)},
		{name: "keys from what starts like loopback", patches: keys(`{url: "http://localhost.evil.example/keys"}`), want: refused(at + "jwks.url|" + noTLS)},
		{name: "keys by FTP", patches: keys(`{url: "ftp://id.acme.example/keys"}`), want: refused(at + "jwks.url|" + noTLS)},
		{name: "keys from a path", patches: keys(`{url: /keys}`), want: refused(at + "jwks.url|" + noURL)},
		{name: "keys from no host", patches: keys(`{url: "https:///keys"}`), want: refused(at + "jwks.url|" + noURL)},
		{name: "keys with a password", patches: keys(`{url: "https://a:b@id.acme.example/keys"}`), want: refused(
			at + "jwks.url|holds a user name or password; remove them, public keys need none")},
		{name: "keys with a fragment", patches: keys(`{url: "https://id.acme.example/keys#a"}`), want: refused(
			at + `jwks.url|holds a fragment; remove "#" and what follows`)},
	}
}

func headersCases() []ruleCase {
	const at = "spec.identity.headers."
	proxies := func(list string) []string { return set(asHeaders, `identity: {headers: {trustedProxies: `+list+`}}`) }
	const noCIDR = `is not a CIDR, or an IPv4 range in IPv6 form, which would match nobody; write one such as "10.0.0.0/8"`
	return []ruleCase{
		{name: "headers", patches: set(asHeaders)},
		{name: "headers with all there is", patches: set(asHeaders, `identity: {headers: {subject: Remote-User, account: Remote-Email, roles: Remote-Groups, signIn: X-Sid}}`)},
		{name: "a header that is none", patches: set(asHeaders, `identity: {headers: {subject: "X User"}}`), want: refused(
			at + `subject|is not a header name; write one such as "X-Forwarded-User"`)},
		{name: "a header with another meaning", patches: set(asHeaders, `identity: {headers: {subject: cookie}}`), want: refused(
			at + "subject|has another meaning and cannot carry an identity; write the header that the proxy sets")},
		{name: "a header of ours", patches: set(asHeaders, `identity: {headers: {signIn: X-Sallyport-User}}`), want: refused(
			at + "signIn|has another meaning and cannot carry an identity; write the header that the proxy sets")},
		{name: "a role that the header cannot carry", patches: set(asHeaders, `adminRoles: ["a,b"]`), want: refused(
			"spec.adminRoles|a role with a comma can never match, because the roles header is a list separated by commas; write the roles as separate entries")},
		{name: "no proxies", patches: proxies(`[]`), want: refused(
			at + "trustedProxies|is required; list the addresses of the authenticating proxy, such as [10.0.0.0/8]")},
		{name: "no list of proxies", patches: proxies(`null`), want: refused(at + "trustedProxies|Required value")},
		{name: "proxies of both families", patches: proxies(`[10.1.2.0/24, 10.1.3.1/32, "fd00::/8", "::1/128"]`)},
		{name: "everybody as a proxy", patches: proxies(`[10.0.0.0/8, 0.0.0.0/0]`), want: refused(
			at + "trustedProxies[1]|trusts everybody, so that anyone could name themselves; list the proxy's own addresses")},
		{name: "everybody as a proxy by IPv6", patches: proxies(`["::/0"]`), want: refused(
			at + "trustedProxies[0]|trusts everybody, so that anyone could name themselves; list the proxy's own addresses")},
		{name: "an address for a CIDR", patches: proxies(`[10.0.0.1]`), want: refused(
			at + `trustedProxies[0]|is an address and not a CIDR; add "/32" to an IPv4 address, "/128" to an IPv6 address`)},
		{name: "a proxy by name", patches: proxies(`[proxy.acme.example]`), want: refused(at + "trustedProxies[0]|" + noCIDR)},
		{name: "an IPv4 range in IPv6 form", patches: proxies(`["::ffff:10.0.0.0/104"]`), want: refused(at + "trustedProxies[0]|" + noCIDR)},
		{name: "bits beyond the length", patches: proxies(`[10.0.0.1/8]`), want: refused(
			at + `trustedProxies[0]|has bits beyond its length; write the range's first address, or "/32" (IPv6: "/128") for the one address`)},
		{name: "a proxy twice", patches: proxies(`[10.0.0.0/8, 10.0.0.0/8]`), want: refused(at + `trustedProxies[1]|Duplicate value: "10.0.0.0/8"`)},
	}
}
