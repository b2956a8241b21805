package apps_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

const (
	persesUser     = "alice"
	persesPassword = "alice-demo-password"
	persesLogin    = `{"login": "` + persesUser + `", "password": "` + persesPassword + `"}`
)

// startPerses runs Perses behind the sidecar: a single-page front end that signs in
// by JSON, and an API that takes the tokens of that sign-in.
func startPerses(t *testing.T) *door {
	t.Helper()
	d := newDoor(t)
	if *onNode {
		d.deploy(cluster{namespace: "perses", app: "perses"})
		return d
	}
	// Perses takes the path of its data in lower case, and t.TempDir has capitals.
	dir, err := os.MkdirTemp("", "perses-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "provisioning"), 0o700); err != nil {
		t.Fatal(err)
	}
	// What docs/apps/perses/app.yaml sets.
	for name, content := range map[string]string{
		"config.yaml": `security:
  enable_auth: true
  encryption_key: "0123456789abcdef0123456789abcdef"
  authentication: {disable_sign_up: true, providers: {enable_native: true}}
database: {file: {folder: ` + dir + `/db, extension: yaml}}
provisioning: {folders: [` + dir + `/provisioning]}
plugin: {path: ` + dir + `/plugins}
`,
		"provisioning/users.yaml": `- {kind: User, metadata: {name: alice}, spec: {nativeProvider: {password: ` + persesPassword + `}}}
- {kind: GlobalRole, metadata: {name: admin}, spec: {permissions: [{actions: ["*"], scopes: ["*"]}]}}
- {kind: GlobalRoleBinding, metadata: {name: admin}, spec: {role: admin, subjects: [{kind: User, name: alice}]}}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, nil, program(t, "perses"), "--config", filepath.Join(dir, "config.yaml"), "--web.listen-address", strings.TrimPrefix(d.behind, "http://"))
	d.await(d.behind + "/api/config")
	d.guard("perses")
	return d
}

// signsIn gives the password to Perses's own form. Its script does the rest.
func persesSignsIn(p *person) {
	p.t.Helper()
	p.write("Username", persesUser)
	p.write("Password", persesPassword)
	p.click("Sign in")
}

func TestPerses(t *testing.T) {
	d := startPerses(t)
	alice := newPerson(d, "perses")
	alice.open("/")
	alice.wait(`location.pathname === "/sign-in"`)
	alice.shows("sign-in")
	persesSignsIn(alice)
	alice.sees("Successfully")
	alice.shows("after-sign-in")
	// The front end's script is told, and stays where it is: it shows no pages that
	// come from elsewhere. The next page that the browser loads is the sidecar's.
	d.want(d.call(http.MethodGet, "/api/v1/projects", "", alice.session(), script), http.StatusUnauthorized, "mfa_enrolment_required")
	alice.reload()
	alice.mustEnrol()
	ph := alice.enrols()

	alice.open("/")
	alice.click("Create Project")
	alice.write("Name", "handbook"+kb.Tab)
	alice.click("Add")
	alice.wait(`location.pathname === "/projects/handbook"`)
	alice.shows("project")
	alice.follow(`a[href="/api/auth/logout"]`)
	alice.wait(`location.pathname === "/sign-in"`)

	persesSignsIn(alice)
	alice.sees("Successfully")
	d.want(d.call(http.MethodGet, "/api/v1/projects", "", alice.session(), script), http.StatusUnauthorized, "mfa_challenge_required")
	alice.reload()
	alice.challenged()
	alice.shows("challenge")
	alice.passes(ph.Code(1))
	alice.wait(`location.pathname === "/"`)
	d.want(d.call(http.MethodGet, "/api/v1/projects", "", alice.session(), script), http.StatusOK, "")
	alice.open("/projects/handbook")
	alice.sees("handbook")
	alice.shows("project-again")
	t.Run("tokens", func(t *testing.T) { persesTokens(t, d) })
	alice.disables("wrong-password", persesPassword)
}

// persesTokens proves that what the sign-in hands out for a password alone is worth
// nothing without a second factor, however it is presented.
func persesTokens(t *testing.T, d *door) {
	t.Helper()
	d.t = t
	const projects = "/api/v1/projects"
	in := d.call(http.MethodPost, "/api/auth/providers/native/login", persesLogin, "Content-Type: application/json")
	d.want(in, http.StatusOK, "")
	access, _ := in.body["access_token"].(string)
	refresh, _ := in.body["refresh_token"].(string)
	if access == "" || refresh == "" {
		t.Fatalf("Perses handed out no tokens: %v", in.body)
	}
	bearer := d.call(http.MethodGet, projects, "", "Authorization: Bearer "+access)
	d.want(bearer, http.StatusUnauthorized, "mfa_challenge_required")
	if got := bearer.header.Get("WWW-Authenticate"); !strings.Contains(got, "insufficient_user_authentication") {
		t.Errorf("a Bearer client is told %q", got)
	}
	var session []string
	for _, line := range in.header["Set-Cookie"] {
		session = append(session, strings.SplitN(line, ";", 2)[0])
	}
	d.want(d.call(http.MethodGet, projects, "", "Cookie: "+strings.Join(session, "; ")), http.StatusUnauthorized, "mfa_challenge_required")
	// Without the cookie that names the sign-in, and with another's in its place.
	d.want(d.call(http.MethodGet, projects, "", "Cookie: "+strings.Join(session[:2], "; ")), http.StatusUnauthorized, "mfa_challenge_required")
	d.want(d.call(http.MethodGet, projects, "", "Cookie: "+strings.Join(session[:2], "; ")+"; jwtRefreshToken=x"), http.StatusUnauthorized, "mfa_challenge_required")

	// Renewing is for whoever holds the refresh token, and brings no more than before.
	renewed := d.call(http.MethodPost, "/api/auth/refresh", "", "Cookie: jwtRefreshToken="+refresh)
	d.want(renewed, http.StatusOK, "")
	access, _ = renewed.body["access_token"].(string)
	d.want(d.call(http.MethodGet, projects, "", "Authorization: Bearer "+access), http.StatusUnauthorized, "mfa_challenge_required")
	d.want(d.call(http.MethodGet, projects, ""), http.StatusUnauthorized, "")
}
