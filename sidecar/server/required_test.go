package server_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/sallyport/sallyport/test/stack"
)

func TestRequirement(t *testing.T) {
	t.Parallel()
	for _, lever := range []struct {
		name   string
		policy stack.Policy
		who    map[string]bool
	}{
		{"for everyone", stack.Policy{Everyone: true}, map[string]bool{"alice": true, "adam": true, "ines": true, "root": true}},
		{"for admins", stack.Policy{Admins: true}, map[string]bool{"alice": false, "adam": true, "ines": true, "root": true}},
		{"for nobody", stack.Policy{}, map[string]bool{"alice": false, "adam": false, "ines": false, "root": false}},
	} {
		t.Run(lever.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, stack.Options{Policy: lever.policy})
			for name, required := range lever.who {
				p := w.signedIn(name)
				p.wantPasses(!required, lever.name)
				if got := p.status(); got != (status{State: "not-configured", Required: required}) {
					t.Errorf("%s: %+v", name, got)
				}
			}
		})
	}
}

func TestRequiredUserReachesEnrolmentAndSignOutOnly(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: stack.Policy{Everyone: true}})
	p := w.signedIn("alice")
	w.office.requests()
	for _, path := range []string{"/", "/my", "/admin", "/login", "/whoami", "/logout", prefix + "x", "/my/profile"} {
		wantLocation(t, p.Get(path), prefix+"?"+url.Values{"return_to": {path}}.Encode())
	}
	wantStatus(t, p.Get("/healthz"), http.StatusOK)
	if seen := w.office.requests(); len(seen) != 1 || seen[0].Target != "/healthz" || seen[0].User != "" {
		t.Errorf("these reached the app: %+v", seen)
	}

	card := p.Follow(p.Get("/my/reports?x=1"))
	wantCard(t, card, "not-configured", "Not configured")
	wantText(t, card, "notice", required)
	wantButtons(t, card, "Enable two-factor", "Sign in as a different user")
	pending := p.Submit(card, "/enable", nil)
	wantCard(t, pending, "pending", "Pending confirmation")
	wantText(t, pending, "notice", required)
	p.secret = pending.Secret()

	// A pending enrolment is no enrolment. (The script does not discard it.)
	wantProblemCode(t, p.Fetch(http.MethodGet, "/my", nil), "mfa_enrolment_required")

	done := p.Submit(pending, "/confirm", map[string]string{"code": p.code()})
	wantStatus(t, done, http.StatusOK)
	wantText(t, done, "notice", confirmed)
	if onward := done.Doc.Find("a.onward").AttrOr("href", ""); onward != "/my/reports?x=1" {
		t.Errorf("after enrolling, the way on leads to %q", onward)
	}
	p.wantPasses(true, "once enrolled")
}

func TestRequiredUserSignsOut(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: stack.Policy{Everyone: true}})
	alice := w.enrolled("alice")
	for _, p := range []*person{w.signedIn("bob"), alice.again()} {
		p.wantPasses(false, "before")
		session := p.Cookie("session")
		wantLocation(t, p.SignOut(), "/login")
		if w.office.knows(session) {
			t.Errorf("%s cannot sign out before the second factor", p.name)
		}
	}
	bob := w.signedIn("bob")
	session := bob.Cookie("session")
	wantLocation(t, bob.Submit(bob.Visit("/my"), "/cancel", nil), "/login")
	if w.office.knows(session) {
		t.Error("signing in as a different user left the session open")
	}
}

func TestDisablingWhileRequiredLeadsBackToSetUp(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: stack.Policy{Everyone: true}})
	alice := w.enrolled("alice")
	off := alice.Submit(alice.Get(prefix), "/disable", map[string]string{"password": "alice-demo"})
	wantStatus(t, off, http.StatusOK)
	wantCard(t, off, "not-configured", "Not configured")
	wantText(t, off, "notice", required)
	next := alice.Get("/my")
	wantLocation(t, next, prefix+"?return_to=%2Fmy")
	wantText(t, alice.Follow(next), "notice", required)
	alice.enrol()
	alice.wantPasses(true, "once enrolled again")
}

// A role that cannot be read counts as every role.
func TestRequirementForAdminsWhereRolesCannotBeRead(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: stack.Policy{Admins: true}})
	unknown := func() float64 { return w.Sidecars[0].Metric(t, "sallyport_roles_unknown_total") }
	p := w.signedIn("alice")
	p.wantPasses(true, "an employee")
	if n := unknown(); n != 0 {
		t.Errorf("%v answers without roles are counted, and there was none", n)
	}
	for name, answer := range map[string]string{
		"no roles":         `{"id":"id-alice","name":"alice"}`,
		"null":             `{"id":"id-alice","roles":null}`,
		"a number":         `{"id":"id-alice","roles":7}`,
		"a list of others": `{"id":"id-alice","roles":["employee",{"name":"x"}]}`,
	} {
		before := unknown()
		w.office.behave(json200(answer))
		p.wantPasses(false, name)
		if unknown() == before {
			t.Errorf("%s: not counted", name)
		}
	}
	before := unknown()
	w.office.behave(json200(`{"id":"id-alice","roles":[]}`))
	p.wantPasses(true, "an empty list says that there are none")
	w.office.behave(json200(`{"id":"id-alice"}`))
	for _, indifferent := range []stack.Policy{{}, {Everyone: true}, {Everyone: true, Admins: true}} {
		w.awaitPolicy(func() { w.setPolicy(indifferent) })
		p.Get("/my")
	}
	if n := unknown() - before; n != 0 {
		t.Errorf("%v answers are counted of which nobody asks the roles", n)
	}
}

// json200 answers the question who is signed in.
func json200(document string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != whoami {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(document))
		return true
	}
}
