package upstream_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/upstream"
)

const signInPage = `<!doctype html><title>Sign in</title>
<form action="/search"><input name="q"></form>
<form method="post" action="/session?from=login">
  <input type="hidden" name="csrf" value="form-token"><input name="username"><input type="password" name="password">
  <input type="checkbox" name="remember" value="1"><input type="submit" name="go" value="Go">
</form>`

// formApp signs alice in with the right form token, anonymous session and password.
type formApp struct {
	mu       sync.Mutex
	sessions map[string]bool
	seen     []http.Header
}

func (a *formApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, r.Header.Clone())
	switch r.Method + " " + r.URL.Path {
	case "GET /login":
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "anonymous"})
		_, _ = io.WriteString(w, signInPage)
	case "POST /session":
		cookie, _ := r.Cookie("session")
		switch {
		case cookie == nil || cookie.Value != "anonymous" || r.PostFormValue("csrf") != "form-token":
			http.Error(w, "bad form token", http.StatusForbidden)
		case r.PostFormValue("remember") != "" || r.PostFormValue("go") != "" || r.URL.Query().Get("from") != "login":
			http.Error(w, "not as a browser submits it", http.StatusBadRequest)
		case r.PostFormValue("username") == "alice" && r.PostFormValue("password") == "right":
			a.sessions["fresh"] = true
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "fresh"})
			http.Redirect(w, r, "/my", http.StatusSeeOther)
		default:
			http.Redirect(w, r, "/login?failed=1", http.StatusSeeOther)
		}
	case "POST /logout":
		if cookie, err := r.Cookie("session"); err == nil {
			delete(a.sessions, cookie.Value)
		}
		http.SetCookie(w, &http.Cookie{Name: "session", MaxAge: -1})
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	default:
		http.NotFound(w, r)
	}
}

func rules(mutate func(*policy.Rules)) policy.App {
	r := policy.Rules{Identity: policy.Identity{Type: policy.IdentityEndpoint, Endpoint: &policy.EndpointIdentity{}}}
	if mutate != nil {
		mutate(&r)
	}
	r.SetDefaults("portal")
	return r.App
}

func client(t *testing.T, app http.Handler, rules policy.App) *upstream.Client {
	t.Helper()
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	origin, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := upstream.New(origin, rules)
	t.Cleanup(c.Close)
	return c
}

func browserRequest(t *testing.T) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://portal.example/my/profile/two-factor/disable", nil)
	r.Header.Set("Cookie", "session=browsers-own")
	r.Header.Set("X-Forwarded-Proto", "https")
	r.Header.Set("User-Agent", "a browser")
	return r
}

func TestFormCheckSignsInAsABrowserDoesAndLeavesNoSession(t *testing.T) {
	t.Parallel()
	app := &formApp{sessions: map[string]bool{}}
	c := client(t, app, rules(nil))

	if err := c.CheckPassword(t.Context(), browserRequest(t), "alice", "right"); err != nil {
		t.Errorf("the right password: %v", err)
	}
	for name, attempt := range map[string][2]string{
		"wrong password": {"alice", "wrong"}, "unknown user": {"mallory", "right"},
		"no password": {"alice", ""}, "no account": {"", "right"},
	} {
		if err := c.CheckPassword(t.Context(), browserRequest(t), attempt[0], attempt[1]); !errors.Is(err, mfa.ErrWrongPassword) {
			t.Errorf("%s: error is %v, want %v", name, err, mfa.ErrWrongPassword)
		}
	}
	if len(app.sessions) != 0 {
		t.Errorf("sessions left at the app: %v", app.sessions)
	}
	for _, header := range app.seen {
		if strings.Contains(header.Get("Cookie"), "browsers-own") {
			t.Error("the browser's own session was used for a password check")
		}
		if header.Get("User-Agent") != "a browser" || header.Get("X-Forwarded-Proto") != "https" {
			t.Errorf("the app cannot tell where the attempt comes from: %v", header)
		}
		if origin := header.Get("Origin"); origin != "" && origin != "https://portal.example" {
			t.Errorf("Origin = %q", origin)
		}
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	answer := func(status int, location string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && r.Header.Get("Authorization") == "" {
				_, _ = io.WriteString(w, "<p>no form here</p>")
				return
			}
			if location != "" {
				w.Header().Set("Location", location)
			}
			w.WriteHeader(status)
		}
	}
	form := policy.PasswordCheckForm
	cases := []struct {
		name string
		kind policy.PasswordCheckType
		app  http.HandlerFunc
		want error
	}{
		{"form: redirect elsewhere is a success", form, answer(303, "/my"), nil},
		{"form: redirect to sign-in is a failure", form, answer(302, "/login?e=1"), mfa.ErrWrongPassword},
		{"form: absolute redirect to sign-in is a failure", form, answer(302, "http://x.example/login/"), mfa.ErrWrongPassword},
		{"form: redirect without a target is a failure", form, answer(303, ""), mfa.ErrWrongPassword},
		{"form: the page again is a failure", form, answer(200, ""), mfa.ErrWrongPassword},
		{"form: an error of the app says nothing", form, answer(500, ""), upstream.ErrUnavailable},
		{"form: a lock-out of the app says nothing", form, answer(429, ""), upstream.ErrUnavailable},
		{"form: a wrong path says nothing", form, answer(404, ""), upstream.ErrUnavailable},
		{"JSON: 200 is a success", policy.PasswordCheckJSON, answer(200, ""), nil},
		{"JSON: 401 is a failure", policy.PasswordCheckJSON, answer(401, ""), mfa.ErrWrongPassword},
		{"JSON: a redirect is a failure", policy.PasswordCheckJSON, answer(302, "/my"), mfa.ErrWrongPassword},
		{"Basic: 200 is a success", policy.PasswordCheckBasic, answer(200, ""), nil},
		{"Basic: 401 is a failure", policy.PasswordCheckBasic, answer(401, ""), mfa.ErrWrongPassword},
		{"Basic: 503 says nothing", policy.PasswordCheckBasic, answer(503, ""), upstream.ErrUnavailable},
		{"None: there is nothing to ask", policy.PasswordCheckNone, answer(200, ""), upstream.ErrUnavailable},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			app := rules(func(r *policy.Rules) { r.App.PasswordCheck.Type = c.kind })
			got := client(t, c.app, app).CheckPassword(t.Context(), browserRequest(t), "alice", "secret")
			if !errors.Is(got, c.want) {
				t.Errorf("CheckPassword() = %v, want %v", got, c.want)
			}
			if got != nil && strings.Contains(got.Error(), "secret") {
				t.Errorf("the error holds the password: %v", got)
			}
		})
	}
}

func TestCheckPasswordSendsWhatThePolicyNames(t *testing.T) {
	t.Parallel()
	t.Run("JSON fields", func(t *testing.T) {
		t.Parallel()
		var got map[string]string
		c := client(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_ = json.NewDecoder(r.Body).Decode(&got)
		}), rules(func(r *policy.Rules) {
			r.App.PasswordCheck = policy.PasswordCheck{Type: policy.PasswordCheckJSON, UsernameField: "login", PasswordField: "pw"}
		}))
		if err := c.CheckPassword(t.Context(), browserRequest(t), "alice", `p"w`); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"login": "alice", "pw": `p"w`}, got); diff != "" {
			t.Errorf("the body differs (-want +got):\n%s", diff)
		}
	})
	t.Run("Basic credentials", func(t *testing.T) {
		t.Parallel()
		c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); user != "alice" || password != "pä:ss" {
				w.WriteHeader(http.StatusUnauthorized)
			}
		}), rules(func(r *policy.Rules) { r.App.PasswordCheck.Type = policy.PasswordCheckBasic }))
		if err := c.CheckPassword(t.Context(), browserRequest(t), "alice", "pä:ss"); err != nil {
			t.Error(err)
		}
		if err := c.CheckPassword(t.Context(), browserRequest(t), "al:ice", "x"); !errors.Is(err, upstream.ErrUnavailable) {
			t.Errorf("an account with a colon: %v, want %v", err, upstream.ErrUnavailable)
		}
	})
}

func TestAppThatIsAwaySaysNothingAboutThePassword(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	origin, _ := url.Parse(server.URL)
	server.Close()
	for _, kind := range []policy.PasswordCheckType{policy.PasswordCheckForm, policy.PasswordCheckJSON, policy.PasswordCheckBasic} {
		c := upstream.New(origin, rules(func(r *policy.Rules) { r.App.PasswordCheck.Type = kind }))
		if err := c.CheckPassword(t.Context(), browserRequest(t), "alice", "right"); !errors.Is(err, upstream.ErrUnavailable) {
			t.Errorf("%s: error is %v, want %v", kind, err, upstream.ErrUnavailable)
		}
	}
}

func TestSignOut(t *testing.T) {
	t.Parallel()
	t.Run("ends the browser's session and returns the app's cookies", func(t *testing.T) {
		t.Parallel()
		app := &formApp{sessions: map[string]bool{"browsers-own": true}}
		lines, err := client(t, app, rules(nil)).SignOut(t.Context(), browserRequest(t))
		if err != nil {
			t.Fatal(err)
		}
		if len(app.sessions) != 0 {
			t.Error("the session is still there")
		}
		if len(lines) != 1 || !strings.HasPrefix(lines[0], "session=") {
			t.Errorf("Set-Cookie lines = %q", lines)
		}
	})
	t.Run("passes on no cookie of an app that refuses", func(t *testing.T) {
		t.Parallel()
		refuses := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "still-here"})
			w.WriteHeader(http.StatusForbidden)
		})
		lines, err := client(t, refuses, rules(nil)).SignOut(t.Context(), browserRequest(t))
		if err != nil || len(lines) != 0 {
			t.Errorf("SignOut() = %q, %v; want nothing", lines, err)
		}
	})
}
