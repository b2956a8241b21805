package server_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/sallyport/sallyport/test/stack"
)

// recalling is the policy of an office whose answers are remembered as by default.
func recalling() stack.Policy {
	return stack.Policy{Spec: map[string]any{
		"identity": map[string]any{"type": "Endpoint", "endpoint": map[string]any{
			"path": whoami, "cookies": []string{"session"}, "account": "/name",
		}},
	}}
}

// A verified user who goes on asking costs neither Redis nor the app a question per
// request: a few for each second, however many requests there are.
func TestVerifiedRequestsAskNobody(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: recalling()})
	alice := w.enrolled("alice")
	alice.wantPasses(true, "at first")
	asked := func() (redis, app float64) {
		for _, command := range []string{"evalsha", "evalsha_ro", "get", "hgetall"} {
			redis += w.Sidecars[0].Metric(t, `sallyport_redis_command_seconds_count{command="`+command+`"}`)
		}
		return redis, w.Sidecars[0].Metric(t, "sallyport_identity_seconds_count")
	}
	redisBefore, appBefore := asked()
	if redisBefore == 0 || appBefore == 0 {
		t.Fatalf("%.0f questions to Redis and %.0f to the app at first: they are not counted", redisBefore, appBefore)
	}
	began := time.Now()
	const requests = 500
	for range requests {
		if answer := alice.Get("/my"); answer.Status != http.StatusOK {
			t.Fatalf("status %d", answer.Status)
		}
	}
	seconds := time.Since(began).Seconds()
	redis, app := asked()
	redis, app = redis-redisBefore, app-appBefore
	t.Logf("%d requests in %.1f s: %.0f questions to Redis, %.0f to the app", requests, seconds, redis, app)
	// The watch of the store asks too, every two seconds.
	if redis > 4+4*seconds {
		t.Errorf("%.0f questions to Redis in %.1f s", redis, seconds)
	}
	if app > 2+seconds {
		t.Errorf("%.0f questions to the app in %.1f s", app, seconds)
	}
}

// What another sidecar ended is over here within a second, although this one has just
// let the same sign-in pass. What this one ended is over at once.
func TestARevocationBitesEverywhereWithinASecond(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		// end ends a verification of the person, from a browser of theirs.
		end func(p *person)
	}{
		{"the sign-in is over", func(p *person) { p.SignOut() }},
		{"new recovery codes", func(p *person) {
			wantStatus(p.w.t, p.Submit(p.Get(prefix), "/recovery-codes", nil), http.StatusOK)
		}},
		{"disabled and enabled again", func(p *person) {
			p.Submit(p.Get(prefix), "/disable", map[string]string{"password": p.name + "-demo"})
			p.enrol()
		}},
	} {
		for at, ending := range []string{"here", "elsewhere"} {
			t.Run(tc.name+" "+ending, func(t *testing.T) {
				t.Parallel()
				w := startOffice(t, stack.Options{Sidecars: 2, Policy: recalling()})
				alice := w.enrolled("alice")
				cookies := "session=" + alice.Cookie("session") + "; sallyport=" + alice.Cookie("sallyport")
				browser := alice // of the same sign-in, for a sign-out ends no other
				if tc.name != "the sign-in is over" {
					browser = alice.again()
					browser.verify()
				}
				if !passes(w, cookies) {
					t.Fatal("alice is not verified to begin with")
				}
				tc.end(browser.at(w.Sidecars[at]))
				if ending == "elsewhere" {
					w.clock.Advance(time.Second)
				}
				if passes(w, cookies) {
					t.Error("an ended verification still counts")
				}
			})
		}
	}
}

// passes reports whether requests with these cookies reach the app as verified ones
// through the first sidecar, twice in a row.
func passes(w *world, cookies string) bool {
	w.t.Helper()
	b := w.NewBrowser()
	w.office.requests()
	for range 2 {
		r := b.Request(http.MethodGet, "/canary", nil)
		r.Header.Set("Cookie", cookies)
		b.Do(r)
	}
	verified := 0
	for _, request := range w.office.requests() {
		if request.Header.Get("X-Sallyport-Verified") == "true" {
			verified++
		}
	}
	return verified == 2
}
