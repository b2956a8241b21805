package v1alpha1_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/test/apiserver"
)

// A ruleCase is the base with one change.
type ruleCase struct {
	name    string
	patches []string
	// want are the faults: the field, "|", and the message. None: it is accepted.
	want []string
	// serverOnly marks what the decoder takes and the server does not.
	serverOnly bool
}

func set(patches ...string) []string { return patches }

func refused(faults ...string) []string { return faults }

func allCases() []ruleCase {
	return slices.Concat(generalCases(), appCases(), endpointCases(), jwtCases(), headersCases(), exemptCases(), sessionCases(), clusterCases())
}

// Every case is asked of the servers, and of the decoder that a sidecar without a
// cluster has: they must agree.
func TestDecoderAgreesWithTheServer(t *testing.T) {
	accepted, cases := 0, allCases()
	for _, tc := range cases {
		if len(tc.want) == 0 {
			accepted++
		}
		t.Run(tc.name, func(t *testing.T) {
			err := decode(t, patched(t, tc.patches...).Object)
			if want := len(tc.want) == 0 || tc.serverOnly; (err == nil) != want {
				t.Errorf("the decoder says %v, want it to accept: %v", err, want)
			}
		})
	}
	if accepted < 20 || len(cases)-accepted < 60 {
		t.Errorf("%d accepted and %d refused cases, want more", accepted, len(cases)-accepted)
	}
}

func holdsRules(t *testing.T, s *apiserver.Server) {
	for _, tc := range allCases() {
		t.Run(tc.name, func(t *testing.T) {
			compareRefusal(t, tryCreate(t, s.Client, patched(t, tc.patches...)), tc.want)
		})
	}
}

func generalCases() []ruleCase {
	long := strings.Repeat("x", 64)
	return []ruleCase{
		{name: "the smallest manifest"},
		{name: "both levers", patches: set(`{requireForEveryone: true, requireForAdmins: true, adminRoles: [owner, "IT Admin"]}`)},
		{
			name: "an unknown field", patches: set(`requireForEverybody: true`),
			want: refused(`|MFAPolicy in version "v1alpha1" cannot be handled as a MFAPolicy: strict decoding error: unknown field "spec.requireForEverybody"`),
		},
		{
			name: "an unknown field far inside", patches: set(`app: {signOut: {verb: GET}}`),
			want: refused(`|MFAPolicy in version "v1alpha1" cannot be handled as a MFAPolicy: strict decoding error: unknown field "spec.app.signOut.verb"`),
		},
		{name: "no selector", patches: set(`selector: null`), want: refused("spec.selector|Required value")},
		{name: "no app", patches: set(`app: null`), want: refused("spec.app|Required value")},
		{name: "no identity", patches: set(`identity: null`), want: refused("spec.identity|Required value")},
		{
			name: "no admin roles", patches: set(`adminRoles: []`), serverOnly: true,
			want: refused("spec.adminRoles|is empty; name at least one role, or remove the field for the default"),
		},
		{name: "a blank role", patches: set(`adminRoles: [owner, " _-"]`), want: refused(
			"spec.adminRoles[1]|names no role; write at least one letter or digit",
			"spec.adminRoles[1]|starts or ends with a space, or holds a control character; write plain text on one line",
		)},
		{
			name: "a role that is too long", patches: set(`adminRoles: [` + long + long + `x]`),
			want: refused("spec.adminRoles[0]|may not be more than 128 bytes"),
		},
		{
			name: "too many roles", patches: set(`adminRoles: [` + strings.Repeat("a,", 64) + `a]`),
			want: refused("spec.adminRoles|must have at most 64 items"),
		},
		{name: "a workspace", patches: set(`workspace: staff-1`)},
		{
			name: "a workspace in upper case", patches: set(`workspace: Staff`),
			want: refused(`spec.workspace|is not a workspace name; write at most 63 lower-case letters, digits and "-", with a letter or digit at both ends, or remove the field: the default is the policy's name`),
		},
		{name: "a workspace that is too long", patches: set(`workspace: ` + long), want: refused("spec.workspace|may not be more than 63 bytes")},
		{name: "an issuer", patches: set(`issuer: Ácme portal`)},
		{
			name: "an issuer with a colon", patches: set(`issuer: "acme:portal"`),
			want: refused(`spec.issuer|holds ":", which separates issuer and account in authenticator apps; leave it out`),
		},
		{
			name: "an issuer of two lines", patches: set(`issuer: "acme\nportal"`),
			want: refused("spec.issuer|is empty, starts or ends with a space, or holds a control character; write plain text on one line"),
		},
		{name: "an issuer that is too long", patches: set(`issuer: x` + long), want: refused("spec.issuer|may not be more than 64 bytes")},
		{
			name: "an unknown choice for nobody", patches: set(`anonymous: Refuse`),
			want: refused(`spec.anonymous|supported values: "Allow", "Deny"`),
		},
		{name: "enrolment by ticket", patches: set(`enrolment: {mode: Ticket}`)},
		{
			name: "an unknown way to enrol", patches: set(`enrolment: {mode: Invitation}`),
			want: refused(`spec.enrolment.mode|supported values: "Open", "Ticket"`),
		},
		{name: "branding", patches: set(`branding: {productName: Acme, logoURL: "/l.svg?v=1#x", supportURL: "mailto:help@acme.example?subject=2FA"}`)},
		{name: "support on the web", patches: set(`branding: {supportURL: "https://help.acme.example:8443/mfa?x=1#top"}`)},
		{name: "support in the app", patches: set(`branding: {supportURL: /help}`)},
		{
			name: "a product name that is framed by spaces", patches: set(`branding: {productName: " Acme"}`),
			want: refused("spec.branding.productName|is empty, starts or ends with a space, or holds a control character; write plain text on one line"),
		},
		{name: "a logo elsewhere", patches: set(`branding: {logoURL: "https://cdn.example/l.svg"}`), want: refused(
			`spec.branding.logoURL|is not a path of the app; write one such as "/static/logo.svg"`)},
		{name: "a logo elsewhere without a scheme", patches: set(`branding: {logoURL: //cdn.example/l.svg}`), want: refused(
			`spec.branding.logoURL|is not a path of the app; write one such as "/static/logo.svg"`)},
		{name: "support by script", patches: set(`branding: {supportURL: "javascript:alert(1)"}`), want: refused(
			`spec.branding.supportURL|leads nowhere safe; write an https URL, "mailto:" and an address, or a path of the app`)},
		{name: "support with a user name", patches: set(`branding: {supportURL: "https://help@acme.example"}`), want: refused(
			`spec.branding.supportURL|leads nowhere safe; write an https URL, "mailto:" and an address, or a path of the app`)},
		{name: "support by mail to nobody", patches: set(`branding: {supportURL: "mailto:@"}`), want: refused(
			`spec.branding.supportURL|leads nowhere safe; write an https URL, "mailto:" and an address, or a path of the app`)},
	}
}

const notCanonical = `is not a canonical path; write an absolute path of plain characters, such as "/account/login", without "%", "//", "/.", ";", "\", "#" and "?"`

func appCases() []ruleCase {
	const notPort = `is not the name of a container port; write at most 15 lower-case letters, digits and single "-", at least one of them a letter`
	cases := []ruleCase{
		{name: "a port's name", patches: set(`app: {port: http-8}`)},
		{name: "the highest port", patches: set(`app: {port: 65535}`)},
		{name: "port 0", patches: set(`app: {port: 0}`), want: refused("spec.app.port|is not a port; write a number from 1 to 65535")},
		{name: "port 65536", patches: set(`app: {port: 65536}`), want: refused("spec.app.port|is not a port; write a number from 1 to 65535")},
		{name: "a port in quotes", patches: set(`app: {port: "8080"}`), want: refused("spec.app.port|is text; write the number without quotes")},
		{name: "a port's name in upper case", patches: set(`app: {port: HTTP}`), want: refused("spec.app.port|" + notPort)},
		{name: "a port's name that is too long", patches: set(`app: {port: abcdefghijklmnop}`), want: refused("spec.app.port|may not be more than 15 bytes")},
		{name: "a port's name with two dashes", patches: set(`app: {port: a--b}`), want: refused("spec.app.port|" + notPort)},
		{name: "no port", patches: set(`app: {port: null}`), want: refused("spec.app.port|Required value")},
		{name: "a prefix of pages", patches: set(`app: {twoFactorPath: /account/2fa}`)},
		{name: "the whole app as the pages", patches: set(`app: {twoFactorPath: /}`), want: refused(
			`spec.app.twoFactorPath|would leave the app no path of its own; write one that the app does not use, such as "/my/profile/two-factor"`)},
		{name: "pages that end in a slash", patches: set(`app: {twoFactorPath: /two/}`), want: refused(`spec.app.twoFactorPath|ends in "/"; write it without`)},
		{name: "pages over the sign-in", patches: set(`app: {twoFactorPath: /account, signInPath: /account/login}`), want: refused(
			"spec.app.twoFactorPath|covers signInPath, signOut.path or passwordCheck.path, which must reach the app; write a prefix that the app does not use")},
		{name: "pages over the default of the sign-out", patches: set(`app: {twoFactorPath: /logout}`), want: refused(
			"spec.app.twoFactorPath|covers signInPath, signOut.path or passwordCheck.path, which must reach the app; write a prefix that the app does not use")},
		{name: "pages over the default of the endpoint", patches: set(`app: {twoFactorPath: /api}`), want: refused(
			"spec.app.twoFactorPath|twoFactorPath covers identity.endpoint.path, which must reach the app; write a prefix that the app does not use")},
		{name: "a sign-out by another method", patches: set(`app: {signOut: {method: PATCH}}`), want: refused(
			`spec.app.signOut.method|supported values: "GET", "POST", "DELETE"`)},
		{name: "a password check with all there is", patches: set(
			`app: {passwordCheck: {type: JSON, path: /api/login, usernameField: user, passwordField: pass, success: {status: [200, 204], notLocation: /x}}}`)},
		{name: "an unknown password check", patches: set(`app: {passwordCheck: {type: form}}`), want: refused(
			`spec.app.passwordCheck.type|supported values: "Form", "JSON", "Basic", "None"`)},
		{name: "one field for both", patches: set(`app: {passwordCheck: {usernameField: password}}`), want: refused(
			"spec.app.passwordCheck.passwordField|is the usernameField too; write two different fields")},
		{name: "one field for both, twice written", patches: set(`app: {passwordCheck: {usernameField: x, passwordField: x}}`), want: refused(
			"spec.app.passwordCheck.passwordField|is the usernameField too; write two different fields")},
		{name: "one field for both, where none is sent", patches: set(`app: {passwordCheck: {type: Basic, usernameField: x, passwordField: x}}`)},
		{name: "fields that swap the defaults", patches: set(`app: {passwordCheck: {usernameField: password, passwordField: username}}`)},
		{name: "a status that is none", patches: set(`app: {passwordCheck: {success: {status: [200, 99]}}}`), want: refused(
			"spec.app.passwordCheck.success.status[1]|is not a status code; write one from 100 to 599")},
	}
	for name, path := range map[string]string{
		"relative": "login", "empty": `""`, "escaped": "/a%2fb", "with an empty segment": "/a//b", "with a dot segment": "/a/../b",
		"with a query": `"/a?b"`, "with a fragment": `"/a#b"`, "with a parameter": "/a;b", "with a backslash": `'/a\b'`, "beyond ASCII": "/é",
	} {
		cases = append(cases, ruleCase{
			name: "a sign-in path that is " + name, patches: set(`app: {signInPath: ` + path + `}`),
			want: refused("spec.app.signInPath|" + notCanonical), serverOnly: name == "empty",
		})
	}
	for name, path := range map[string]string{"the root": "/", "with a slash at the end": "/a/", "with every character": "'/a.b/~!$&()*+,=:@_-\"<>[]^`{|}'"} {
		cases = append(cases, ruleCase{name: "a sign-in path that is " + name, patches: set(`app: {signInPath: ` + path + `}`)})
	}
	return cases
}
