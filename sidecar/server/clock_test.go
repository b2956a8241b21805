package server_test

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/server"
	"github.com/sallyport/sallyport/test/stack"
)

// A code counts from one step before its own to one step after, to the millisecond,
// and by no clock but the sidecar's.
func TestEdgesOfTheWindow(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	begin := w.clock.Now().Truncate(step)
	for _, into := range []time.Duration{0, step - time.Millisecond} {
		for offset := -2; offset <= 2; offset++ {
			begin = begin.Add(10 * step) // a step once accepted is in nobody's way
			w.clock.Stop(begin.Add(into))
			code := codeAt(t, alice.secret, begin.Add(time.Duration(offset)*step))
			p := alice.again()
			target, fields := p.Visit("/my").Form("/challenge")
			fields.Set("code", code)
			r := p.Request(http.MethodPost, target, strings.NewReader(fields.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			// What the client thinks of the time would make the refused ones right.
			for _, name := range []string{"Date", "X-Time", "X-Request-Start"} {
				r.Header.Set(name, begin.Add(time.Duration(offset)*step).UTC().Format(http.TimeFormat))
			}
			want := http.StatusSeeOther
			if offset < -1 || offset > 1 {
				want = http.StatusUnprocessableEntity
			}
			when := fmt.Sprintf("%s into a step, the code of the step %+d", into, offset)
			if got := p.Do(r); got.Status != want {
				t.Errorf("%s is answered %d, want %d", when, got.Status, want)
			}
			p.wantPasses(want == http.StatusSeeOther, when)
		}
	}
}

// With a clock that cannot be relied upon no code is judged, and none counts as
// wrong; all that needs no clock to the second goes on.
func TestClocksThatDiffer(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice, bob, carol := w.enrolled("alice"), w.signedIn("bob"), w.signedIn("carol")
	late := alice.again()
	w.clock.Stop(w.clock.Now())
	w.Redis.SetTime(w.clock.Now())
	s := w.another(func(o *server.Options) { o.MaxDrift = 0 })
	for _, p := range []*person{alice, bob, carol, late} {
		p.Base = s.URL
	}
	apart := func(by time.Duration) {
		t.Helper()
		w.Redis.SetTime(w.clock.Now().Add(by))
		w.Eventually("the sidecar has looked at the clocks", func() bool {
			return math.Abs(s.Metric(t, "sallyport_clock_drift_seconds")-by.Seconds()) < 0.01
		})
	}
	clock := func(ok bool, says string) {
		t.Helper()
		ready, report := s.Ready()
		if ready != ok || !strings.Contains(report, fmt.Sprintf(`"name":"clock","ok":%t%s`, ok, says)) {
			t.Errorf("/readyz says %t, %s", ready, report)
		}
		if response, body := ask(t, s, http.MethodGet, "/healthz"); response.StatusCode != http.StatusOK {
			t.Errorf("/healthz answers %d: %s", response.StatusCode, body)
		}
	}
	const differ, counted = `"msg":"The clocks differ"`, `sallyport_verifications_total{factor="totp",result="wrong"}`
	clock(true, "}")

	// Warned of, and no more.
	apart(-10 * time.Second)
	clock(true, `,"detail":"this machine's clock and Redis's differ by 10s; run NTP on both"`)
	if n := strings.Count(s.Log.String(), differ); n != 1 {
		t.Errorf("a difference is logged %d times", n)
	}
	code := late.code()
	apart(-10 * time.Second)
	wantLocation(t, late.try("code", code), "/")

	for _, by := range []time.Duration{16 * time.Second, -20 * time.Second} {
		late = alice.again()
		late.Base = s.URL
		pending := bob.Submit(bob.Visit(prefix), "/enable", nil)
		code, bob.secret = late.code(), pending.Secret()
		apart(by)
		clock(false, fmt.Sprintf(`,"detail":"this machine's clock and Redis's differ by %s`, by.Abs()))
		for range 7 { // more than are free
			got := late.try("code", code)
			wantStatus(t, got, http.StatusServiceUnavailable)
			wantText(t, got, "error", "Codes of your app cannot be checked right now: a clock here is wrong. "+
				"This counted as no attempt. A recovery code works.")
		}
		late.wantPasses(false, "with a code that was not judged")
		wantStatus(t, late.try("recovery_code", alice.codes[0]), http.StatusSeeOther)
		alice.codes = alice.codes[1:]
		late.wantPasses(true, "with a recovery code")
		alice.wantPasses(true, "who was verified before")
		carol.wantPasses(true, "who has no two-factor")
		unsaid := bob.Submit(pending, "/confirm", map[string]string{"code": codeAt(t, bob.secret, w.clock.Now())})
		wantStatus(t, unsaid, http.StatusServiceUnavailable)
		if unsaid.Secret() != bob.secret {
			t.Errorf("the secret that could not be confirmed is %q, was %q", unsaid.Secret(), bob.secret)
		}

		apart(0)
		clock(true, "}")
		wantLocation(t, alice.again().at(s).try("code", code), "/") // nothing was accepted
		wantStatus(t, bob.Submit(unsaid, "/confirm", map[string]string{"code": codeAt(t, bob.secret, w.clock.Now())}), http.StatusOK)
		wantStatus(t, bob.Submit(bob.Visit(prefix), "/disable", map[string]string{"password": "bob-demo"}), http.StatusOK)
	}
	if n := s.Metric(t, counted); n != 0 {
		t.Errorf("%v codes count as wrong", n)
	}
	if n := strings.Count(s.Log.String(), differ); n != 3 {
		t.Errorf("three differences are logged %d times:\n%s", n, s.Log)
	}
}
