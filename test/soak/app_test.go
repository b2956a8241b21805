package soak_test

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// app knows sessions, says whose they are, and remembers which of them may reach it.
type app struct {
	url  string
	keys []byte

	mu       sync.Mutex
	sessions map[string]*login
	// trespasses are requests of sessions that had not passed the challenge.
	trespasses []string
}

// login is one sign-in at the app.
type login struct {
	user string
	// passed is that the sidecar has acknowledged a code, or an enrolment, of it.
	passed bool
}

func newApp(t *testing.T) *app {
	t.Helper()
	a := &app{sessions: map[string]*login{}}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

// open signs a user in.
func (a *app) open(user string) string {
	id := rand.Text()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions[id] = &login{user: user}
	return id
}

// pass notes that the session may reach the app from now on.
func (a *app) pass(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions[id].passed = true
}

func (a *app) close(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.sessions, id)
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	cookie, err := r.Cookie("session")
	if err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.sessions[cookie.Value]
	switch {
	case known == nil:
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/whoami":
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"id": known.user, "name": known.user, "roles": []string{}})
	case !known.passed:
		a.trespasses = append(a.trespasses, known.user+" "+r.Method+" "+r.URL.Path)
	default:
		_, _ = w.Write([]byte("the app's own"))
	}
}

// trespassers returns who reached the app and must not have, since the last call.
func (a *app) trespassers() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	found := a.trespasses
	a.trespasses = nil
	return found
}
