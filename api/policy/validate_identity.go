package policy

import (
	"net/netip"
	"strings"
)

// check wants exactly one block, the one that the type names.
func (i *Identity) check(f *Faults) {
	const path = "spec.identity"
	checkEnum(f, path+".type", i.Type, IdentityEndpoint, IdentityJWT, IdentityHeaders)
	blocks := []struct {
		name  string
		kind  IdentityType
		set   bool
		check func(*Faults, string)
	}{
		{"endpoint", IdentityEndpoint, i.Endpoint != nil, i.Endpoint.check},
		{"jwt", IdentityJWT, i.JWT != nil, i.JWT.check},
		{"headers", IdentityHeaders, i.Headers != nil, i.Headers.check},
	}
	for _, b := range blocks {
		at := path + "." + b.name
		switch {
		case b.kind == i.Type && b.set:
			b.check(f, at)
		case b.kind == i.Type:
			f.add(at, "is required where spec.identity.type is %s; write the block %q", i.Type, b.name)
		case b.set:
			f.add(at, "belongs to type %s; remove it, or write type: %s", b.kind, b.kind)
		}
	}
}

func (e *EndpointIdentity) check(f *Faults, path string) {
	f.checkPath(path+".path", e.Path)
	// "" is JSON, and stays out of published records: sidecars that are older than
	// the field read those of policies that do not use it.
	if e.Format != "" {
		checkEnum(f, path+".format", e.Format, AnswerJSON, AnswerForm)
	}
	if e.AnonymousLocation != "" && f.checkPath(path+".anonymousLocation", e.AnonymousLocation) && e.AnonymousLocation == e.Path {
		f.add(path+".anonymousLocation", "is path itself, which cannot lead there; write the app's sign-in page")
	}
	for i, status := range bounded(f, path+".anonymousStatus", e.AnonymousStatus, 2) {
		if status != 401 && status != 403 {
			f.add(element(path+".anonymousStatus", i), "%d cannot mean nobody; write 401 or 403", status)
		}
	}
	cookies := path + ".cookies"
	names := bounded(f, cookies, e.Cookies, maxCookies)
	if len(names) == 0 {
		f.add(cookies, "is empty; name the cookies that mean a sign-in")
	}
	for i, name := range names {
		checkCookie(f, element(cookies, i), name)
	}
	f.checkUnique(cookies, names)
	checkPointer(f, path+".subject", e.Subject)
	checkPointer(f, path+".account", e.Account)
	checkPointer(f, path+".roles", e.Roles)
	switch d := e.CacheFor; {
	case d == nil:
		f.add(path+".cacheFor", `is required; write "0s" to "5s"`)
	case d.Duration < 0 || d.Duration > maxCacheFor:
		f.add(path+".cacheFor", `%s is out of bounds; write "0s" to "5s"`, d.Duration)
	}
}

// checkCookie refuses, beside what is no cookie name, the names that the
// sidecar keeps for its own cookies. Browsers ignore the case of "__Host-".
func checkCookie(f *Faults, path, name string) {
	switch {
	case !token(name) || len(name) > maxField:
		f.add(path, "%s is not a cookie name; write letters, digits and \"-\" or \"_\", at most %d", quote(name), maxField)
	case hasPrefixFold(name, "sallyport"), hasPrefixFold(name, "__Host-sallyport"):
		f.add(path, "%s is a name that the sidecar keeps for its own cookies; write the cookie that the app sets", quote(name))
	}
}

// checkPointer wants a JSON pointer of RFC 6901 to a member: "" would be the
// whole answer, which is neither an id nor a name.
func checkPointer(f *Faults, path, value string) {
	switch {
	case !strings.HasPrefix(value, "/"):
		f.add(path, "%s is not a JSON pointer; start it with \"/\", such as \"/user/id\"", quote(value))
	case strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(value), "~"):
		f.add(path, "%s holds a \"~\" that escapes nothing; write \"~0\" for \"~\" and \"~1\" for \"/\"", quote(value))
	default:
		f.checkText(path, value, maxPointer)
	}
}

func (h *HeadersIdentity) check(f *Faults, path string) {
	checkHeader(f, path+".subject", h.Subject)
	checkHeader(f, path+".account", h.Account)
	checkHeader(f, path+".roles", h.Roles)
	if h.SignIn != "" {
		checkHeader(f, path+".signIn", h.SignIn)
	}
	proxies := path + ".trustedProxies"
	cidrs := bounded(f, proxies, h.TrustedProxies, maxTrustedProxies)
	if len(cidrs) == 0 {
		f.add(proxies, "is required; list the addresses of the authenticating proxy, such as [10.0.0.0/8]")
	}
	for i, cidr := range cidrs {
		checkProxy(f, element(proxies, i), cidr)
	}
	f.checkUnique(proxies, cidrs)
}

// reservedHeader names what means something to HTTP or to the sidecar on every
// request, so that taking it for an identity would take everybody for somebody.
func reservedHeader(name string) bool {
	switch strings.ToLower(name) {
	case "authorization", "connection", "content-length", "cookie", "host", "keep-alive", "proxy-authorization",
		"proxy-connection", "set-cookie", "te", "trailer", "transfer-encoding", "upgrade", "x-forwarded-for",
		"x-forwarded-host", "x-forwarded-proto":
		return true
	default:
		return hasPrefixFold(name, "sallyport-") || hasPrefixFold(name, "x-sallyport-")
	}
}

func checkHeader(f *Faults, path, name string) {
	switch {
	case !token(name) || len(name) > maxField:
		f.add(path, "%s is not a header name; write one such as \"X-Forwarded-User\"", quote(name))
	case reservedHeader(name):
		f.add(path, "%s has another meaning and cannot carry an identity; write the header that the proxy sets", quote(name))
	}
}

func checkProxy(f *Faults, path, cidr string) {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		if addr, err := netip.ParseAddr(cidr); err == nil && addr.Zone() == "" {
			f.add(path, "%s is an address and not a CIDR; write %q", quote(cidr), netip.PrefixFrom(addr, addr.BitLen()))
			return
		}
		f.add(path, "%s is not a CIDR; write one such as \"10.0.0.0/8\"", quote(cidr))
		return
	}
	switch {
	case prefix.Addr().Is4In6():
		f.add(path, "%s is an IPv4 range in IPv6 form and would match nobody; write it in IPv4 form", quote(cidr))
	case prefix.Bits() == 0:
		f.add(path, "%s trusts everybody, so that anyone could name themselves; list the proxy's own addresses", quote(cidr))
	case prefix.Masked() != prefix:
		f.add(path, "%s has bits beyond its length; write %q, or %q for the one address",
			quote(cidr), prefix.Masked(), netip.PrefixFrom(prefix.Addr(), prefix.Addr().BitLen()))
	}
}
