package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/api/policy"
)

func TestValidateAccepts(t *testing.T) {
	runRuleCases(t, []ruleCase{
		{"the smallest endpoint rules", func(*policy.Rules) {}, nil},
		{"the smallest jwt rules", func(r *policy.Rules) { asJWT(r) }, nil},
		{"the smallest headers rules", func(r *policy.Rules) { asHeaders(r) }, nil},
		{"a named port", func(r *policy.Rules) { r.App.Port = policy.Port{Name: "http-web"} }, nil},
		{"every password check", func(r *policy.Rules) { r.App.PasswordCheck.Type = policy.PasswordCheckNone }, nil},
		{"a basic password check", func(r *policy.Rules) { r.App.PasswordCheck.Type = policy.PasswordCheckBasic }, nil},
		{"a path that only begins like the two-factor path", func(r *policy.Rules) {
			r.App.TwoFactorPath, r.App.SignInPath = "/two", "/two-step"
			r.Exempt = []policy.Exemption{{Path: "/twofold"}, {Prefix: "/two-/"}}
		}, nil},
		{"a sign-in page above the two-factor path", func(r *policy.Rules) { r.App.SignInPath = "/my" }, nil},
		{"exemptions", func(r *policy.Rules) {
			r.Exempt = []policy.Exemption{
				{Path: "/"},
				{Prefix: "/static/", Methods: []string{"GET", "HEAD"}},
				{Path: "/login", PassCredentials: true},
				{Path: "/dav/", Methods: []string{"VERSION-CONTROL"}},
			}
		}, nil},
		{"the bounds of a session", func(r *policy.Rules) {
			r.Session = policy.Session{MaxAge: span(720 * time.Hour), Idle: span(time.Minute), Freshness: span(720 * time.Hour)}
		}, nil},
		{"a short session without freshness", func(r *policy.Rules) { r.Session.MaxAge = span(time.Minute) }, nil},
		{"no cache", func(r *policy.Rules) { r.Identity.Endpoint.CacheFor = span(0) }, nil},
		{"escapes in a JSON pointer", func(r *policy.Rules) { r.Identity.Endpoint.Subject = "/a~1b/c~0d/0" }, nil},
		{"keys from a Secret", func(r *policy.Rules) {
			asJWT(r).JWKS = policy.JWKS{SecretRef: &policy.SecretRef{Name: "jwks"}}
		}, nil},
		{"keys inline", func(r *policy.Rules) {
			asJWT(r).JWKS = policy.JWKS{Inline: `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"abc"}]}`}
		}, nil},
		{"keys from loopback without TLS", func(r *policy.Rules) {
			asJWT(r).JWKS.URL = "http://[::1]:9000/keys"
		}, nil},
		{"one address and an IPv6 range as proxies", func(r *policy.Rules) {
			asHeaders(r).TrustedProxies = []string{"192.0.2.7/32", "fd00::/8"}
		}, nil},
		{"branding", func(r *policy.Rules) {
			r.Branding = policy.Branding{ProductName: "Acme", LogoURL: "/static/logo.svg?v=2", SupportURL: "mailto:help@example.com"}
		}, nil},
		{"enrolment by ticket", func(r *policy.Rules) { r.Enrolment.Mode = policy.EnrolmentTicket }, nil},
		{"support by https", func(r *policy.Rules) { r.Branding.SupportURL = "https://help.example.com/2fa#lost" }, nil},
		{"support by path", func(r *policy.Rules) { r.Branding.SupportURL = "/help" }, nil},
		{"admin roles with punctuation", func(r *policy.Rules) { r.AdminRoles = []string{"IT Admin, Berlin", "组织管理员"} }, nil},
		{"lists at their bounds", func(r *policy.Rules) {
			r.AdminRoles = repeat(64, "role-%d")
			r.Identity.Endpoint.Cookies = repeat(16, "cookie-%d")
			for _, p := range repeat(128, "/public/%d") {
				r.Exempt = append(r.Exempt, policy.Exemption{Path: p})
			}
		}, nil},
	})
}

func TestValidateRefusesNames(t *testing.T) {
	runRuleCases(t, []ruleCase{
		{
			"an admin role without letters", func(r *policy.Rules) { r.AdminRoles = []string{"admin", " -_"} },
			[]string{`spec.adminRoles[1]|" -_" names no role`},
		},
		{
			"an admin role that is too long", func(r *policy.Rules) { r.AdminRoles = []string{strings.Repeat("r", 129)} },
			[]string{"spec.adminRoles[0]|longer than 128"},
		},
		{
			"an admin role with a line break", func(r *policy.Rules) { r.AdminRoles = []string{"a\nb"} },
			[]string{"spec.adminRoles[0]|control character"},
		},
		{
			"an admin role framed by spaces", func(r *policy.Rules) { r.AdminRoles = []string{" admin"} },
			[]string{"spec.adminRoles[0]|starts or ends with a space"},
		},
		{
			"an admin role that is not UTF-8", func(r *policy.Rules) { r.AdminRoles = []string{"a\xff"} },
			[]string{"spec.adminRoles[0]|not UTF-8"},
		},
		{"an admin role with a comma where roles come in a header", func(r *policy.Rules) {
			asHeaders(r)
			r.AdminRoles = []string{"admin,root"}
		}, []string{"spec.adminRoles[0]|can never match"}},
		{
			"too many admin roles", func(r *policy.Rules) { r.AdminRoles = repeat(65, "role-%d") },
			[]string{"spec.adminRoles|has 65 entries; write at most 64"},
		},
		{
			"a workspace in upper case", func(r *policy.Rules) { r.Workspace = "Portal" },
			[]string{"spec.workspace|is not a workspace name"},
		},
		{
			"a workspace of 64 characters", func(r *policy.Rules) { r.Workspace = strings.Repeat("a", 64) },
			[]string{"spec.workspace|at most 63"},
		},
		{"a workspace with a slash", func(r *policy.Rules) { r.Workspace = "a/b" }, []string{"spec.workspace|is not a workspace name"}},
		{"a workspace that ends in a dash", func(r *policy.Rules) { r.Workspace = "a-" }, []string{"spec.workspace|at both ends"}},
		{"an issuer with a colon", func(r *policy.Rules) { r.Issuer = "Acme: portal" }, []string{`spec.issuer|holds ":"`}},
		{
			"an issuer of 65 characters", func(r *policy.Rules) { r.Issuer = strings.Repeat("é", 65) },
			[]string{"spec.issuer|longer than 64"},
		},
		{
			"an issuer with a control character", func(r *policy.Rules) { r.Issuer = "Acme\x00" },
			[]string{"spec.issuer|control character"},
		},
		{
			"an unknown choice for anonymous", func(r *policy.Rules) { r.Anonymous = "allow" },
			[]string{`spec.anonymous|did you mean Allow?`},
		},
		{
			"an unknown way to enrol", func(r *policy.Rules) { r.Enrolment.Mode = "Tickets" },
			[]string{`spec.enrolment.mode|did you mean Ticket?`},
		},
	})
}

func TestValidateRefusesApp(t *testing.T) {
	port := func(p policy.Port) func(*policy.Rules) { return func(r *policy.Rules) { r.App.Port = p } }
	runRuleCases(t, []ruleCase{
		{"no port", port(policy.Port{}), []string{"spec.app.port|is required"}},
		{"a port that is too high", port(policy.Port{Number: 65536}), []string{"spec.app.port|65536 is not a port"}},
		{"a negative port", port(policy.Port{Number: -1}), []string{"spec.app.port|-1 is not a port"}},
		{"a port with number and name", port(policy.Port{Number: 1, Name: "web"}), []string{"spec.app.port|write one of them"}},
		{"a port number in quotes", port(policy.Port{Name: "8080"}), []string{"spec.app.port|without quotes"}},
		{"a port name of 16 characters", port(policy.Port{Name: "abcdefghijklmnop"}), []string{"spec.app.port|at most 15"}},
		{"a port name with two dashes", port(policy.Port{Name: "a--b"}), []string{"spec.app.port|is not the name"}},
		{"a port name in upper case", port(policy.Port{Name: "HTTP"}), []string{"spec.app.port|is not the name"}},
		{"a port name without a letter", port(policy.Port{Name: "80-80"}), []string{"spec.app.port|is not the name"}},
		{
			"an unknown sign-out method", func(r *policy.Rules) { r.App.SignOut.Method = "PUT" },
			[]string{"spec.app.signOut.method|write GET, POST or DELETE"},
		},
		{
			"a relative sign-out path", func(r *policy.Rules) { r.App.SignOut.Path = "logout" },
			[]string{`spec.app.signOut.path|"logout" does not start with "/"`},
		},
		{
			"a sign-in path with a query, told once", func(r *policy.Rules) { r.App.SignInPath = "/login?next=/" },
			[]string{`spec.app.signInPath|holds "?"`},
		},
		{
			"a sign-in path that is too long", func(r *policy.Rules) { r.App.SignInPath = "/" + strings.Repeat("a", 1024) },
			[]string{"spec.app.signInPath|longer than 1024"},
		},
		{
			"an unknown password check", func(r *policy.Rules) { r.App.PasswordCheck.Type = "Forms" },
			[]string{"spec.app.passwordCheck.type|did you mean Form?"},
		},
		{
			"a password check's path with an escape", func(r *policy.Rules) { r.App.PasswordCheck.Path = "/log%69n" },
			[]string{"spec.app.passwordCheck.path|holds an escape"},
		},
		{
			"a username field that is too long", func(r *policy.Rules) { r.App.PasswordCheck.UsernameField = strings.Repeat("u", 129) },
			[]string{"spec.app.passwordCheck.usernameField|longer than 128"},
		},
		{
			"a password field with a line break", func(r *policy.Rules) { r.App.PasswordCheck.PasswordField = "p\n" },
			[]string{"spec.app.passwordCheck.passwordField|control character"},
		},
		{
			"one field for both", func(r *policy.Rules) { r.App.PasswordCheck.PasswordField = "username" },
			[]string{"spec.app.passwordCheck.passwordField|two different fields"},
		},
		{
			"a notLocation elsewhere", func(r *policy.Rules) { r.App.PasswordCheck.Success.NotLocation = "https://example.com/" },
			[]string{"spec.app.passwordCheck.success.notLocation|does not start"},
		},
		{
			"status codes out of range", func(r *policy.Rules) { r.App.PasswordCheck.Success.Status = []int{99, 200, 600} },
			[]string{"spec.app.passwordCheck.success.status[0]|99 is not", "spec.app.passwordCheck.success.status[2]|600 is not"},
		},
		{
			"too many status codes", func(r *policy.Rules) { r.App.PasswordCheck.Success.Status = make([]int, 17) },
			append([]string{"spec.app.passwordCheck.success.status|has 17"}, repeat(16, "spec.app.passwordCheck.success.status[%d]|0 is not")...),
		},
		{"several things at once", func(r *policy.Rules) {
			r.App = policy.App{}
			r.Workspace = "W"
			r.Anonymous = "Maybe"
		}, []string{"spec.workspace|is not", "spec.app.port|is required", "spec.anonymous|write Allow or Deny"}},
	})
}

func TestValidateKeepsTwoFactorPathApart(t *testing.T) {
	own := func(p string) func(*policy.Rules) { return func(r *policy.Rules) { r.App.TwoFactorPath = p } }
	runRuleCases(t, []ruleCase{
		{"the root", own("/"), []string{`spec.app.twoFactorPath|would leave the app no path`}},
		{"a trailing slash", own("/mfa/"), []string{`spec.app.twoFactorPath|write "/mfa"`}},
		{"not canonical", own("/mfa//x"), []string{"spec.app.twoFactorPath|empty segment"}},
		{"equal to the sign-in page", own("/login"), []string{"spec.app.twoFactorPath|which is spec.app.signInPath"}},
		{"above the sign-out", func(r *policy.Rules) {
			r.App.TwoFactorPath, r.App.SignOut.Path = "/auth", "/auth/logout"
		}, []string{"spec.app.twoFactorPath|which is spec.app.signOut.path"}},
		{"above the password check", func(r *policy.Rules) {
			r.App.TwoFactorPath, r.App.PasswordCheck.Path = "/auth", "/auth/check"
		}, []string{"spec.app.twoFactorPath|which is spec.app.passwordCheck.path"}},
		{"above the identity endpoint", own("/api"), []string{"spec.app.twoFactorPath|which is spec.identity.endpoint.path"}},
	})
}

func TestValidateRefusesExemptions(t *testing.T) {
	exempt := func(e ...policy.Exemption) func(*policy.Rules) { return func(r *policy.Rules) { r.Exempt = e } }
	runRuleCases(t, []ruleCase{
		{"nothing", exempt(policy.Exemption{}), []string{"spec.exempt[0]|exempts nothing"}},
		{"path and prefix", exempt(policy.Exemption{Path: "/a", Prefix: "/b/"}), []string{"spec.exempt[0]|write one of them"}},
		{
			"a path that is not canonical", exempt(policy.Exemption{Path: "/a"}, policy.Exemption{Path: "/a/../b"}),
			[]string{"spec.exempt[1].path|starts with a dot"},
		},
		{"a hidden path", exempt(policy.Exemption{Prefix: "/.well-known/"}), []string{"spec.exempt[0].prefix|starts with a dot"}},
		{"everything", exempt(policy.Exemption{Prefix: "/"}), []string{"spec.exempt[0].prefix|would exempt everything"}},
		{"a prefix without its slash", exempt(policy.Exemption{Prefix: "/static"}), []string{`spec.exempt[0].prefix|write "/static/"`}},
		{
			"the two-factor page", exempt(policy.Exemption{Path: "/my/profile/two-factor"}),
			[]string{"spec.exempt[0].path|cannot be exempt"},
		},
		{
			"a page below the two-factor page", exempt(policy.Exemption{Path: "/my/profile/two-factor/disable"}),
			[]string{"spec.exempt[0].path|cannot be exempt"},
		},
		{
			"a prefix above the two-factor pages", exempt(policy.Exemption{Prefix: "/my/"}),
			[]string{"spec.exempt[0].prefix|write a narrower prefix"},
		},
		{
			"the prefix of the two-factor pages", exempt(policy.Exemption{Prefix: "/my/profile/two-factor/"}),
			[]string{"spec.exempt[0].prefix|cannot be exempt"},
		},
		{
			"a prefix inside the two-factor pages", exempt(policy.Exemption{Prefix: "/my/profile/two-factor/assets/"}),
			[]string{"spec.exempt[0].prefix|cannot be exempt"},
		},
		{"a broken two-factor path is told once", func(r *policy.Rules) {
			r.App.TwoFactorPath = "/my/"
			r.Exempt = []policy.Exemption{{Prefix: "/my/"}, {Path: "/my/x"}}
		}, []string{"spec.app.twoFactorPath|ends in"}},
		{
			"methods that are none", exempt(policy.Exemption{Path: "/a", Methods: []string{"get", "GET", "", "G T", "GET"}}),
			[]string{
				`spec.exempt[0].methods[0]|"get" is not an HTTP method`, `spec.exempt[0].methods[2]|"" is not`,
				`spec.exempt[0].methods[3]|"G T" is not`, "spec.exempt[0].methods[4]|repeats spec.exempt[0].methods[1]",
			},
		},
		{
			"too many methods", exempt(policy.Exemption{Path: "/a", Methods: repeat(17, "M%d")}),
			[]string{"spec.exempt[0].methods|at most 16"},
		},
		{"schemes", exempt(policy.Exemption{Path: "/a", Authorization: []string{"token", "Bearer"}}), nil},
		{
			"schemes that are none", exempt(policy.Exemption{Path: "/a", Authorization: []string{"", "Bearer x", "a", "a", strings.Repeat("x", 33)}}),
			[]string{
				`spec.exempt[0].authorization[0]|"" is not a scheme`, `spec.exempt[0].authorization[1]|"Bearer x" is not`,
				"spec.exempt[0].authorization[4]|is not a scheme", "spec.exempt[0].authorization[3]|repeats spec.exempt[0].authorization[2]",
			},
		},
		{
			"too many schemes", exempt(policy.Exemption{Path: "/a", Authorization: repeat(9, "s%d")}),
			[]string{"spec.exempt[0].authorization|at most 8"},
		},
		{
			"a token and cookies", exempt(policy.Exemption{Path: "/a", Authorization: []string{"token"}, PassCredentials: true}),
			[]string{"spec.exempt[0].authorization|remove passCredentials"},
		},
		{
			"too many exemptions", exempt(make([]policy.Exemption, 129)...),
			append([]string{"spec.exempt|has 129 entries; write at most 128"}, repeat(128, "spec.exempt[%d]|exempts nothing")...),
		},
	})
}

func TestValidateRefusesSessionAndBranding(t *testing.T) {
	session := func(s policy.Session) func(*policy.Rules) { return func(r *policy.Rules) { r.Session = s } }
	branding := func(b policy.Branding) func(*policy.Rules) { return func(r *policy.Rules) { r.Branding = b } }
	runRuleCases(t, []ruleCase{
		{
			"a maxAge that is too short, told once", session(policy.Session{MaxAge: span(time.Second)}),
			[]string{"spec.session.maxAge|1s is out of bounds; write from 1m to 720h"},
		},
		{
			"a maxAge that is too long", session(policy.Session{MaxAge: span(721 * time.Hour)}),
			[]string{"spec.session.maxAge|721h0m0s is out of bounds"},
		},
		{
			"an idle time that is too short", session(policy.Session{Idle: span(time.Second)}),
			[]string{`spec.session.idle|write "0s" for never`},
		},
		{"a negative idle time", session(policy.Session{Idle: span(-time.Second)}), []string{"spec.session.idle|out of bounds"}},
		{
			"an idle time beyond maxAge", session(policy.Session{MaxAge: span(time.Hour), Idle: span(2 * time.Hour)}),
			[]string{"spec.session.idle|from 1m to maxAge"},
		},
		{
			"a freshness beyond maxAge", session(policy.Session{MaxAge: span(time.Hour), Freshness: span(2 * time.Hour)}),
			[]string{"spec.session.freshness|from 1m to maxAge"},
		},
		{"no freshness to speak of", session(policy.Session{Freshness: span(0)}), []string{"spec.session.freshness|0s is out of bounds"}},
		{
			"a product name that is too long", branding(policy.Branding{ProductName: strings.Repeat("p", 65)}),
			[]string{"spec.branding.productName|longer than 64"},
		},
		{
			"a logo elsewhere", branding(policy.Branding{LogoURL: "https://cdn.example.com/l.svg"}),
			[]string{"spec.branding.logoURL|is not a path of the app"},
		},
		{
			"a logo elsewhere without a scheme", branding(policy.Branding{LogoURL: "//cdn.example.com/l.svg"}),
			[]string{"spec.branding.logoURL|is not a path of the app"},
		},
		{
			"a logo elsewhere by a backslash", branding(policy.Branding{LogoURL: `/\cdn.example.com`}),
			[]string{"spec.branding.logoURL|is not a path of the app"},
		},
		{
			"support by script", branding(policy.Branding{SupportURL: "javascript:alert(1)"}),
			[]string{"spec.branding.supportURL|leads nowhere safe"},
		},
		{
			"support without TLS", branding(policy.Branding{SupportURL: "http://example.com"}),
			[]string{"spec.branding.supportURL|leads nowhere safe"},
		},
		{
			"support with a user name", branding(policy.Branding{SupportURL: "https://help@example.com"}),
			[]string{"spec.branding.supportURL|leads nowhere safe"},
		},
		{
			"support without a host", branding(policy.Branding{SupportURL: "https:///x"}),
			[]string{"spec.branding.supportURL|leads nowhere safe"},
		},
		{
			"support by mail to nobody", branding(policy.Branding{SupportURL: "mailto:@"}),
			[]string{"spec.branding.supportURL|leads nowhere safe"},
		},
	})
}

// Rules that never got their defaults must not pass, nor panic.
func TestValidateRefusesTheZeroValue(t *testing.T) {
	got := (&policy.Rules{}).Validate()
	var paths []string
	for _, f := range got {
		paths = append(paths, f.Path)
	}
	want := []string{
		"spec.adminRoles", "spec.workspace", "spec.issuer", "spec.app.port", "spec.app.signInPath", "spec.app.signOut.path",
		"spec.app.signOut.method", "spec.app.passwordCheck.type", "spec.app.passwordCheck.success.status", "spec.app.twoFactorPath",
		"spec.identity.type", "spec.anonymous", "spec.enrolment.mode", "spec.session.maxAge", "spec.session.idle", "spec.session.freshness",
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

func TestFaults(t *testing.T) {
	var none policy.Faults
	if err := none.Err(); err != nil {
		t.Errorf("Err of no faults is %v, want nil", err)
	}
	f := policy.Faults{{Path: "spec.a", Message: "is odd"}, {Message: "too large"}}
	if got, want := f.Err().Error(), "spec.a: is odd\ntoo large"; got != want {
		t.Errorf("Error is %q, want %q", got, want)
	}
}
