package portal_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/cmd/workspace/portal"
)

func TestSignInForm(t *testing.T) {
	s := newSite(t)
	tests := map[string]struct {
		username, password string
		mutate             func(url.Values)
		wantStatus         int
		wantError          string
	}{
		"user name and password match":   {username: "alice", password: "alice-demo", wantStatus: 303},
		"e-mail and password match":      {username: "Alice@acme.example ", password: "alice-demo", wantStatus: 303},
		"wrong password is refused":      {username: "alice", password: "adam-demo", wantStatus: 401, wantError: "do not match"},
		"empty password is refused":      {username: "alice", wantStatus: 401, wantError: "do not match"},
		"unknown user gets the same":     {username: "mallory", password: "alice-demo", wantStatus: 401, wantError: "do not match"},
		"nobody with nothing":            {wantStatus: 401, wantError: "do not match"},
		"without the token is refused":   {"alice", "alice-demo", func(f url.Values) { f.Del("csrf") }, 403, "no longer valid"},
		"a made-up token is refused":     {"alice", "alice-demo", func(f url.Values) { f.Set("csrf", strings.Repeat("A", 43)) }, 403, "no longer valid"},
		"fields in the query are naught": {"", "", func(f url.Values) { f.Del("username") }, 401, "do not match"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := s.browser(t)
			form := b.form("/login", tc.username, tc.password)
			if tc.mutate != nil {
				tc.mutate(form)
			}
			got := b.post("/login?username=alice&password=alice-demo", form)
			got.wantStatus(t, tc.wantStatus)
			if tc.wantStatus == http.StatusSeeOther {
				got.wantRedirect(t, "/my")
				b.get("/my").wantStatus(t, http.StatusOK)
				return
			}
			page := got.page(t)
			if text := page.Find("[data-testid=signin-error][role=alert]").Text(); !strings.Contains(text, tc.wantError) {
				t.Errorf("the page says %q, want %q", text, tc.wantError)
			}
			if page.Find("form[action='/login'] input[name=csrf]").AttrOr("value", "") == "" {
				t.Error("the page offers no form to try again with")
			}
			if page.Find("input[name=password]").AttrOr("value", "") != "" {
				t.Error("the page repeats the password")
			}
			b.get("/my").wantRedirect(t, "/login?next=%2Fmy")
		})
	}
	if strings.Contains(s.log.String(), "-demo") {
		t.Error("a password was logged")
	}
}

func TestSignInFormTokenBelongsToOneBrowser(t *testing.T) {
	s := newSite(t)
	stolen := s.browser(t).form("/login", "alice", "alice-demo")
	victim := s.browser(t)
	victim.get("/login")
	victim.post("/login", stolen).wantStatus(t, http.StatusForbidden)

	fresh := s.browser(t)
	fresh.post("/login", stolen).wantStatus(t, http.StatusForbidden)
}

func TestSignInRenewsTheSession(t *testing.T) {
	s := newSite(t)
	b := s.browser(t)
	form := b.form("/login", "alice", "alice-demo")
	planted := b.cookie()
	if planted == "" {
		t.Fatal("the sign-in page set no session cookie")
	}
	b.post("/login", form).wantRedirect(t, "/my")
	first := b.cookie()
	if first == planted {
		t.Fatal("the session id survived the sign-in")
	}
	b.postJSON("/api/login", `{"username":"alice","password":"alice-demo"}`).wantStatus(t, http.StatusOK)
	for name, old := range map[string]string{"before the sign-in": planted, "of the first sign-in": first} {
		got := s.browser(t).do(http.MethodGet, "/api/me", "", "Cookie", "session="+old)
		if got.StatusCode != http.StatusUnauthorized {
			t.Errorf("the id from %s answers %d, want 401", name, got.StatusCode)
		}
	}
}

func TestSessionCookieAttributes(t *testing.T) {
	tests := map[string]struct {
		secure bool
		want   string
	}{
		"plain http": {false, "Path=/; Max-Age=43200; HttpOnly; SameSite=Lax"},
		"https":      {true, "Path=/; Max-Age=43200; HttpOnly; Secure; SameSite=Lax"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(c *portal.Config) { c.SecureCookies = tc.secure })
			got := s.browser(t).postJSON("/api/login", `{"username":"alice","password":"alice-demo"}`)
			got.wantStatus(t, http.StatusOK)
			name, attributes, _ := strings.Cut(got.Header.Get("Set-Cookie"), "; ")
			if !strings.HasPrefix(name, "session=") || attributes != tc.want {
				t.Errorf("the cookie is %q with %q, want %q", name, attributes, tc.want)
			}
		})
	}
}

func TestSessionEndsAfterTwelveHoursWhateverItsUse(t *testing.T) {
	s := newSite(t)
	b := s.as(t, "alice")
	for range 2 {
		s.clock.advance(6*time.Hour - time.Second)
		b.get("/api/me").wantStatus(t, http.StatusOK)
	}
	s.clock.advance(2 * time.Second)
	b.get("/api/me").wantStatus(t, http.StatusUnauthorized)
	b.get("/my").wantRedirect(t, "/login?next=%2Fmy")
	b.signIn("alice") // the stale cookie must not be in the way
}

func TestSignOutEndsTheSessionOnTheServer(t *testing.T) {
	s := newSite(t)
	b := s.as(t, "alice")
	id := b.cookie()
	b.post("/logout", nil).wantRedirect(t, "/login")
	if b.cookie() != "" {
		t.Error("the cookie is still there")
	}
	s.browser(t).do(http.MethodGet, "/api/me", "", "Cookie", "session="+id).wantStatus(t, http.StatusUnauthorized)
	b.post("/logout", nil).wantRedirect(t, "/login")
}

func TestSignOutNeedsAPostFromHere(t *testing.T) {
	s := newSite(t)
	b := s.as(t, "alice")
	got := b.get("/logout")
	got.wantStatus(t, http.StatusMethodNotAllowed)
	if allow := got.Header.Get("Allow"); allow != "POST" {
		t.Errorf("Allow is %q, want POST", allow)
	}
	b.do(http.MethodPost, "/logout", "", "Sec-Fetch-Site", "cross-site").wantStatus(t, http.StatusForbidden)
	b.do(http.MethodPost, "/logout", "", "Origin", "https://elsewhere.example").wantStatus(t, http.StatusForbidden)
	b.get("/api/me").wantStatus(t, http.StatusOK)
}

func TestSignInPageSendsWhoeverIsSignedInOn(t *testing.T) {
	s := newSite(t)
	b := s.as(t, "alice")
	id := b.cookie()
	b.get("/login").wantRedirect(t, "/my")
	b.get("/login?next=/my/live").wantRedirect(t, "/my/live")
	if b.cookie() != id {
		t.Error("visiting the sign-in page changed the session")
	}
}

func TestNextStaysOnThisOrigin(t *testing.T) {
	s := newSite(t)
	tests := map[string]string{
		"/my/live":                   "/my/live",
		"/my/documents?a=1&b=%2F":    "/my/documents?a=1&b=%2F",
		"":                           "/my",
		"my/live":                    "/my",
		"//elsewhere.example":        "/my",
		"/\\elsewhere.example":       "/my",
		"/\t/elsewhere.example":      "/my",
		"\t//elsewhere.example":      "/my",
		"https://elsewhere.example/": "/my",
		"javascript:alert(1)":        "/my",
		"/%2felsewhere.example":      "/my",
		"/login":                     "/my",
		"/login?next=/my":            "/my",
		"/logout":                    "/my",
	}
	for next, want := range tests {
		t.Run(next, func(t *testing.T) {
			b := s.browser(t)
			b.post("/login", b.form("/login?next="+url.QueryEscape(next), "alice", "alice-demo")).wantRedirect(t, want)

			direct := s.browser(t)
			form := direct.form("/login", "alice", "alice-demo")
			form.Set("next", next)
			direct.post("/login", form).wantRedirect(t, want)
		})
	}
}

func FuzzNextStaysOnThisOrigin(f *testing.F) {
	for _, seed := range []string{"/my", "//x.example", `/\x.example`, "/..//x.example", "/%5cx", "/a?b=//c", "/\n/x", "/./\\x", "http:/x"} {
		f.Add(seed)
	}
	app, err := portal.New(portal.Config{Users: portal.DemoUsers()[:1], Clock: func() time.Time { return start }})
	if err != nil {
		f.Fatal(err)
	}
	signedIn := httptest.NewRecorder()
	signIn := httptest.NewRequestWithContext(f.Context(), http.MethodPost, "/api/login", strings.NewReader(`{"username":"alice","password":"alice-demo"}`))
	signIn.Header.Set("Content-Type", "application/json")
	app.Handler().ServeHTTP(signedIn, signIn)
	session := signedIn.Result().Cookies()[0]
	base := &url.URL{Scheme: "https", Host: "portal.example", Path: "/login"}
	f.Fuzz(func(t *testing.T, next string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/login?"+url.Values{"next": {next}}.Encode(), nil)
		r.AddCookie(session)
		app.Handler().ServeHTTP(w, r)
		location := w.Header().Get("Location")
		if w.Code != http.StatusSeeOther || !strings.HasPrefix(location, "/") {
			t.Fatalf("answered %d to %q", w.Code, location)
		}
		// Browsers read "\" as "/" and drop tabs and line breaks.
		seen := strings.NewReplacer(`\`, "/", "\t", "", "\n", "", "\r", "").Replace(location)
		u, err := base.Parse(seen)
		if err != nil || u.Host != base.Host || u.Scheme != base.Scheme {
			t.Fatalf("next %q leads to %q", next, location)
		}
	})
}

func TestSignInJSON(t *testing.T) {
	s := newSite(t)
	tests := map[string]struct {
		kind, body string
		header     []string
		want       int
	}{
		"right":                         {"application/json", `{"username":"ines","password":"ines-demo"}`, nil, 200},
		"right, charset named":          {"application/json; charset=utf-8", `{"username":"ines","password":"ines-demo"}`, nil, 200},
		"wrong password":                {"application/json", `{"username":"ines","password":"x"}`, nil, 401},
		"unknown user":                  {"application/json", `{"username":"x","password":"ines-demo"}`, nil, 401},
		"no JSON":                       {"application/json", `username=ines`, nil, 400},
		"a form":                        {"application/x-www-form-urlencoded", `username=ines&password=ines-demo`, nil, 415},
		"a content type forms can send": {"text/plain", `{"username":"ines","password":"ines-demo"}`, nil, 415},
		"from another site":             {"application/json", `{"username":"ines","password":"ines-demo"}`, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"endless":                       {"application/json", `{"username":"` + strings.Repeat("a", 70<<10) + `"}`, nil, 400},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := s.browser(t)
			got := b.do(http.MethodPost, "/api/login", tc.body, append([]string{"Content-Type", tc.kind}, tc.header...)...)
			got.wantStatus(t, tc.want)
			if tc.want != http.StatusOK {
				if b.cookie() != "" {
					t.Error("a refused sign-in set a cookie")
				}
				return
			}
			var answer struct {
				User struct {
					ID string `json:"id"`
				} `json:"user"`
			}
			got.decode(t, &answer)
			if answer.User.ID != "u-1003" {
				t.Errorf("the answer names %q, want u-1003", answer.User.ID)
			}
			b.get("/api/me").wantStatus(t, http.StatusOK)
		})
	}
}

func basic(username, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(username+":"+password))
}

func TestWhoAmI(t *testing.T) {
	s := newSite(t)
	alice := s.as(t, "alice").cookie()
	tests := map[string]struct {
		header []string
		want   string // the user's id, "" for nobody
	}{
		"nobody":                                   {nil, ""},
		"session":                                  {[]string{"Cookie", "session=" + alice}, "u-1001"},
		"session among other cookies":              {[]string{"Cookie", "a=b; session=" + alice + "; c=d"}, "u-1001"},
		"unknown session":                          {[]string{"Cookie", "session=" + strings.Repeat("A", 43)}, ""},
		"two sessions count for nothing":           {[]string{"Cookie", "session=" + alice + "; session=x"}, ""},
		"the same session twice":                   {[]string{"Cookie", "session=" + alice + "; session=" + alice}, ""},
		"Basic":                                    {[]string{"Authorization", basic("adam", "adam-demo")}, "u-1002"},
		"Basic with a wrong password":              {[]string{"Authorization", basic("adam", "x")}, ""},
		"Basic that cannot be read":                {[]string{"Authorization", "Basic %%%"}, ""},
		"two Authorization headers":                {[]string{"Authorization", basic("adam", "adam-demo"), "Authorization", basic("root", "root-demo")}, ""},
		"Bearer is not known here":                 {[]string{"Authorization", "Bearer " + alice}, ""},
		"Authorization outranks a session":         {[]string{"Authorization", basic("adam", "adam-demo"), "Cookie", "session=" + alice}, "u-1002"},
		"a wrong Basic does not fall back":         {[]string{"Authorization", basic("adam", "x"), "Cookie", "session=" + alice}, ""},
		"an unknown scheme does not fall back":     {[]string{"Authorization", "Bearer x", "Cookie", "session=" + alice}, ""},
		"a verification header makes nobody known": {[]string{"X-Sallyport-Verified", "true"}, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := s.browser(t).do(http.MethodGet, "/api/me", "", tc.header...)
			if kind := got.Header.Get("Content-Type"); kind != "application/json" {
				t.Errorf("Content-Type is %q", kind)
			}
			if tc.want == "" {
				got.wantStatus(t, http.StatusUnauthorized)
				if challenge := got.Header.Get("Www-Authenticate"); challenge == "" || strings.HasPrefix(challenge, "Basic") {
					t.Errorf("WWW-Authenticate is %q, want one that makes no browser ask", challenge)
				}
				return
			}
			got.wantStatus(t, http.StatusOK)
			var me struct {
				ID string `json:"id"`
			}
			got.decode(t, &me)
			if me.ID != tc.want {
				t.Errorf("it is %q, want %q", me.ID, tc.want)
			}
		})
	}
}

func TestWhoAmIDescribesTheUser(t *testing.T) {
	got := newSite(t).as(t, "ines").get("/api/me")
	var me map[string]any
	got.decode(t, &me)
	want := map[string]any{
		"id": "u-1003", "username": "ines", "email": "ines@acme.example", "name": "Ines Duarte",
		"roles": []any{"it-administrator"},
	}
	if diff := cmp.Diff(want, me); diff != "" {
		t.Errorf("/api/me (-want +got):\n%s", diff)
	}
	if got.Header.Get("Cache-Control") != "no-store" {
		t.Error("who is signed in must not be cached")
	}
}

func TestNoRolesAreAnEmptyList(t *testing.T) {
	s := newSite(t, func(c *portal.Config) { c.Users[0].Roles = nil })
	if got := s.as(t, "alice").get("/api/me"); !strings.Contains(got.body, `"roles":[]`) {
		t.Errorf("answered %s", got.body)
	}
}

// A request with two credentials must never be judged by one and served by the
// other: whoever a front door asks /api/me about is whom every path serves.
func TestPagesDisregardTheSessionBesideAuthorization(t *testing.T) {
	s := newSite(t)
	alice := s.as(t, "alice").cookie()
	for _, path := range []string{"/my", "/my/profile", "/my/documents", "/my/live", "/my/download/large?size=1", "/admin"} {
		t.Run(path, func(t *testing.T) {
			got := s.browser(t).do(http.MethodGet, path, "", "Cookie", "session="+alice, "Authorization", basic("adam", "adam-demo"))
			got.wantRedirect(t, "/login?next="+url.QueryEscape(path))
		})
	}
	for _, path := range []string{"/events/clock", "/ws/echo-chat"} {
		s.browser(t).do(http.MethodGet, path, "", "Cookie", "session="+alice, "Authorization", basic("adam", "adam-demo")).
			wantStatus(t, http.StatusUnauthorized)
	}
}

func TestDemoUsersCoverTheRoles(t *testing.T) {
	var roles []string
	for _, u := range portal.DemoUsers() {
		roles = append(roles, u.Roles...)
	}
	slices.Sort(roles)
	if diff := cmp.Diff([]string{"administrator", "employee", "it-administrator", "super-administrator"}, roles); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
}
