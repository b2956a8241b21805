package portal_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/cmd/workspace/portal"
)

func TestSignedOutAccess(t *testing.T) {
	s := newSite(t)
	tests := map[string]struct {
		method, path string
		status       int
		location     string
	}{
		"landing":              {"GET", "/", 200, ""},
		"about":                {"GET", "/about", 200, ""},
		"health":               {"GET", "/healthz", 200, ""},
		"robots":               {"GET", "/robots.txt", 200, ""},
		"style sheet":          {"GET", "/static/portal.css", 200, ""},
		"dashboard":            {"GET", "/my", 303, "/login?next=%2Fmy"},
		"dashboard, head only": {"HEAD", "/my", 303, "/login?next=%2Fmy"},
		"profile with query":   {"GET", "/my/profile?a=b&c", 303, "/login?next=%2Fmy%2Fprofile%3Fa%3Db%26c"},
		"upload":               {"POST", "/my/documents", 303, "/login"},
		"download":             {"GET", "/my/download/large", 303, "/login?next=%2Fmy%2Fdownload%2Flarge"},
		"administration":       {"GET", "/admin", 303, "/login?next=%2Fadmin"},
		"tasks":                {"GET", "/api/tasks", 401, ""},
		"new task":             {"POST", "/api/tasks", 401, ""},
		"finished task":        {"DELETE", "/api/tasks/t-1", 401, ""},
		"WebSocket":            {"GET", "/ws/echo-chat", 401, ""},
		"event stream":         {"GET", "/events/clock", 401, ""},
		"WebDAV":               {"PROPFIND", "/dav/", 401, ""},
		"nowhere":              {"GET", "/nowhere", 404, ""},
		"a second slash":       {"GET", "//my", 404, ""},
		"an encoded slash":     {"GET", "/my%2Fprofile", 404, ""},
		"a wrong method":       {"PUT", "/my", 405, ""},
		"an unknown method":    {"FOO", "/my", 405, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := s.browser(t).do(tc.method, tc.path, "")
			got.wantStatus(t, tc.status)
			if location := got.Header.Get("Location"); location != tc.location {
				t.Errorf("Location is %q, want %q", location, tc.location)
			}
			if tc.status == http.StatusMethodNotAllowed && got.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow is %q", got.Header.Get("Allow"))
			}
		})
	}
}

func TestSignInLeadsBackToThePage(t *testing.T) {
	b := newSite(t).browser(t)
	asked := b.get("/my/profile?tab=1")
	b.post("/login", b.form(asked.Header.Get("Location"), "alice", "alice-demo")).wantRedirect(t, "/my/profile?tab=1")
}

func TestRolesDecideAboutTheAdministration(t *testing.T) {
	s := newSite(t)
	tests := map[string]struct {
		user, label string
		admin       bool
	}{
		"employee":            {"alice", "Employee", false},
		"administrator":       {"adam", "Administrator", true},
		"IT administrator":    {"ines", "IT administrator", true},
		"super-administrator": {"root", "Super-administrator", true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := s.as(t, tc.user)
			home := b.get("/my").page(t)
			if got := home.Find("[data-testid=user-role]").Text(); got != tc.label {
				t.Errorf("the header says %q, want %q", got, tc.label)
			}
			if got := home.Find(".sidebar a[href='/admin']").Length() == 1; got != tc.admin {
				t.Errorf("the sidebar offers Admin: %v, want %v", got, tc.admin)
			}
			admin := b.get("/admin")
			if !tc.admin {
				admin.wantStatus(t, http.StatusForbidden)
				if admin.page(t).Find("[data-testid=people]").Length() != 0 {
					t.Error("the refusal shows the people")
				}
				return
			}
			admin.wantStatus(t, http.StatusOK)
			if text := admin.page(t).Find("#security").Text(); !strings.Contains(text, "Require MFA for everyone") || !strings.Contains(text, "Require MFA for admins") {
				t.Errorf("the security settings say %q", text)
			}
		})
	}
}

func TestSidebar(t *testing.T) {
	s := newSite(t)
	b := s.as(t, "root")
	for _, path := range []string{"/my", "/my/profile", "/my/documents", "/my/live", "/admin"} {
		t.Run(path, func(t *testing.T) {
			page := b.get(path).page(t)
			labels := page.Find(".sidebar a").Map(func(_ int, a *goquery.Selection) string { return a.Text() })
			if diff := cmp.Diff([]string{"Dashboard", "My profile", "Documents", "Live", "Admin"}, labels); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
			if got := page.Find(".sidebar [aria-current=page]").AttrOr("href", ""); got != path {
				t.Errorf("the current entry leads to %q", got)
			}
			if page.Find("form[action='/logout'][method=post] button").Length() != 1 {
				t.Error("there is no way to sign out")
			}
			if page.Find("[data-testid=user-name]").Text() != "Robin Oost" {
				t.Error("the page does not say who is signed in")
			}
		})
	}
}

func TestProfileCardIsAPlainLinkWithoutScripts(t *testing.T) {
	page := newSite(t).as(t, "alice").get("/my/profile").page(t)
	card := page.Find("[data-testid=profile-two-factor]")
	if got := card.Find("h2").Text(); got != "Two-factor authentication" {
		t.Errorf("the heading is %q", got)
	}
	link := card.Find("a[data-testid=profile-two-factor-link]")
	if got := link.AttrOr("href", ""); got != "/my/profile/two-factor" {
		t.Errorf("the link leads to %q", got)
	}
	if got := link.Text(); got != "Set up two-factor" {
		t.Errorf("the link says %q", got)
	}
	if _, hidden := link.Attr("hidden"); hidden {
		t.Error("the link is hidden")
	}
	if _, hidden := card.Find("[data-testid=profile-two-factor-badge]").Attr("hidden"); !hidden {
		t.Error("a badge is shown before the state is known")
	}
	if got := card.AttrOr("data-status", ""); got != "/my/profile/two-factor/status" {
		t.Errorf("the script would ask %q", got)
	}
}

// Nothing in a page may need a looser policy than the one that is sent.
func TestPagesObeyTheirOwnContentSecurityPolicy(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/", "/about", "/login", "/nowhere", "/my", "/my/profile", "/my/documents", "/my/live", "/admin"} {
		t.Run(path, func(t *testing.T) {
			b := s.browser(t)
			if strings.HasPrefix(path, "/my") || path == "/admin" {
				b.signIn("adam")
			}
			got := b.get(path)
			policy := got.Header.Get("Content-Security-Policy")
			if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
				t.Errorf("the policy is %q", policy)
			}
			for name, want := range map[string]string{
				"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
			} {
				if value := got.Header.Get(name); value != want {
					t.Errorf("%s is %q, want %q", name, value, want)
				}
			}
			page := got.page(t)
			if n := page.Find("script:not([src]), style, [style], [onclick], [onload], [onsubmit]").Length(); n != 0 {
				t.Errorf("%d inline scripts or styles", n)
			}
			page.Find("script[src], link[rel=stylesheet], img").Each(func(_ int, el *goquery.Selection) {
				address := el.AttrOr("src", el.AttrOr("href", ""))
				file := b.get(address)
				file.wantStatus(t, http.StatusOK)
				if caching := file.Header.Get("Cache-Control"); !strings.Contains(caching, "immutable") {
					t.Errorf("%s has Cache-Control %q", address, caching)
				}
			})
		})
	}
}

func TestPagesHaveTheirLandmarks(t *testing.T) {
	s := newSite(t)
	b := s.as(t, "adam")
	for _, path := range []string{"/", "/about", "/my", "/my/profile", "/my/documents", "/my/live", "/admin"} {
		t.Run(path, func(t *testing.T) {
			page := b.get(path).page(t)
			for _, one := range []string{"html[lang=en]", "title", "main#main", "h1", "a.skip[href='#main']", "header", "nav", "footer"} {
				if n := page.Find(one).Length(); n != 1 && one != "header" && one != "title" || n == 0 {
					t.Errorf("%d times %s", n, one)
				}
			}
			page.Find("input:not([type=hidden])").Each(func(_ int, in *goquery.Selection) {
				if id := in.AttrOr("id", ""); page.Find("label[for='"+id+"']").Length() != 1 {
					t.Errorf("input %q has no label", id)
				}
			})
		})
	}
}

func TestStaticFiles(t *testing.T) {
	b := newSite(t).browser(t)
	got := b.get("/static/portal.css")
	got.wantStatus(t, http.StatusOK)
	if kind := got.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/css") {
		t.Errorf("Content-Type is %q", kind)
	}
	b.do(http.MethodGet, "/static/portal.css", "", "If-None-Match", got.Header.Get("Etag")).wantStatus(t, http.StatusNotModified)
	stale := b.get("/static/portal.css?v=0123456789abcdef")
	if caching := stale.Header.Get("Cache-Control"); strings.Contains(caching, "immutable") {
		t.Errorf("an address of other content is cacheable for ever: %q", caching)
	}
	for _, path := range []string{"/static/", "/static/nothing.css", "/static/../portal.go", "/static/%2e%2e/portal.go"} {
		b.get(path).wantStatus(t, http.StatusNotFound)
	}
}

func TestProductNameAndInputAreEscaped(t *testing.T) {
	s := newSite(t, func(c *portal.Config) { c.ProductName = "<b>Widgets & Co</b>" })
	b := s.browser(t)
	form := b.form("/login", `"><script>alert(1)</script>`, "x")
	page := b.post("/login", form).page(t)
	if got := page.Find(".brand span").Text(); got != "<b>Widgets & Co</b>" {
		t.Errorf("the product is called %q", got)
	}
	if page.Find("script").Length() != 0 {
		t.Error("a user name became a script")
	}
	if got := page.Find("input[name=username]").AttrOr("value", ""); got != form.Get("username") {
		t.Errorf("the form repeats %q", got)
	}
}

func TestTasks(t *testing.T) {
	s := newSite(t)
	alice, adam := s.as(t, "alice"), s.as(t, "adam")
	type task struct{ ID, Title, Due string }
	list := func(b *browser) []task {
		t.Helper()
		var got struct{ Tasks []task }
		b.get("/api/tasks").decode(t, &got)
		return got.Tasks
	}
	mine := list(alice)
	if len(mine) != 3 || mine[0].Due != "2026-03-04" {
		t.Fatalf("the list begins as %+v", mine)
	}
	var added task
	got := alice.postJSON("/api/tasks", `{"title":"  Water the plants "}`)
	got.wantStatus(t, http.StatusCreated)
	got.decode(t, &added)
	if diff := cmp.Diff(task{ID: added.ID, Title: "Water the plants"}, added); diff != "" || added.ID == "" {
		t.Errorf("added (-want +got):\n%s", diff)
	}

	adam.do(http.MethodDelete, "/api/tasks/"+added.ID, "").wantStatus(t, http.StatusNotFound)
	alice.do(http.MethodDelete, "/api/tasks/"+mine[0].ID, "").wantStatus(t, http.StatusNoContent)
	alice.do(http.MethodDelete, "/api/tasks/"+mine[0].ID, "").wantStatus(t, http.StatusNotFound)
	if diff := cmp.Diff([]task{mine[1], mine[2], added}, list(alice)); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}

	alice.postJSON("/api/tasks", `{"title":" "}`).wantStatus(t, http.StatusUnprocessableEntity)
	alice.postJSON("/api/tasks", `{"title":"`+strings.Repeat("é", 201)+`"}`).wantStatus(t, http.StatusUnprocessableEntity)
	alice.do(http.MethodPost, "/api/tasks", `{"title":"x"}`, "Content-Type", "text/plain").wantStatus(t, http.StatusUnsupportedMediaType)
	alice.do(http.MethodPost, "/api/tasks", `{"title":"x"}`, "Content-Type", "application/json", "Sec-Fetch-Site", "cross-site").
		wantStatus(t, http.StatusForbidden)
	if n := len(list(alice)); n != 3 {
		t.Errorf("refused tasks left a list of %d", n)
	}
}

func TestTasksAreBounded(t *testing.T) {
	b := newSite(t).as(t, "alice")
	for range 97 {
		b.postJSON("/api/tasks", `{"title":"one more"}`).wantStatus(t, http.StatusCreated)
	}
	b.postJSON("/api/tasks", `{"title":"too much"}`).wantStatus(t, http.StatusConflict)
}

func TestVerificationHeaderIsIgnored(t *testing.T) {
	b := newSite(t).as(t, "alice")
	plain := b.get("/my/profile")
	told := b.do(http.MethodGet, "/my/profile", "", "X-Sallyport-Verified", "true")
	if diff := cmp.Diff(plain.body, told.body); diff != "" {
		t.Errorf("the page differs:\n%s", diff)
	}
	query := url.Values{"next": {"/my"}}
	b.do(http.MethodGet, "/login?"+query.Encode(), "", "X-Sallyport-Verified", "false").wantRedirect(t, "/my")
}
