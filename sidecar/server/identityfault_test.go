package server_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/server"
	"github.com/sallyport/sallyport/test/stack"
)

// questions answers the questions who is signed in by f, and nothing else.
func questions(f http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == whoami {
			f(w, r)
		}
		return r.URL.Path == whoami
	}
}

// An app that answers without end, or a byte now and then, costs a second and
// little memory, and nobody passes by it. It has the process for itself: it counts
// what is allocated.
func TestIdentityAnswersAreBounded(t *testing.T) {
	w := startOffice(t, stack.Options{})
	people := []*person{w.enrolled("alice"), w.signedIn("bob")}
	long := strings.Repeat("x", 10<<20)
	drip := func(rw http.ResponseWriter, r *http.Request, first, then string) {
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		_, _ = io.WriteString(rw, first)
		for {
			if _, err := io.WriteString(rw, then); err != nil || http.NewResponseController(rw).Flush() != nil {
				return
			}
			select {
			case <-ticker.C:
			case <-r.Context().Done():
				return
			}
		}
	}
	for name, answer := range map[string]http.HandlerFunc{
		"10 MiB": func(rw http.ResponseWriter, _ *http.Request) {
			for _, part := range []string{`{"id":"id-bob","x":"`, long, `"}`} {
				_, _ = io.WriteString(rw, part)
			}
		},
		"without end": func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(rw, `{"id":"id-bob","x":"`)
			for r.Context().Err() == nil {
				if _, err := io.WriteString(rw, long[:64<<10]); err != nil {
					return
				}
			}
		},
		"a byte now and then": func(rw http.ResponseWriter, r *http.Request) { drip(rw, r, `{"id":"id-bob","x":"`, "x") },
		"a space now and then, after the document": func(rw http.ResponseWriter, r *http.Request) {
			drip(rw, r, `{"id":"id-bob"}`, " ")
		},
		"a long header": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("X-Long", long)
			_, _ = io.WriteString(rw, `{"id":"id-bob"}`)
		},
	} {
		w.office.behave(questions(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			answer(rw, r)
		}))
		w.office.requests()
		const each = 8
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		begin := time.Now()
		var all sync.WaitGroup
		for range each {
			for _, p := range people {
				all.Go(func() {
					if got := p.meets(http.MethodGet, "/my"); got != (standing{http.StatusServiceUnavailable, "identity_unavailable"}) {
						t.Errorf("%s: %s meets %v", name, p.name, got)
					}
				})
			}
		}
		all.Wait()
		took := time.Since(begin)
		runtime.ReadMemStats(&after)
		// A question ends after a second; the rest is for a busy machine.
		if took > 3*time.Second {
			t.Errorf("%s: %s passed until all were answered", name, took)
		}
		// The header's length is the app's own expense here, which is in the same process.
		if perRequest := (after.TotalAlloc - before.TotalAlloc) / (each * uint64(len(people))); perRequest > 2<<20 && name != "a long header" {
			t.Errorf("%s: %d KiB are allocated for a request", name, perRequest>>10)
		}
		if seen := w.office.requests(); len(seen) > 0 {
			t.Errorf("%s: these reached the app: %+v", name, seen)
		}
	}
	wantPublicOpen(t, people[1])
	w.office.behave(nil)
	people[0].wantPasses(true, "once it answers again")
}

// A subject is either exactly one user's or none's: what cannot be stored and shown
// is no identity, and what merely looks like another user's is not that user.
func TestOddSubjects(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: stack.Policy{Everyone: true}})
	alice, bob := w.enrolled("alice"), w.signedIn("bob")
	none := standing{http.StatusServiceUnavailable, "identity_unavailable"}
	another := standing{http.StatusUnauthorized, "mfa_enrolment_required"}
	text := func(s string) string {
		doc, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(doc)
	}
	for _, tc := range []struct {
		name, subject string
		want          standing
	}{
		{"NUL", text("id-alice\x00"), none},
		{"a newline", text("id-alice\n"), none},
		{"a header's end", text("id-alice\r\nX: y"), none},
		{"a tab", text("\tid-alice"), none},
		{"delete", text("id-alice\x7f"), none},
		{"a C1 control", `"id-alice\u0085"`, none},
		{"half a surrogate pair", `"id-alice\ud800"`, none},
		{"no UTF-8", "\"id-alice\xff\"", none},
		{"257 bytes", text(strings.Repeat("a", 257)), none},
		{"10 KiB", text(strings.Repeat("a", 10<<10)), none},
		{"empty", `""`, none},
		{"null", `null`, none},
		{"an array", `["id-alice"]`, none},
		{"an object", `{"id":"id-alice"}`, none},
		{"a boolean", `true`, none},
		{"a fraction", `7.0`, none},
		{"an exponent", `7e0`, none},
		{"a number too long", `1` + strings.Repeat("0", 70), none},
		{"256 bytes", text(strings.Repeat("a", 256)), another},
		{"a number", `7`, another},
		{"space before", text(" id-alice"), another},
		{"space after", text("id-alice "), another},
		{"only space", text(" "), another},
		{"another case", text("ID-ALICE"), another},
		{"an invisible character", text("id-alice\u200b"), another},
		{"right to left", text("\u202eecila-di"), another},
		{"full width", text("ｉｄ-alice"), another},
		{"Hebrew", text("עליזה"), another},
		{"emoji", text("🦊👩‍🚀"), another},
		{"what a key is made of", text("{acme/portal:id-alice}:u"), another},
		{"a wildcard", text("*"), another},
	} {
		w.office.behave(json200(`{"id":` + tc.subject + `,"name":"alice","roles":[]}`))
		w.office.requests()
		for _, p := range []*person{alice, bob} { // alice's browser holds a verification of alice's
			if got := p.meets(http.MethodGet, "/api/tasks"); got != tc.want {
				t.Errorf("%s: %s meets %v, want %v", tc.name, p.name, got, tc.want)
			}
			wantLoggedAsJSON(t, w.Sidecars[0])
		}
		if seen := w.office.requests(); len(seen) > 0 {
			t.Errorf("%s: these reached the app: %+v", tc.name, seen)
		}
	}
	w.office.behave(nil)
	alice.wantPasses(true, "by her own name")
}

// wantLoggedAsJSON fails the test where a line of the log is none.
func wantLoggedAsJSON(t *testing.T, s *stack.Sidecar) {
	t.Helper()
	audits(t, s, "none")
}

// While it cannot be said who asks, the sidecar's own pages are away as well, and an
// exempt path is served without what could make it somebody's.
func TestIdentitySourceAway(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	form := alice.Get(prefix)
	w.office.behave(aborts(true))
	for _, path := range []string{prefix, prefix + "/challenge", prefix + "/status", "/my"} {
		wantStatus(t, alice.Get(path), http.StatusServiceUnavailable)
	}
	wantStatus(t, alice.Submit(form, "/disable", map[string]string{"password": "alice-demo"}), http.StatusServiceUnavailable)
	w.office.requests()
	wantStatus(t, alice.Get("/healthz"), http.StatusOK)
	for _, hit := range w.office.requests() {
		if hit.User != "" || hit.Header.Get("Cookie") != "" {
			t.Errorf("an exempt path is served to %q with %q", hit.User, hit.Header.Get("Cookie"))
		}
	}
	if ready, report := w.Sidecars[0].Ready(); !ready { // it is the app's fault, and no other sidecar does better
		t.Errorf("/readyz says %s", report)
	}
	w.office.behave(nil)
	if got := alice.status(); got.State != "enabled" || !got.Verified {
		t.Errorf("afterwards alice is %+v", got)
	}
}

// With an app that is down, and tokens that need no app, the pages work: but for what
// asks the app for a password, and then two-factor stays on.
func TestPagesWhileTheAppIsDown(t *testing.T) {
	t.Parallel()
	w, i := startJWT(t, stack.Policy{})
	alice := i.holding("alice", i.token("alice", "s1", nil))
	w.office.behave(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
	alice.enrol()
	late := i.holding("alice", i.token("alice", "s2", nil))
	late.secret = alice.secret
	if got := late.meets(http.MethodGet, "/api/tasks"); got != challenged {
		t.Errorf("with a password alone: %v", got)
	}
	late.verify()
	if got := late.meets(http.MethodGet, "/api/tasks"); got != (standing{http.StatusBadGateway, "app_unavailable"}) {
		t.Errorf("verified, while the app is down: %v", got)
	}
	for range 7 { // more than wrong passwords are free
		got := late.Submit(late.Get(prefix), "/disable", map[string]string{"password": "alice-demo"})
		wantStatus(t, got, http.StatusServiceUnavailable)
		wantText(t, got, "error", "The app could not check your password right now. Two-factor remains enabled.")
	}
	w.office.behave(nil)
	late.wantPasses(true, "once the app is back")
	i.holding("alice", i.token("alice", "s3", nil)).wantPasses(false, "with a password alone")
}

// broken is where nothing can be written to.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// A log that cannot be written stops nobody and opens nothing.
func TestLogThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	s := w.another(func(o *server.Options) { o.Log = slog.New(slog.NewJSONHandler(broken{}, nil)) })
	alice.at(s).wantPasses(true, "with a log that is full")
	late := alice.again().at(s)
	late.wantPasses(false, "with a log that is full")
	late.verify()
	late.wantPasses(true, "verified, with a log that is full")
}
