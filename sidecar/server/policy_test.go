package server_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/test/stack"
)

// generation is the policy that a sidecar obeys.
func generation(t testing.TB, s *stack.Sidecar) float64 {
	return s.Metric(t, "sallyport_policy_generation")
}

// awaitPolicy waits until every sidecar has taken what do changed.
func (w *world) awaitPolicy(do func()) {
	w.t.Helper()
	before := map[*stack.Sidecar]float64{}
	for _, s := range w.Sidecars {
		before[s] = generation(w.t, s)
	}
	do()
	w.Eventually("every sidecar has the new policy", func() bool {
		return !slices.ContainsFunc(w.Sidecars, func(s *stack.Sidecar) bool { return generation(w.t, s) <= before[s] })
	})
}

func TestLeversMoveOpenBrowsersOnEverySidecar(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Sidecars: 2})
	var people []*person
	for _, s := range w.Sidecars {
		for _, name := range []string{"alice", "adam"} {
			p := w.signedIn(name)
			p.Base = s.URL
			people = append(people, p)
		}
	}
	enrolled := w.enrolled("bob")
	for _, tc := range []struct {
		name   string
		policy stack.Policy
		blocks []string
	}{
		{"for admins", stack.Policy{Admins: true}, []string{"adam"}},
		{"for everyone", stack.Policy{Everyone: true}, []string{"adam", "alice"}},
		{"both", stack.Policy{Everyone: true, Admins: true}, []string{"adam", "alice"}},
		{"for admins again", stack.Policy{Admins: true}, []string{"adam"}},
		{"for nobody", stack.Policy{}, nil},
	} {
		w.awaitPolicy(func() { w.setPolicy(tc.policy) })
		for _, p := range people {
			p.wantPasses(!slices.Contains(tc.blocks, p.name), tc.name)
		}
		enrolled.wantPasses(true, "a verified sign-in, "+tc.name)
	}
}

func TestBrokenEditKeepsTheLastGoodPolicy(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: stack.Policy{Everyone: true}})
	s := w.Sidecars[0]
	p := w.signedIn("alice")
	p.wantPasses(false, "before")
	const ok = "sallyport_policy_last_reload_successful"
	if s.Metric(t, ok) != 1 {
		t.Error("a good policy does not count as one")
	}
	for _, tc := range []struct{ name, document, says string }{
		{"a field that does not exist", `{"apiVersion":"mfa.sallyport.dev/v1alpha1","kind":"MFAPolicy",` +
			`"metadata":{"name":"portal","namespace":"acme"},"spec":{"requireForEverybody":false}}`, "spec.requireForEverybody"},
		{"half a document", `{"apiVersion":`, ""},
		{"nothing", "", ""},
	} {
		refused := s.Metric(t, `sallyport_policy_reloads_total{result="refused"}`)
		w.WritePolicy([]byte(tc.document))
		w.Eventually(tc.name+" is refused", func() bool {
			return s.Metric(t, `sallyport_policy_reloads_total{result="refused"}`) > refused
		})
		p.wantPasses(false, tc.name)
		if s.Metric(t, ok) != 0 {
			t.Errorf("%s: the reload counts as successful", tc.name)
		}
		ready, report := s.Ready()
		if !ready || !strings.Contains(report, "the last edit was refused") || !strings.Contains(report, tc.says) {
			t.Errorf("%s: /readyz says %t, %s", tc.name, ready, report)
		}
		if log := s.Log.String(); !strings.Contains(log, "Could not take the changed policy") || !strings.Contains(log, tc.says) {
			t.Errorf("%s: the log does not say why", tc.name)
		}
	}

	w.awaitPolicy(func() { w.setPolicy(stack.Policy{}) })
	p.wantPasses(true, "once mended")
	if _, report := s.Ready(); s.Metric(t, ok) != 1 || strings.Contains(report, "refused") {
		t.Errorf("once mended, /readyz says %s", report)
	}
}

func TestPolicyRemovedAndRestored(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: stack.Policy{Everyone: true}})
	s := w.Sidecars[0]
	p := w.signedIn("alice")
	w.RemovePolicy()
	w.Eventually("the loss is noticed", func() bool { return s.Metric(t, "sallyport_policy_last_reload_successful") == 0 })
	p.wantPasses(false, "without a policy file")
	w.awaitPolicy(func() { w.setPolicy(stack.Policy{}) })
	p.wantPasses(true, "with another policy file")
}

// Another workspace is other people: nobody's enrolment counts there, and nothing
// is open before the store is known to be sound for it.
func TestWorkspaceChange(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: stack.Policy{Everyone: true}})
	alice := w.enrolled("alice")
	secret := alice.secret
	w.awaitPolicy(func() { w.setPolicy(stack.Policy{Everyone: true, Spec: map[string]any{"workspace": "other"}}) })
	w.Eventually("the store is known", func() bool { return alice.Get("/my").Status != http.StatusServiceUnavailable })
	alice.wantPasses(false, "in another workspace")
	if got := alice.status(); got.State != "not-configured" || got.Verified {
		t.Errorf("in another workspace: %+v", got)
	}
	alice.enrol()

	w.awaitPolicy(func() { w.setPolicy(stack.Policy{Everyone: true}) })
	alice.wantPasses(false, "back, with a verification of the other workspace")
	alice.secret = secret
	alice.verify()
	alice.wantPasses(true, "back, with the phone that was enrolled there")
}

func TestTwoFactorPathChange(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice").again()
	alice.wantPasses(false, "before")
	const moved = "/account/second-step"
	w.awaitPolicy(func() {
		w.setPolicy(stack.Policy{Spec: map[string]any{"app": map[string]any{"port": 8080, "twoFactorPath": moved}}})
	})
	challenge := alice.Get("/my")
	wantLocation(t, challenge, moved+"/challenge?return_to=%2Fmy")
	wantLocation(t, alice.Get(prefix), moved+"/challenge?return_to=%2Fmy%2Fprofile%2Ftwo-factor") // the app's path now
	wantLocation(t, alice.Submit(alice.Follow(challenge), "/challenge", map[string]string{"code": alice.code()}), "/my")
	alice.wantPasses(true, "verified at the new place")
	wantCard(t, alice.Get(moved), "enabled", "Enabled")
}

func TestExemptionsChange(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice").again()
	wantStatus(t, alice.Get("/public/a"), http.StatusOK)
	w.awaitPolicy(func() { w.setPolicy(stack.Policy{Spec: map[string]any{"exempt": []any{}}}) })
	wantStatus(t, alice.Get("/public/a"), http.StatusSeeOther)
}

// However often the policy changed, each Redis command is counted once.
func TestPolicyChangesDoNotDistortTheMetrics(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	s := w.Sidecars[0]
	p := w.signedIn("alice")
	const series = `sallyport_redis_command_seconds_count{command="evalsha"}`
	cost := func() float64 {
		before := s.Metric(t, series)
		p.wantPasses(true, "a user without two-factor")
		return s.Metric(t, series) - before
	}
	p.wantPasses(true, "a user without two-factor") // scripts are loaded by now
	once := cost()
	for _, everyone := range []bool{true, false, true, false} {
		w.awaitPolicy(func() { w.setPolicy(stack.Policy{Everyone: everyone}) })
	}
	if again := cost(); once == 0 || again != once {
		t.Errorf("a request counts as %v commands at first and %v after four changes of the policy", once, again)
	}
}
