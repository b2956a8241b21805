package server_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"

	"github.com/sallyport/sallyport/test/stack"
)

// whoami is where the office says who is signed in. Nobody but the sidecar asks
// there, so that whatever else reaches the office came through the door.
const whoami = "/whoami"

// office is an app that remembers every request that reached it. Its users are
// whoever knows that a password is the name and "-demo"; it knows sessions, HTTP
// Basic and API tokens ("Bearer key-<name>") alike, on every path.
type office struct {
	mu       sync.Mutex
	sessions map[string]string
	seen     []*hit
	// answer, if set, answers in place of the office: true means that it did.
	answer func(http.ResponseWriter, *http.Request) bool
}

// hit is a request that reached the office; Body is empty where a test answered it.
type hit struct {
	Method, Target, User string
	Header               http.Header
	Body                 string
}

func newOffice() *office { return &office{sessions: map[string]string{}} }

// officePolicy is the policy of the office, with what a test changes about it.
func officePolicy(p stack.Policy) stack.Policy {
	spec := map[string]any{
		"identity": map[string]any{"type": "Endpoint", "endpoint": map[string]any{
			"path": whoami, "cookies": []string{"session"}, "account": "/name", "cacheFor": "0s",
		}},
		"exempt": []map[string]any{
			{"path": "/healthz"}, {"prefix": "/public/"}, {"path": "/hook", "passCredentials": true},
		},
	}
	maps.Copy(spec, p.Spec)
	p.Spec = spec
	return p
}

// behave makes f answer, where it wants to, from now on; nil ends that.
func (o *office) behave(f func(http.ResponseWriter, *http.Request) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer = f
}

// requests returns what reached the office since the last call, but for questions
// about who is signed in.
func (o *office) requests() []hit {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make([]hit, len(o.seen))
	for i, h := range o.seen {
		all[i] = *h
	}
	o.seen = nil
	return all
}

func (o *office) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user := o.user(r)
	h := &hit{Method: r.Method, Target: r.RequestURI, User: user, Header: r.Header.Clone()}
	o.mu.Lock()
	answer := o.answer
	if r.URL.Path != whoami {
		o.seen = append(o.seen, h)
	}
	o.mu.Unlock()
	if answer != nil && answer(w, r) {
		return
	}
	body := bodyOf(r)
	r.Body = io.NopCloser(strings.NewReader(body))
	o.mu.Lock()
	h.Body = body
	o.mu.Unlock()
	switch {
	case r.URL.Path == whoami:
		o.whoami(w, user)
	case r.URL.Path == "/login":
		o.signIn(w, r)
	case r.URL.Path == "/logout" && r.Method == http.MethodPost:
		o.signOut(w, r)
	default:
		_, _ = fmt.Fprintf(w, "the office saw %s %s of %q\n", r.Method, r.RequestURI, user)
	}
}

// user is whoever any credential of the request stands for.
func (o *office) user(r *http.Request) string {
	if name, password, ok := r.BasicAuth(); ok && password == name+"-demo" {
		return name
	}
	if name, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer key-"); ok {
		return name
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, cookie := range r.CookiesNamed("session") {
		if name := o.sessions[cookie.Value]; name != "" {
			return name
		}
	}
	return ""
}

func (o *office) whoami(w http.ResponseWriter, user string) {
	if user == "" {
		http.Error(w, "nobody", http.StatusUnauthorized)
		return
	}
	roles := map[string]string{
		"adam": "administrator", "ines": "IT Administrator", "root": "super_administrator",
	}
	role := roles[user]
	if role == "" {
		role = "employee"
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"id": "id-" + user, "name": user, "roles": []string{role}})
}

func (o *office) signIn(w http.ResponseWriter, r *http.Request) {
	name := r.PostFormValue("username")
	if name == "" || r.PostFormValue("password") != name+"-demo" {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<form method="post" action="/login"><input name="username" value="%s">`+
			`<input name="password" type="password"></form>`, html.EscapeString(name))
		return
	}
	o.end(r)
	o.open(w, name)
	http.Redirect(w, r, "/my", http.StatusSeeOther)
}

func (o *office) open(w http.ResponseWriter, name string) {
	id := rand.Text()
	o.mu.Lock()
	o.sessions[id] = name
	o.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: "session", Value: id, Path: "/", HttpOnly: true})
}

func bodyOf(r *http.Request) string {
	body, _ := io.ReadAll(r.Body)
	return string(body)
}

func (o *office) signOut(w http.ResponseWriter, r *http.Request) {
	o.end(r)
	http.SetCookie(w, &http.Cookie{Name: "session", Path: "/", MaxAge: -1})
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

func (o *office) end(r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, cookie := range r.CookiesNamed("session") {
		delete(o.sessions, cookie.Value)
	}
}

// count is how many sessions are open.
func (o *office) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.sessions)
}

// adopt makes a session somebody's, as apps do that keep its id at the sign-in.
func (o *office) adopt(id, name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sessions[id] = name
}

// drop ends a session, as an administrator of the app does.
func (o *office) drop(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.sessions, id)
}

// knows reports whether a session is open.
func (o *office) knows(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sessions[id] != ""
}
