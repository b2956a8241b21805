package policy

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The bounds of lists and strings. They are far beyond what a policy needs and
// keep one policy from costing every request of every pod.
const (
	maxAdminRoles     = 64
	maxRole           = 128
	maxIssuer         = 64
	maxPath           = 1024
	maxField          = 128
	maxStatus         = 16
	maxCookies        = 16
	maxPointer        = 256
	maxAudience       = 16
	maxIdentifier     = 512
	maxURL            = 2048
	maxInlineJWKS     = 64 << 10
	maxTrustedProxies = 32
	maxExemptions     = 128
	maxMethods        = 16
	maxSchemes        = 8
	maxMethod         = 32
	maxProductName    = 64
)

// Validate reports every fault of rules that have their defaults, each with
// the path it has in a manifest. It changes nothing.
func (r *Rules) Validate() Faults {
	var f Faults
	r.checkRoles(&f)
	if !dnsLabel(r.Workspace) {
		f.add("spec.workspace", "%s is not a workspace name; write at most 63 lower-case letters, digits and \"-\", "+
			"with a letter or digit at both ends (the default is the policy's name)", quote(r.Workspace))
	}
	f.checkText("spec.issuer", r.Issuer, maxIssuer)
	if strings.Contains(r.Issuer, ":") {
		f.add("spec.issuer", "%s holds \":\", which separates issuer and account in authenticator apps; leave it out",
			quote(r.Issuer))
	}
	r.App.check(&f)
	r.checkTwoFactorPath(&f)
	r.Identity.check(&f)
	checkEnum(&f, "spec.anonymous", r.Anonymous, AnonymousAllow, AnonymousDeny)
	checkEnum(&f, "spec.enrolment.mode", r.Enrolment.Mode, EnrolmentOpen, EnrolmentTicket)
	r.checkExempt(&f)
	r.Session.check(&f)
	r.Branding.check(&f, r.Issuer)
	return f
}

func (r *Rules) checkRoles(f *Faults) {
	const path = "spec.adminRoles"
	if len(r.AdminRoles) == 0 {
		f.add(path, "is empty; name at least one role")
	}
	for i, role := range bounded(f, path, r.AdminRoles, maxAdminRoles) {
		at := element(path, i)
		switch {
		case blankRole(role):
			f.add(at, "%s names no role; write at least one letter or digit", quote(role))
		case r.Identity.Type == IdentityHeaders && !listedRole(role):
			f.add(at, "%s holds a comma and can never match, because the roles header is a list separated by commas; "+
				"write the roles as separate entries", quote(role))
		default:
			f.checkText(at, role, maxRole)
		}
	}
}

// checkText refuses what is empty, longer than limit characters, not UTF-8,
// framed by spaces, or holds control characters.
func (f *Faults) checkText(path, value string, limit int) {
	switch {
	case value == "":
		f.add(path, "is required; write 1 to %d characters", limit)
	case !utf8.ValidString(value):
		f.add(path, "is not UTF-8; write plain text")
	case utf8.RuneCountInString(value) > limit:
		f.add(path, "%s is longer than %d characters; shorten it", quote(value), limit)
	case strings.ContainsFunc(value, unicode.IsControl):
		f.add(path, "%s holds a control character; write plain text on one line", quote(value))
	case strings.TrimSpace(value) != value:
		f.add(path, "%s starts or ends with a space; remove it", quote(value))
	}
}

// checkPath refuses what CanonicalPath refuses. It says whether the path stands.
func (f *Faults) checkPath(path, value string) bool {
	if problem := pathProblem(value); problem != "" {
		f.add(path, "%s %s; write an absolute path of plain characters, such as \"/account/login\"", quote(value), problem)
		return false
	}
	if len(value) > maxPath {
		f.add(path, "%s is longer than %d characters; shorten it", quote(value), maxPath)
		return false
	}
	return true
}

// bounded refuses a list that is too long, and returns as much of it as is worth
// checking further.
func bounded[T any](f *Faults, path string, list []T, limit int) []T {
	if len(list) <= limit {
		return list
	}
	f.add(path, "has %d entries; write at most %d", len(list), limit)
	return list[:limit]
}

// checkUnique reports every entry that repeats an earlier one.
func (f *Faults) checkUnique(path string, values []string) {
	for i, v := range values {
		if first := slices.Index(values, v); first < i {
			f.add(element(path, i), "%s repeats %s; remove it", quote(v), element(path, first))
		}
	}
}

func checkEnum[T ~string](f *Faults, path string, value T, allowed ...T) {
	if slices.Contains(allowed, value) {
		return
	}
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = string(a)
	}
	if value == "" {
		f.add(path, "is required; write %s", oneOf(names))
		return
	}
	hint := ""
	if near := nearest(string(value), names); near != "" {
		hint = "; did you mean " + near + "?"
	}
	f.add(path, "%s is not one of the choices; write %s%s", quote(string(value)), oneOf(names), hint)
}

// oneOf renders choices as a person lists them: "a, b or c".
func oneOf(names []string) string {
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}
