package apps_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/test/stack"
)

const (
	giteaUser     = "alice"
	giteaPassword = "alice-demo-password"
)

// gitea is Gitea behind the sidecar: pages that the server renders, sign-in by a
// form, and an API that takes tokens and no session.
type gitea struct {
	*door
	binary, config string
	env            []string
}

func startGitea(t *testing.T) *gitea {
	t.Helper()
	if *onNode {
		g := &gitea{door: newDoor(t)}
		g.deploy(giteaCluster)
		g.createUser()
		return g
	}
	dir := t.TempDir()
	g := &gitea{door: newDoor(t), binary: program(t, "gitea"), config: filepath.Join(dir, "app.ini")}
	g.env = []string{"GITEA_WORK_DIR=" + dir, "HOME=" + dir}
	listen, err := url.Parse(g.behind)
	if err != nil {
		t.Fatal(err)
	}
	// What docs/apps/gitea/app.yaml sets, and this machine's addresses.
	ini := strings.Join([]string{
		"I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true", "[database]", "DB_TYPE = sqlite3",
		"[server]", "HTTP_ADDR = 127.0.0.1", "HTTP_PORT = " + listen.Port(), "ROOT_URL = " + g.URL + "/", "OFFLINE_MODE = true", "DISABLE_SSH = true",
		"[security]", "INSTALL_LOCK = true",
		"[service]", "DISABLE_REGISTRATION = true", "ENABLE_BASIC_AUTHENTICATION = false",
		"[log]", "LEVEL = Warn", "",
	}, "\n")
	if err := os.WriteFile(g.config, []byte(ini), 0o600); err != nil {
		t.Fatal(err)
	}
	g.command("migrate")
	g.createUser()
	run(t, g.env, g.binary, "--config", g.config, "web")
	g.await(g.behind + "/api/healthz")
	g.guard("gitea")
	return g
}

var giteaCluster = cluster{namespace: "git", app: "gitea"}

func (g *gitea) createUser() {
	g.t.Helper()
	g.command("admin", "user", "create", "--admin", "--username", giteaUser, "--password", giteaPassword,
		"--email", "alice@acme.example", "--must-change-password=false")
}

// command is what an administrator of Gitea runs beside it. It returns the last
// line: before it, as root, comes a warning.
func (g *gitea) command(args ...string) string {
	g.t.Helper()
	cmd := exec.CommandContext(g.t.Context(), g.binary, append([]string{"--config", g.config}, args...)...)
	if *onNode {
		inside := []string{"-n", giteaCluster.namespace, "exec", "deployment/gitea", "-c", "gitea", "--", "/gitea", "--config", "/data/app.ini"}
		cmd = exec.CommandContext(g.t.Context(), "kubectl", append(inside, args...)...)
	}
	cmd.Env = append(os.Environ(), g.env...)
	out, err := cmd.Output()
	if err != nil {
		g.t.Fatalf("gitea %s: %v: %s", strings.Join(args, " "), err, out)
	}
	said := strings.TrimSpace(string(out))
	return said[strings.LastIndexByte(said, '\n')+1:]
}

func (g *gitea) signsIn(p *person) {
	p.t.Helper()
	p.open("/user/login")
	p.write("#user_name", giteaUser)
	p.write("#password", giteaPassword)
	p.press("Sign In")
}

func TestGitea(t *testing.T) {
	g := startGitea(t)
	alice := newPerson(g.door, "gitea")

	alice.open("/user/login")
	alice.shows("sign-in")
	g.signsIn(alice)
	alice.mustEnrol()
	g.want(g.call(http.MethodGet, "/notifications/new", "", alice.session(), script), http.StatusUnauthorized, "mfa_enrolment_required")
	ph := alice.enrols()
	alice.shows("enabled")

	alice.open("/")
	alice.wait(`document.querySelector('a[href$="/user/logout"]') != null`)
	alice.shows("dashboard")
	alice.open("/repo/create")
	alice.write("#repo_name", "handbook")
	alice.press("Create Repository")
	if got := alice.at(); got != "/alice/handbook" {
		t.Errorf("creating a repository ended at %s", got)
	}
	alice.shows("repository")
	alice.follow(`a[href$="/user/logout"]`)

	g.signsIn(alice)
	alice.challenged()
	alice.shows("challenge")
	g.want(g.call(http.MethodGet, "/notifications/new", "", alice.session(), script), http.StatusUnauthorized, "mfa_challenge_required")
	alice.passes(ph.Code(1))
	if got := alice.at(); got != "/" {
		t.Errorf("after the challenge: %s", got)
	}
	g.want(g.call(http.MethodGet, "/notifications/new", "", alice.session(), script), http.StatusOK, "")

	t.Run("tokens", func(t *testing.T) { g.tokens(t) })
	alice.disables("wrong-password", giteaPassword)
}

// tokens proves that scripts keep working, and that a password alone gets nowhere.
func (g *gitea) tokens(t *testing.T) {
	t.Helper()
	g.t = t
	token := g.command("admin", "user", "generate-access-token", "--username", giteaUser, "--scopes", "all", "--raw")
	basic := func(secret string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(giteaUser+":"+secret))
	}
	const api = "/api/v1/user"
	for _, scheme := range []string{"token", "Bearer"} {
		a := g.call(http.MethodGet, api, "", "Authorization: "+scheme+" "+token)
		g.want(a, http.StatusOK, "")
		if a.body["login"] != giteaUser {
			t.Errorf("by %s, Gitea took the token for %v", scheme, a.body["login"])
		}
	}
	g.want(g.call(http.MethodPost, "/api/v1/orgs", `{"username": "acme"}`, "Authorization: token "+token, "Content-Type: application/json"), http.StatusCreated, "")
	g.want(g.call(http.MethodPost, "/api/v1/orgs/acme/repos", `{"name": "site", "private": true, "auto_init": true}`,
		"Authorization: token "+token, "Content-Type: application/json"), http.StatusCreated, "")

	// A sign-in by password, without a second factor.
	form := url.Values{"user_name": {giteaUser}, "password": {giteaPassword}}.Encode()
	in := g.call(http.MethodPost, "/user/login", form, "Content-Type: application/x-www-form-urlencoded")
	g.want(in, http.StatusSeeOther, "")
	var session string
	for _, line := range in.header["Set-Cookie"] {
		if strings.HasPrefix(line, "i_like_gitea=") {
			session = "Cookie: " + strings.SplitN(line, ";", 2)[0]
		}
	}
	g.want(g.call(http.MethodGet, "/user/settings", "", session), http.StatusUnauthorized, "mfa_challenge_required")
	g.want(g.call(http.MethodGet, api, "", session), http.StatusUnauthorized, "mfa_challenge_required")
	g.want(g.call(http.MethodGet, api, "", session, "Authorization: token no-token"), http.StatusUnauthorized, "")
	g.want(g.call(http.MethodGet, "/user/settings", "", session, "Authorization: token "+token), http.StatusUnauthorized, "mfa_challenge_required")

	// The password in the place of a token.
	g.want(g.call(http.MethodGet, api, "", basic(giteaPassword)), http.StatusUnauthorized, "")
	g.want(g.call(http.MethodPost, "/api/v1/users/alice/tokens", `{"name": "x", "scopes": ["all"]}`, basic(giteaPassword),
		"Content-Type: application/json"), http.StatusForbidden, "")

	// Git over HTTP, of the organisation that the policy names and of nobody else.
	const refs = "/info/refs?service=git-upload-pack"
	g.want(g.call(http.MethodGet, "/acme/site"+refs, "", basic(token)), http.StatusOK, "")
	g.want(g.call(http.MethodGet, "/acme/site"+refs, "", basic(giteaPassword)), http.StatusUnauthorized, "")
	g.want(g.call(http.MethodGet, "/acme/site/settings", "", basic(token)), http.StatusSeeOther, "")
	g.want(g.call(http.MethodGet, "/acme/site/settings", "", session, basic("x")), http.StatusSeeOther, "")
	g.want(g.call(http.MethodGet, "/acme/site/settings", "", session), http.StatusUnauthorized, "mfa_challenge_required")
}

// disables ends two-factor by the app's password, after a wrong one was refused.
func (p *person) disables(wrong, right string) {
	p.t.Helper()
	p.open(stack.Prefix)
	p.inState("enabled")
	p.click("Disable two-factor")
	p.write("Current password", wrong)
	p.press("Disable two-factor")
	if p.text("error") == "" {
		p.t.Errorf("a wrong password was not refused: at %s", p.at())
	}
	p.shows("wrong-password")
	p.write("Current password", right)
	p.press("Disable two-factor")
	p.inState("not-configured")
	p.shows("disabled")
}
