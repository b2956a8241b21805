package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/test/stack"
)

// headersPolicy believes what a proxy in front says.
func headersPolicy(headers map[string]any) stack.Policy {
	return stack.Policy{Spec: map[string]any{"identity": map[string]any{"type": "Headers", "headers": headers}}}
}

// fronted is alice, whom the proxy in front has signed in.
func (w *world) fronted(header ...string) *person {
	p := w.visitor("alice")
	p.Client.Transport = fronted{header: append([]string{"X-Forwarded-User", "alice", "X-Forwarded-Groups", "employee"}, header...)}
	return p
}

// fronted adds headers to every request, as a proxy in front does.
type fronted struct{ header []string }

func (f fronted) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for i := 0; i < len(f.header); i += 2 {
		r.Header.Set(f.header[i], f.header[i+1])
	}
	return http.DefaultTransport.RoundTrip(r)
}

func TestHeadersOfATrustedProxy(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: headersPolicy(map[string]any{
		"trustedProxies": []string{"127.0.0.0/8"}, "signIn": "X-Forwarded-Sid",
	})})
	alice := w.fronted("X-Forwarded-Sid", "s1")
	alice.enrol()
	alice.wantPasses(true, "once enrolled")
	w.fronted("X-Forwarded-Sid", "s2").wantPasses(false, "another sign-in")
	alice.Client.Transport = fronted{header: []string{"X-Forwarded-User", "alice", "X-Forwarded-Sid", "s2"}}
	alice.wantPasses(false, "another sign-in of the same browser")

	got := w.one("GET", "/my", "X-Forwarded-User: bob", "X-Forwarded-Groups: employee", "X_Forwarded_User: alice",
		"X-Forwarded_User: alice", "X.Forwarded.User: alice")
	for name, values := range got.Header {
		if strings.EqualFold(strings.NewReplacer("_", "-", ".", "-").Replace(name), "X-Forwarded-User") &&
			(name != "X-Forwarded-User" || len(values) != 1 || values[0] != "bob") {
			t.Errorf("the app was told of %s: %q", name, values)
		}
	}
	for _, twice := range []string{"X-Forwarded-User: alice", "X-Forwarded-Sid: s2", "X-Forwarded-Groups: administrator"} {
		answer := send(t, w.URL(), "GET", "/my", "X-Forwarded-User: bob", "X-Forwarded-Sid: s1", "X-Forwarded-Groups: employee", twice)
		wantStatus(t, answer, http.StatusBadRequest)
	}
}

func TestHeadersOfAStranger(t *testing.T) {
	t.Parallel()
	p := headersPolicy(map[string]any{"trustedProxies": []string{"10.0.0.0/8"}, "signIn": "X-Forwarded-Sid"})
	w := startOffice(t, stack.Options{Policy: p})
	got := w.one("GET", "/my", "X-Forwarded-User: alice", "x-forwarded-user: alice", "X_Forwarded_User: alice",
		"X-Forwarded-User:", "X-Forwarded_Email: a@b", "X-Forwarded-Groups: administrator", "X-Forwarded-Sid: s1",
		"X-Forwarded-For: 10.0.0.7", "X-Forwarded-Host: portal.example", "X-Real-Ip: 10.0.0.7")
	for name := range got.Header {
		switch strings.ToLower(strings.ReplaceAll(name, "_", "-")) {
		case "x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-sid":
			t.Errorf("a stranger's %s reached the app", name)
		}
	}
	wantLocation(t, w.fronted().Get(prefix), "/login") // nobody
}

// With no header for the sign-in, the app's sign-in and sign-out end it.
func TestHeadersWithoutASignIn(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: headersPolicy(map[string]any{"trustedProxies": []string{"127.0.0.0/8"}})})
	alice := w.fronted()
	alice.enrol()
	for _, path := range []string{"/logout", "/login"} {
		alice.wantPasses(true, "before "+path)
		alice.Post(path, nil)
		alice.wantPasses(false, "after "+path)
		alice.verify()
	}
}

// passwordCheck replaces the office's adapter.
func passwordCheck(check map[string]any) stack.Policy {
	return stack.Policy{Spec: map[string]any{"app": map[string]any{"port": 8080, "passwordCheck": check}}}
}

func TestPasswordAdapters(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		check map[string]any
	}{
		{"a form", map[string]any{"type": "Form"}},
		{"JSON", map[string]any{"type": "JSON", "path": "/api/login", "usernameField": "user", "passwordField": "pass"}},
		{"HTTP Basic", map[string]any{"type": "Basic", "path": whoami}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := startOffice(t, stack.Options{Policy: passwordCheck(tc.check)})
			w.office.behave(w.office.signInJSON)
			alice := w.enrolled("alice")
			open := w.office.count()
			wrong := alice.Submit(alice.Get(prefix), "/disable", map[string]string{"password": "bob-demo"})
			wantStatus(t, wrong, http.StatusUnprocessableEntity)
			wantText(t, wrong, "error", wrongSecret)
			right := alice.Submit(wrong, "/disable", map[string]string{"password": "alice-demo"})
			wantStatus(t, right, http.StatusOK)
			wantCard(t, right, "not-configured", "Not configured")
			for _, answer := range []string{wrong.Header.Get("Set-Cookie"), right.Header.Get("Set-Cookie")} {
				if strings.Contains(answer, "session") {
					t.Errorf("a cookie of the password check leaked: %q", answer)
				}
			}
			if left := w.office.count(); left != open {
				t.Errorf("the password check left %d sessions open", left-open)
			}
			alice.wantPasses(true, "still signed in")
		})
	}
}

// signInJSON is a sign-in for scripts.
func (o *office) signInJSON(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != "/api/login" {
		return false
	}
	var in struct{ User, Pass string }
	if json.Unmarshal([]byte(bodyOf(r)), &in) != nil || r.Header.Get("Content-Type") != "application/json" || in.Pass != in.User+"-demo" {
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	o.open(w, in.User)
	return true
}

func TestAppWithoutPasswords(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: passwordCheck(map[string]any{"type": "None"})})
	alice := w.enrolled("alice")
	card := alice.Get(prefix)
	if _, fields := card.Form("/disable"); fields.Has("password") {
		t.Error("the page asks for a password")
	}
	for _, fields := range []map[string]string{
		{"code": alice.wrongCode()}, {"code": alice.last}, {"password": "alice-demo"}, {"recovery_code": alice.codes[0]},
	} {
		wrong := alice.Submit(card, "/disable", fields)
		wantStatus(t, wrong, http.StatusUnprocessableEntity)
		wantCard(t, wrong, "enabled", "Enabled")
	}
	off := alice.Submit(card, "/disable", map[string]string{"code": alice.code()})
	wantStatus(t, off, http.StatusOK)
	wantCard(t, off, "not-configured", "Not configured")
}
