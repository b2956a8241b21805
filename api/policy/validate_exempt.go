package policy

import "strings"

func (r *Rules) checkExempt(f *Faults) {
	const path = "spec.exempt"
	for i, e := range bounded(f, path, r.Exempt, maxExemptions) {
		at := element(path, i)
		switch {
		case e.Path == "" && e.Prefix == "":
			f.add(at, "exempts nothing; write path for one path, or prefix for all paths below one")
		case e.Path != "" && e.Prefix != "":
			f.add(at, "has path and prefix; write one of them, or two entries")
		}
		if e.Path != "" {
			r.checkExemptPath(f, at+".path", e.Path)
		}
		if e.Prefix != "" {
			r.checkExemptPrefix(f, at+".prefix", e.Prefix)
		}
		checkMethods(f, at+".methods", e.Methods)
		e.checkAuthorization(f, at+".authorization")
	}
}

func (e *Exemption) checkAuthorization(f *Faults, at string) {
	schemes := bounded(f, at, e.Authorization, maxSchemes)
	for i, scheme := range schemes {
		if !token(scheme) || len(scheme) > maxMethod {
			f.add(element(at, i), "%s is not a scheme of the Authorization header; write one such as \"Bearer\"", quote(scheme))
		}
	}
	f.checkUnique(at, schemes)
	if len(schemes) > 0 && e.PassCredentials {
		f.add(at, "would pass cookies beside the token; remove passCredentials")
	}
}

func (r *Rules) checkExemptPath(f *Faults, at, value string) {
	if own := r.ownPrefix(); f.checkPath(at, value) && own != "" && within(value, own) {
		f.add(at, "%s belongs to the two-factor pages (spec.app.twoFactorPath), which cannot be exempt; remove this exemption",
			quote(value))
	}
}

func (r *Rules) checkExemptPrefix(f *Faults, at, value string) {
	if !f.checkPath(at, value) {
		return
	}
	own := r.ownPrefix()
	switch {
	case value == "/":
		f.add(at, "\"/\" would exempt everything; write the prefixes that need no second factor, such as \"/static/\"")
	case !strings.HasSuffix(value, "/"):
		f.add(at, "%s does not end in \"/\"; write %s, or path for this one path", quote(value), quote(value+"/"))
	case own != "" && (strings.HasPrefix(own+"/", value) || strings.HasPrefix(value, own+"/")):
		f.add(at, "%s covers two-factor pages (spec.app.twoFactorPath is %s), which cannot be exempt; write a narrower prefix",
			quote(value), quote(own))
	}
}

// ownPrefix is the prefix of the sidecar's pages, "" where that is itself at
// fault: one mistake there is not a mistake of every exemption.
func (r *Rules) ownPrefix() string {
	own := r.App.TwoFactorPath
	if !CanonicalPath(own) || strings.HasSuffix(own, "/") {
		return ""
	}
	return own
}

func checkMethods(f *Faults, path string, methods []string) {
	methods = bounded(f, path, methods, maxMethods)
	for i, m := range methods {
		if !token(m) || len(m) > maxMethod || strings.ToUpper(m) != m {
			f.add(element(path, i), "%s is not an HTTP method; write it in upper case, such as GET", quote(m))
		}
	}
	f.checkUnique(path, methods)
}
