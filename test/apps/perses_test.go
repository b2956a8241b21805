package apps_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	d, dir := newDoor(t), t.TempDir()
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
	alice.sees("Create Project")
	alice.shows("home")
	alice.open("/api/auth/logout")
	alice.wait(`location.pathname === "/sign-in"`)

	persesSignsIn(alice)
	alice.sees("Successfully")
	d.want(d.call(http.MethodGet, "/api/v1/projects", "", alice.session(), script), http.StatusUnauthorized, "mfa_challenge_required")
	alice.reload()
	alice.challenged()
	alice.shows("challenge")
	alice.passes(ph.code(1))
	alice.wait(`location.pathname === "/"`)
	d.want(d.call(http.MethodGet, "/api/v1/projects", "", alice.session(), script), http.StatusOK, "")
	alice.shows("home-again")
	alice.disables("wrong-password", persesPassword)
}
