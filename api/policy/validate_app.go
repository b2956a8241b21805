package policy

import (
	"strconv"
	"strings"
)

func (a *App) check(f *Faults) {
	a.Port.check(f)
	f.checkPath("spec.app.signInPath", a.SignInPath)
	f.checkPath("spec.app.signOut.path", a.SignOut.Path)
	checkEnum(f, "spec.app.signOut.method", a.SignOut.Method, "GET", "POST", "DELETE")
	a.PasswordCheck.check(f, a.SignInPath)
}

func (p Port) check(f *Faults) {
	const path = "spec.app.port"
	switch {
	case p == Port{}:
		f.add(path, "is required; write the app's container port, a number from 1 to 65535 or the port's name")
	case p.Name == "" && (p.Number < 1 || p.Number > 65535):
		f.add(path, "%d is not a port; write a number from 1 to 65535", p.Number)
	case p.Name != "" && p.Number != 0:
		f.add(path, "has a number and a name; write one of them")
	case p.Name != "" && isNumber(p.Name):
		f.add(path, "%s is text; write the number without quotes", quote(p.Name))
	case p.Name != "" && !portName(p.Name):
		f.add(path, "%s is not the name of a container port; write at most 15 lower-case letters, digits and single \"-\", "+
			"at least one of them a letter", quote(p.Name))
	}
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// check leaves out paths that only repeat the sign-in page: a fault of that is
// reported there.
func (p *PasswordCheck) check(f *Faults, signInPath string) {
	const path = "spec.app.passwordCheck"
	checkEnum(f, path+".type", p.Type, PasswordCheckForm, PasswordCheckJSON, PasswordCheckBasic, PasswordCheckNone)
	// What a type does not use may be empty, and is checked all the same where
	// it is not: it may come into use when the type changes.
	if p.Path != signInPath && (p.Path != "" || p.Type != PasswordCheckNone) {
		f.checkPath(path+".path", p.Path)
	}
	p.checkFields(f, path)
	p.Success.check(f, path+".success", p.Type, signInPath)
}

func (p *PasswordCheck) checkFields(f *Faults, path string) {
	used := p.Type == PasswordCheckForm || p.Type == PasswordCheckJSON
	if used || p.UsernameField != "" {
		f.checkText(path+".usernameField", p.UsernameField, maxField)
	}
	if used || p.PasswordField != "" {
		f.checkText(path+".passwordField", p.PasswordField, maxField)
	}
	if used && p.UsernameField == p.PasswordField && p.PasswordField != "" {
		f.add(path+".passwordField", "%s is the usernameField too; write two different fields", quote(p.PasswordField))
	}
}

func (s *PasswordSuccess) check(f *Faults, path string, t PasswordCheckType, signInPath string) {
	if s.NotLocation != "" && s.NotLocation != signInPath {
		f.checkPath(path+".notLocation", s.NotLocation)
	}
	status := path + ".status"
	if len(s.Status) == 0 && t != PasswordCheckNone {
		f.add(status, "is empty; write the status codes that mean the password is right, such as [200]")
	}
	for i, code := range bounded(f, status, s.Status, maxStatus) {
		if code < 100 || code > 599 {
			f.add(element(status, i), "%d is not a status code; write one from 100 to 599", code)
		}
	}
}

// checkTwoFactorPath keeps the sidecar's own prefix apart from the paths that
// must reach the app. Exemptions are held against it in checkExempt.
func (r *Rules) checkTwoFactorPath(f *Faults) {
	const path = "spec.app.twoFactorPath"
	own := r.App.TwoFactorPath
	if !f.checkPath(path, own) {
		return
	}
	if own == "/" {
		f.add(path, "\"/\" would leave the app no path of its own; write one that the app does not use, such as %s",
			quote(defaultTwoFactorPath))
		return
	}
	if strings.HasSuffix(own, "/") {
		f.add(path, "%s ends in \"/\"; write %s", quote(own), quote(strings.TrimRight(own, "/")))
		return
	}
	for _, other := range r.appPaths() {
		if within(other.value, own) {
			f.add(path, "%s covers %s, which is %s and must reach the app; write a prefix that the app does not use",
				quote(own), quote(other.value), other.path)
		}
	}
}

type namedPath struct{ path, value string }

// appPaths lists the paths that the sidecar asks the app for.
func (r *Rules) appPaths() []namedPath {
	paths := []namedPath{
		{"spec.app.signInPath", r.App.SignInPath},
		{"spec.app.signOut.path", r.App.SignOut.Path},
	}
	if p := r.App.PasswordCheck.Path; p != r.App.SignInPath {
		paths = append(paths, namedPath{"spec.app.passwordCheck.path", p})
	}
	if e := r.Identity.Endpoint; e != nil {
		paths = append(paths, namedPath{"spec.identity.endpoint.path", e.Path})
	}
	return paths
}
