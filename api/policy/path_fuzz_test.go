package policy_test

import (
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/api/policy"
)

// A canonical path means the same to every parser at hand: unescaping it,
// cleaning it, or parsing it as a URL changes nothing.
func FuzzCanonicalPath(f *testing.F) {
	for _, s := range []string{"/", "/a/b/", "/a/../b", "//a", "/a%2f", "/.", "/a;x", `/\`, "/a?b", "/ä", "/a.b", "/a:b", "/@"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if !policy.CanonicalPath(p) {
			return
		}
		if unescaped, err := url.PathUnescape(p); err != nil || unescaped != p {
			t.Errorf("%q unescapes to %q (%v)", p, unescaped, err)
		}
		u, err := url.ParseRequestURI(p)
		if err != nil || u.Path != p || u.Host != "" || u.RawQuery != "" {
			t.Errorf("%q parses to %+v (%v)", p, u, err)
		}
		clean := path.Clean(p)
		if clean != "/" && strings.HasSuffix(p, "/") {
			clean += "/"
		}
		if clean != p {
			t.Errorf("%q cleans to %q", p, clean)
		}
		if base, err := url.Parse("http://app.invalid/x/y"); err != nil || base.ResolveReference(u).Path != p {
			t.Errorf("%q resolves to something else", p)
		}
	})
}

// Whatever is exempt is canonical and lies where some exemption says, and never
// under the two-factor pages of valid rules.
func FuzzExempts(f *testing.F) {
	for _, s := range []string{"/static/a", "/my/profile/two-factor", "/my/profile/two-factor/disable", "/healthz", "/static/../my/profile/two-factor"} {
		f.Add("/healthz", "/static/", s)
	}
	f.Add("/my/profile/two-factorx", "/my/profile/two-factor/", "/my/profile/two-factor/disable")
	f.Fuzz(func(t *testing.T, exact, prefix, request string) {
		r := baseRules()
		r.Exempt = []policy.Exemption{{Path: exact}, {Prefix: prefix}}
		r.SetDefaults("portal")
		if len(r.Validate()) > 0 {
			return
		}
		if _, ok := r.Exempts("GET", request, nil); !ok {
			return
		}
		if !policy.CanonicalPath(request) || request != exact && !strings.HasPrefix(request, prefix) {
			t.Errorf("%q is exempt by %q and %q", request, exact, prefix)
		}
		if request == r.App.TwoFactorPath || strings.HasPrefix(request, r.App.TwoFactorPath+"/") {
			t.Errorf("%q of the two-factor pages is exempt by %q and %q", request, exact, prefix)
		}
	})
}
