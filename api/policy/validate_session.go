package policy

import (
	"net/url"
	"strings"
	"time"
)

// The bounds of a session.
const (
	minSpan   = time.Minute
	maxMaxAge = 720 * time.Hour
)

func (s *Session) check(f *Faults) {
	const path = "spec.session"
	limit, name := maxMaxAge, "720h"
	if checkSpan(f, path+".maxAge", s.MaxAge, minSpan, maxMaxAge, `from 1m to 720h, such as "24h"`) {
		limit, name = s.MaxAge.Duration, "maxAge"
	}
	if s.Idle == nil || s.Idle.Duration != 0 {
		checkSpan(f, path+".idle", s.Idle, minSpan, limit, `"0s" for never, or from 1m to `+name)
	}
	checkSpan(f, path+".freshness", s.Freshness, minSpan, limit, `from 1m to `+name+`, such as "15m"`)
}

// checkSpan holds a duration against its bounds; want says them in words.
func checkSpan(f *Faults, path string, d *Duration, lower, upper time.Duration, want string) bool {
	switch {
	case d == nil:
		f.add(path, "is required; write %s", want)
	case d.Duration < lower || d.Duration > upper:
		f.add(path, "%s is out of bounds; write %s", d.Duration, want)
	default:
		return true
	}
	return false
}

// check leaves out a product name that only repeats the issuer: a fault of that
// is reported there.
func (b *Branding) check(f *Faults, issuer string) {
	if b.ProductName != issuer {
		f.checkText("spec.branding.productName", b.ProductName, maxProductName)
	}
	if b.LogoURL != "" && !sameOriginPath(b.LogoURL) {
		f.add("spec.branding.logoURL", "%s is not a path of the app; write one such as \"/static/logo.svg\"", quote(b.LogoURL))
	}
	if b.SupportURL != "" && !sameOriginPath(b.SupportURL) && !supportLink(b.SupportURL) {
		f.add("spec.branding.supportURL", "%s leads nowhere safe; write an https URL, \"mailto:\" and an address, or a path of the app",
			quote(b.SupportURL))
	}
}

// sameOriginPath says whether a link can only lead to the app itself. It may
// have a query and a fragment: nothing is decided by it.
func sameOriginPath(s string) bool {
	if !plainURL(s) || s[0] != '/' || strings.HasPrefix(s, "//") {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil
}

func supportLink(s string) bool {
	if !plainURL(s) {
		return false
	}
	u, err := url.Parse(s)
	if err != nil {
		return false
	}
	switch u.Scheme {
	case "https":
		return u.Hostname() != "" && u.User == nil
	case "mailto":
		name, domain, ok := strings.Cut(u.Opaque, "@")
		return ok && name != "" && domain != ""
	default:
		return false
	}
}

// plainURL refuses what browsers and parsers read differently.
func plainURL(s string) bool {
	return s != "" && len(s) <= maxURL && !strings.Contains(s, `\`) &&
		!strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' })
}
