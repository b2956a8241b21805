package server_test

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/server"
	"github.com/sallyport/sallyport/test/stack"
)

// wantRefused proves that the person is told to try again, in both forms, and
// that nothing of theirs reached the app.
func wantRefused(t *testing.T, p *person, code string, retry bool) {
	t.Helper()
	// What is known of a user may stand in for Redis, for a moment.
	for deadline := time.Now().Add(refusalIn); p.meets(http.MethodGet, "/api/tasks").status == http.StatusOK && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	p.w.office.requests()
	page := p.Get("/my")
	wantStatus(t, page, http.StatusServiceUnavailable)
	wantUncached(t, page)
	if page.Text("message") == "" || page.State() != "" {
		t.Errorf("the page says %q", page.Text("message"))
	}
	script := p.Fetch(http.MethodGet, "/api/tasks", nil)
	wantProblemCode(t, script, code)
	wantStatus(t, script, http.StatusServiceUnavailable)
	for _, answer := range []*stack.Page{page, script} {
		if got := answer.Header.Get("Retry-After"); (got != "") != retry {
			t.Errorf("%s: Retry-After %q", answer.URL, got)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodDelete} {
		wantStatus(t, p.Fetch(method, "/api/tasks", nil), http.StatusServiceUnavailable)
	}
	if seen := p.w.office.requests(); len(seen) > 0 {
		t.Errorf("these reached the app: %+v", seen)
	}
}

// wantPublicOpen proves that who is nobody is served all the same.
func wantPublicOpen(t *testing.T, p *person) {
	t.Helper()
	wantStatus(t, p.w.visitor("nobody").Get("/news"), http.StatusOK)
	wantStatus(t, p.Get("/healthz"), http.StatusOK)
}

func TestRedisAwayAtTheStart(t *testing.T) {
	t.Parallel()
	w := prepareOffice(t, stack.Options{})
	w.Redis.Close()
	s := w.AddSidecar()
	alice := w.signedIn("alice")
	wantRefused(t, alice, "mfa_unavailable", true)
	wantPublicOpen(t, alice)
	if ready, report := s.Ready(); ready || !strings.Contains(report, `"name":"store","ok":false`) {
		t.Errorf("/readyz says %t, %s", ready, report)
	}
	if err := w.Redis.Restart(); err != nil {
		t.Fatal(err)
	}
	w.WaitReady(s)
	alice.wantPasses(true, "once Redis has come")
	alice.enrol()
	alice.wantPasses(true, "once enrolled")
}

func TestRedisAwayWhileRunning(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	late := alice.again()
	challenge := late.Visit("/my")
	bob := w.signedIn("bob")
	form := bob.Get(prefix)

	w.Redis.Close()
	for _, p := range []*person{alice, late, bob} {
		wantRefused(t, p, "mfa_unavailable", true)
		wantStatus(t, p.Get(prefix), http.StatusServiceUnavailable)
		wantPublicOpen(t, p)
	}
	code := alice.code()
	wantStatus(t, late.Submit(challenge, "/challenge", map[string]string{"code": code}), http.StatusServiceUnavailable)
	wantStatus(t, bob.Submit(form, "/enable", nil), http.StatusServiceUnavailable)
	w.Eventually("the sidecar is not ready", func() bool { ready, _ := w.Sidecars[0].Ready(); return !ready })
	if w.Sidecars[0].Metric(t, `sallyport_redis_errors_total{command="evalsha"}`) == 0 {
		t.Error("the errors are not counted")
	}

	if err := w.Redis.Restart(); err != nil {
		t.Fatal(err)
	}
	w.Eventually("requests pass again", func() bool { return alice.Get("/my").Status == http.StatusOK })
	late.wantPasses(false, "who was not verified before")
	bob.wantPasses(true, "who has no two-factor")
	if left := alice.status().RecoveryCodesRemaining; left != 8 {
		t.Errorf("%d recovery codes are left", left)
	}
	wantLocation(t, late.Submit(challenge, "/challenge", map[string]string{"code": code}), "/my")
}

func TestStoreLost(t *testing.T) {
	t.Parallel()
	epochs := t.TempDir() + "/epochs.json"
	w := startOffice(t, stack.Options{EpochFile: epochs, Policy: stack.Policy{Admins: true}})
	alice, bob, adam := w.enrolled("alice"), w.signedIn("bob"), w.signedIn("adam")
	form := bob.Get(prefix)
	const key = "sallyport:{acme/portal}:epoch"
	epoch, err := w.Redis.Get(key)
	if err != nil {
		t.Fatal(err)
	}

	w.Redis.FlushAll()
	lost := func(when string) {
		t.Helper()
		for _, p := range []*person{alice, bob, adam, w.signedIn("carol")} {
			wantRefused(t, p, "mfa_store_lost", false)
			if page := p.Get("/my"); !strings.Contains(page.Text("message"), "Two-factor is out of order") {
				t.Errorf("%s, %s reads %q", when, p.name, page.Text("message"))
			}
			wantStatus(t, p.Get(prefix), http.StatusServiceUnavailable)
		}
		wantPublicOpen(t, alice)
		if answer := bob.Submit(form, "/enable", nil); answer.Status != http.StatusServiceUnavailable || answer.Secret() != "" {
			t.Errorf("%s, a secret can be minted: %d", when, answer.Status)
		}
		if w.Redis.Exists(key) {
			t.Errorf("%s, the epoch was made anew", when)
		}
	}
	lost("right after")
	w.Eventually("readiness tells", func() bool {
		ready, report := w.Sidecars[0].Ready()
		return !ready && strings.Contains(report, "not the one that held the enrolments")
	})
	lost("later")

	w.Sidecars[0].Stop(t)
	s := w.AddSidecar()
	for _, p := range []*person{alice, bob, adam} {
		p.Base = s.URL
	}
	w.Sidecars = w.Sidecars[1:]
	w.Eventually("the restarted sidecar tells", func() bool {
		_, report := s.Ready()
		return strings.Contains(report, "not the one that held the enrolments")
	})
	lost("after a restart")

	if err := w.Redis.Set(key, epoch); err != nil {
		t.Fatal(err)
	}
	w.WaitReady(s)
	bob.wantPasses(true, "once the data is back")
	adam.wantPasses(false, "once the data is back")
}

// An enrolment that is there counts even where the epoch is not: nobody passes.
func TestEpochLostAlone(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	w.Redis.Del("sallyport:{acme/portal}:epoch")
	wantRefused(t, alice, "mfa_store_lost", false)
	if err := w.Redis.Set("sallyport:{acme/portal}:epoch", "of-another-store"); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, alice, "mfa_store_lost", false)
}

func TestIdentitySourceFails(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice, bob := w.enrolled("alice"), w.signedIn("bob")
	alice.wantPasses(true, "before")
	reply := func(status int, kind, body string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", kind)
			rw.Header().Set("Location", "/login")
			rw.WriteHeader(status)
			_, _ = io.WriteString(rw, body)
		}
	}
	const document = `{"id":"id-bob","name":"bob","roles":[]}`
	for name, answer := range map[string]http.HandlerFunc{
		"500":                     reply(500, "application/json", document),
		"404":                     reply(404, "application/json", document),
		"201":                     reply(201, "application/json", document),
		"204":                     reply(204, "application/json", ""),
		"a redirect":              reply(302, "text/html", ""),
		"407":                     reply(407, "text/html", ""),
		"HTML":                    reply(200, "text/html", "<h1>Sign in</h1>"),
		"JSON by another name":    reply(200, "text/plain", document),
		"an empty body":           reply(200, "application/json", ""),
		"half a document":         reply(200, "application/json", document[:12]),
		"two documents":           reply(200, "application/json", document+document),
		"a list":                  reply(200, "application/json", "["+document+"]"),
		"no subject":              reply(200, "application/json", `{"name":"bob"}`),
		"a null subject":          reply(200, "application/json", `{"id":null}`),
		"an empty subject":        reply(200, "application/json", `{"id":""}`),
		"a subject that is true":  reply(200, "application/json", `{"id":true}`),
		"a subject that is 1.5":   reply(200, "application/json", `{"id":1.5}`),
		"an object for a subject": reply(200, "application/json", `{"id":{"x":1}}`),
		"too long a document":     reply(200, "application/json", `{"id":"id-bob","x":"`+strings.Repeat("x", 70<<10)+`"}`),
		"a compressed document": func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Encoding", "gzip")
			reply(200, "application/json", document)(rw, r)
		},
		"an endless document": func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			for r.Context().Err() == nil {
				_, _ = io.WriteString(rw, strings.Repeat(" ", 4<<10))
			}
		},
		"silence": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"a document that never ends": func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(rw, `{"id":"id-bob"`)
			_ = http.NewResponseController(rw).Flush()
			<-r.Context().Done()
		},
		"a connection that breaks": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		w.office.behave(func(rw http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != whoami {
				return false
			}
			answer(rw, r)
			return true
		})
		for _, p := range []*person{alice, bob} {
			w.office.requests()
			begin := time.Now()
			got := p.Fetch(http.MethodGet, "/my", nil)
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("%s: an answer took %s", name, took)
			}
			if got.Status != http.StatusServiceUnavailable || readProblem(t, got).Code != "identity_unavailable" {
				t.Errorf("%s: %s is answered %d: %s", name, p.name, got.Status, got.Body)
			}
			if seen := w.office.requests(); len(seen) > 0 {
				t.Errorf("%s: these reached the app: %+v", name, seen)
			}
		}
	}
	wantRefused(t, bob, "identity_unavailable", true)
	wantPublicOpen(t, bob)
	w.office.behave(nil)
	alice.wantPasses(true, "once it answers again")
	if w.Sidecars[0].Metric(t, `sallyport_identity_errors_total{reason="timeout"}`) == 0 {
		t.Error("the errors are not counted")
	}
}

func TestAppDown(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := &url.URL{Scheme: "http", Host: listener.Addr().String()}
	_ = listener.Close()
	w := prepareOffice(t, stack.Options{})
	w.WaitReady(w.AddSidecar(func(o *server.Options) { o.App = gone }))
	nobody := w.visitor("nobody")
	page := nobody.Get("/news")
	wantStatus(t, page, http.StatusBadGateway)
	wantUncached(t, page)
	wantProblemCode(t, nobody.Fetch(http.MethodGet, "/news", nil), "app_unavailable")
	r := nobody.Request(http.MethodGet, "/my", nil)
	r.Header.Set("Cookie", "session=x")
	wantStatus(t, nobody.Do(r), http.StatusServiceUnavailable) // who this is, is not known
}
