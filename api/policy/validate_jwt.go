package policy

import (
	"net/netip"
	"net/url"
	"strings"
)

func (j *JWTIdentity) check(f *Faults, path string) {
	if j.Cookie != "" {
		checkCookie(f, path+".cookie", j.Cookie)
	}
	f.checkText(path+".issuer", j.Issuer, maxIdentifier)
	audience := path + ".audience"
	if len(j.Audience) == 0 {
		f.add(audience, "is required; list the audiences that tokens for this app carry")
	}
	for i, a := range bounded(f, audience, j.Audience, maxAudience) {
		f.checkText(element(audience, i), a, maxIdentifier)
	}
	j.JWKS.check(f, path+".jwks")
	f.checkText(path+".claims.subject", j.Claims.Subject, maxField)
	f.checkText(path+".claims.account", j.Claims.Account, maxField)
	f.checkText(path+".claims.roles", j.Claims.Roles, maxField)
	f.checkText(path+".claims.signIn", j.Claims.SignIn, maxField)
}

func (j *JWKS) check(f *Faults, path string) {
	sources := 0
	if j.URL != "" {
		sources++
		checkJWKSURL(f, path+".url", j.URL)
	}
	if s := j.SecretRef; s != nil {
		sources++
		if !dnsSubdomain(s.Name) {
			f.add(path+".secretRef.name", "%s is not the name of a Secret; write one of the policy's own namespace", quote(s.Name))
		}
		if !secretKey(s.Key) {
			f.add(path+".secretRef.key", "%s is not a key of a Secret; write letters, digits, \"-\", \"_\" and \".\"", quote(s.Key))
		}
	}
	if j.Inline != "" {
		sources++
		checkInlineJWKS(f, path+".inline", j.Inline)
	}
	if sources != 1 {
		f.add(path, "names %d sources of keys; write exactly one of url, secretRef and inline", sources)
	}
}

func checkJWKSURL(f *Faults, path, raw string) {
	u, err := url.Parse(raw)
	switch {
	case !plainURL(raw) || err != nil || u.Hostname() == "":
		f.add(path, "%s is not a URL; write one such as \"https://id.example.com/jwks.json\"", quote(raw))
	case u.User != nil:
		// Quoting it would spread the password.
		f.add(path, "holds a user name or password; remove them, public keys need none")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		f.add(path, "%s could be answered by anyone on the way; write an https URL, or http to a loopback address", quote(raw))
	case strings.Contains(raw, "#"):
		f.add(path, "%s holds a fragment; remove \"#\" and what follows", quote(raw))
	}
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// checkInlineJWKS wants public keys. Nothing of the set is ever quoted: if it
// does hold a private key, that must not spread.
func checkInlineJWKS(f *Faults, path, doc string) {
	if len(doc) > maxInlineJWKS {
		f.add(path, "is larger than %d bytes; write only the keys in use, or a url", maxInlineJWKS)
		return
	}
	root, faults := parseJSON([]byte(doc), "")
	if len(faults) > 0 || root.kind != kindObject {
		f.add(path, "is not a JSON object; write a key set such as {\"keys\": [...]}")
		return
	}
	keys := root.member("keys")
	if keys == nil || keys.kind != kindList || len(keys.items) == 0 {
		f.add(path, "has no keys; write a key set such as {\"keys\": [...]} with at least one public key")
		return
	}
	for i, key := range keys.items {
		if problem := keyProblem(key); problem != "" {
			f.add(path, "key %d of the set %s", i+1, problem)
		}
	}
}

// keyProblem refuses what could sign: the members of private keys in RFC 7518,
// and symmetric keys. Readers of JSON differ on case, so that it is ignored.
func keyProblem(key *node) string {
	if key.kind != kindObject {
		return "is not an object; write a JSON Web Key"
	}
	for _, m := range key.members {
		switch strings.ToLower(m.name) {
		case "d", "k", "p", "q", "dp", "dq", "qi", "oth":
			return "holds a private key; write public keys only, and replace this key: it has been disclosed"
		}
	}
	if kty := key.member("kty"); kty == nil || kty.kind != kindText || kty.text == "" {
		return "has no \"kty\"; write a JSON Web Key"
	}
	return ""
}
