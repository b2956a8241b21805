package policy_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/sallyport/sallyport/api/policy"
)

func TestRequires(t *testing.T) {
	admins := []string{"administrator", "IT-Administrator", "Büro Leitung"}
	for _, tc := range []struct {
		name           string
		everyone, adms bool
		adminRoles     []string
		roles          []string
		known          bool
		want           bool
	}{
		{"nobody is required", false, false, admins, []string{"administrator"}, true, false},
		{"nobody is required of unknown roles either", false, false, admins, nil, false, false},
		{"everyone, without roles", true, false, admins, nil, true, true},
		{"everyone, roles unknown", true, false, admins, nil, false, true},
		{"an admin", false, true, admins, []string{"user", "administrator"}, true, true},
		{"an admin in another spelling", false, true, admins, []string{" It_Administrator\t"}, true, true},
		{"an admin in capitals beyond ASCII", false, true, admins, []string{"BÜROLEITUNG"}, true, true},
		{"no admin", false, true, admins, []string{"user", "administrators", "admin", ""}, true, false},
		{"no roles at all", false, true, admins, nil, true, false},
		{"roles that could not be read", false, true, admins, nil, false, true},
		{"roles in part, and not all known", false, true, admins, []string{"user"}, false, true},
		{"no admin roles: rules without defaults", false, true, nil, []string{"user"}, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &policy.Rules{RequireForEveryone: tc.everyone, RequireForAdmins: tc.adms, AdminRoles: tc.adminRoles}
			if got := r.Requires(tc.roles, tc.known); got != tc.want {
				t.Errorf("Requires(%q, %v) is %v, want %v", tc.roles, tc.known, got, tc.want)
			}
		})
	}
}

// Matching compares rune by rune, to allocate nothing. It must agree with the
// plain way of saying the same.
func FuzzRequires(f *testing.F) {
	for _, s := range [][2]string{{"it-administrator", "IT Administrator"}, {"a", "a-"}, {"", "_"}, {"Ⅷ", "ⅷ"}, {"a\xff", "A\xfe"}, {"İ", "i"}} {
		f.Add(s[0], s[1])
	}
	plain := func(s string) string {
		return strings.Map(func(c rune) rune {
			if c == '_' || c == '-' || unicode.IsSpace(c) {
				return -1
			}
			return unicode.ToLower(c)
		}, s)
	}
	f.Fuzz(func(t *testing.T, admin, role string) {
		r := &policy.Rules{RequireForAdmins: true, AdminRoles: []string{admin}}
		if got, want := r.Requires([]string{role}, true), plain(admin) == plain(role); got != want {
			t.Errorf("%q and %q match: %v, want %v", admin, role, got, want)
		}
	})
}

func TestRequiresAllocatesNothing(t *testing.T) {
	r := baseRules()
	r.RequireForAdmins = true
	r.SetDefaults("portal")
	roles := []string{"Sales Person", "it_operator"}
	if n := testing.AllocsPerRun(100, func() { r.Requires(roles, true) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestExempts(t *testing.T) {
	rules := &policy.Rules{Exempt: []policy.Exemption{
		{Path: "/healthz"},
		{Prefix: "/static/", Methods: []string{"GET", "HEAD"}},
		{Path: "/feed", Methods: []string{"GET"}},
		{Path: "/login", PassCredentials: true},
		{Prefix: "/auth/"},
		{Prefix: "/auth/in/", PassCredentials: true},
		{Path: "/auth/in/raw"},
		{Path: "/twice", PassCredentials: true},
		{Path: "/twice", Methods: []string{"POST"}},
		{Path: "/slash/", PassCredentials: true},
		{Prefix: "/slash/"},
	}}
	for _, tc := range []struct {
		name, method, path string
		pass               policy.Passage
		ok                 bool
	}{
		{"an exact path", "GET", "/healthz", policy.PassNothing, true},
		{"an exact path by any method", "PURGE", "/healthz", policy.PassNothing, true},
		{"below an exact path", "GET", "/healthz/x", policy.PassNothing, false},
		{"an exact path in another case", "GET", "/Healthz", policy.PassNothing, false},
		{"an exact path with a slash", "GET", "/healthz/", policy.PassNothing, false},
		{"a prefix itself", "GET", "/static/", policy.PassNothing, true},
		{"below a prefix", "HEAD", "/static/a/b.css", policy.PassNothing, true},
		{"a prefix without its slash", "GET", "/static", policy.PassNothing, false},
		{"a prefix by another method", "POST", "/static/a", policy.PassNothing, false},
		{"HEAD is not GET", "HEAD", "/feed", policy.PassNothing, false},
		{"a method in another case", "get", "/feed", policy.PassNothing, false},
		{"credentials where the path says so", "POST", "/login", policy.PassCredentials, true},
		{"no credentials below the wider prefix", "GET", "/auth/x", policy.PassNothing, true},
		{"credentials below the longer prefix", "GET", "/auth/in/x", policy.PassCredentials, true},
		{"no credentials where the exact path says nothing", "GET", "/auth/in/raw", policy.PassNothing, true},
		{"credentials where the only match says so", "GET", "/twice", policy.PassCredentials, true},
		{"no credentials where equals disagree", "POST", "/twice", policy.PassNothing, true},
		{"a path speaks before a prefix of the same length", "GET", "/slash/", policy.PassCredentials, true},
		{"not canonical: climbing out", "GET", "/static/../admin", policy.PassNothing, false},
		{"not canonical: an escape", "GET", "/static/%2e%2e/admin", policy.PassNothing, false},
		{"not canonical: a parameter", "GET", "/static/;/x", policy.PassNothing, false},
		{"not canonical: an empty segment", "GET", "/static//x", policy.PassNothing, false},
		{"no path", "GET", "", policy.PassNothing, false},
		{"the star of OPTIONS", "OPTIONS", "*", policy.PassNothing, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pass, ok := rules.Exempts(tc.method, tc.path, nil)
			if pass != tc.pass || ok != tc.ok {
				t.Errorf("Exempts(%q, %q) is (%v, %v), want (%v, %v)", tc.method, tc.path, pass, ok, tc.pass, tc.ok)
			}
		})
	}
}

// An exemption for API tokens is one for nothing else: whatever may carry a browser's
// session beside, or in place of, the token is judged as anywhere else.
func TestExemptsByAuthorization(t *testing.T) {
	rules := &policy.Rules{Exempt: []policy.Exemption{
		{Prefix: "/api/", Authorization: []string{"token", "Bearer"}},
		{Prefix: "/api/public/"},
		{Prefix: "/api/both/", Authorization: []string{"Bearer"}},
		{Prefix: "/api/both/"},
		{Prefix: "/api/all/", Authorization: []string{"Bearer"}},
		{Prefix: "/api/all/", PassCredentials: true},
	}}
	for _, tc := range []struct {
		name, path    string
		authorization []string
		pass          policy.Passage
		ok            bool
	}{
		{"a token", "/api/x", []string{"token t"}, policy.PassAuthorization, true},
		{"a scheme in another case", "/api/x", []string{"BEARER t"}, policy.PassAuthorization, true},
		{"no header", "/api/x", nil, policy.PassNothing, false},
		{"an empty header", "/api/x", []string{""}, policy.PassNothing, false},
		{"another scheme", "/api/x", []string{"Basic dTpw"}, policy.PassNothing, false},
		{"a longer scheme", "/api/x", []string{"Bearers t"}, policy.PassNothing, false},
		{"a scheme without a credential", "/api/x", []string{"Bearer"}, policy.PassNothing, false},
		{"a scheme and a space", "/api/x", []string{"Bearer  "}, policy.PassNothing, false},
		{"a space first", "/api/x", []string{" Bearer t"}, policy.PassNothing, false},
		{"a tab between", "/api/x", []string{"Bearer\tt"}, policy.PassNothing, false},
		{"two headers", "/api/x", []string{"Bearer t", "Bearer t"}, policy.PassNothing, false},
		{"another path", "/apis/x", []string{"Bearer t"}, policy.PassNothing, false},
		{"a path that is not canonical", "/api/../x", []string{"Bearer t"}, policy.PassNothing, false},
		{"a longer prefix that passes nothing", "/api/public/x", []string{"Bearer t"}, policy.PassNothing, true},
		{"an equal that passes nothing", "/api/both/x", []string{"Bearer t"}, policy.PassNothing, true},
		{"an equal that passes everything", "/api/all/x", []string{"Bearer t"}, policy.PassAuthorization, true},
		{"an equal that is for every request", "/api/all/x", nil, policy.PassCredentials, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pass, ok := rules.Exempts("GET", tc.path, tc.authorization)
			if pass != tc.pass || ok != tc.ok {
				t.Errorf("Exempts(%q, %q) is (%v, %v), want (%v, %v)", tc.path, tc.authorization, pass, ok, tc.pass, tc.ok)
			}
		})
	}
}

// An exemption without path and prefix is refused by Validate, and must not
// exempt anything even so.
func TestExemptsNothingByDefault(t *testing.T) {
	r := &policy.Rules{Exempt: []policy.Exemption{{}, {PassCredentials: true}}}
	for _, path := range []string{"", "/", "/x"} {
		if pass, ok := r.Exempts("GET", path, nil); pass != policy.PassNothing || ok {
			t.Errorf("Exempts(GET, %q) is (%v, %v), want neither", path, pass, ok)
		}
	}
}

func TestCanonicalPath(t *testing.T) {
	for _, p := range []string{"/", "/a", "/a/", "/a.b/c..d/e.", "/~user/a+b@c:d,e!$&'()*=_-", "/A/b"} {
		if !policy.CanonicalPath(p) {
			t.Errorf("%q is not canonical, want it canonical", p)
		}
	}
	for _, p := range []string{
		"", "a", "a/", "*", "http://app/", "//", "//a", "/a//b", "/a//", "/.", "/..", "/./a", "/a/.", "/a/../b", "/.git", "/a/.b",
		"/a%2fb", "/%", "/a;b", `/a\b`, `\a`, "/a#b", "/a?b", "/a b", "/ ", "/a\x00", "/a\t", "/a\r\n", "/a\x7f", "/\x80", "/ä", "/。。/a",
	} {
		if policy.CanonicalPath(p) {
			t.Errorf("%q is canonical, want it refused", p)
		}
	}
}

func TestCanonicalPathAllocatesNothing(t *testing.T) {
	for _, p := range []string{"/static/app.css", `/a\b`} {
		var canonical bool
		if n := testing.AllocsPerRun(100, func() { canonical = policy.CanonicalPath(p) }); n != 0 {
			t.Errorf("%q (canonical: %v) costs %v allocations, want none", p, canonical, n)
		}
	}
}
