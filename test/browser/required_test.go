package browser_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/sallyport/sallyport/test/stack"
)

// mustEnrol fails unless this is the set-up page that a policy insists on.
func (p *person) mustEnrol() {
	p.t.Helper()
	if got := eval[string](p, `location.pathname`); got != stack.Prefix {
		p.t.Fatalf("not sent to the set-up page but to %s", p.at())
	}
	p.inState("not-configured")
	p.reads("notice", requiredNotice)
}

func TestRequiredForEveryone(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice, adam := w.person(), w.person()
	adam.signsIn("adam")
	alice.signsIn("alice")
	live := alice.tab()
	live.open("/my/live")
	live.wait(`document.querySelector('[data-testid="chat-state"]').textContent === "Connected"`)

	// The lever is flipped while people work. Their next click feels it, and so
	// does what was open.
	w.requires(stack.Policy{Everyone: true})
	live.wait(`document.querySelector('[data-testid="chat-state"]').textContent === "Disconnected"`)
	if status := alice.follow("link", "Documents"); status != http.StatusOK {
		t.Errorf("the set-up page answered %d", status)
	}
	alice.mustEnrol()
	for _, path := range []string{"/my", "/my/profile", "/my/live", "/", "/about", "/no/such/page"} {
		alice.open(path)
		alice.mustEnrol()
		alice.isAt(stack.Prefix + "?return_to=" + url.QueryEscape(path))
	}
	if alice.offers("link", "Back to the app") {
		t.Error("the page offers a way to the app that is closed")
	}

	// Whoever will not set it up can still sign out: in a page that was open, and
	// on the set-up page itself.
	adam.signsOut()
	adam.signsIn("adam")
	adam.mustEnrol()
	adam.follow("button", someoneElse)
	adam.isAt("/login")
	adam.open("/my")
	adam.isAt("/login?next=%2Fmy")

	// Enrolling opens everything, beginning with the page that was asked for.
	alice.open("/my/documents?x=1")
	alice.mustEnrol()
	ph := alice.mints(w.clock)
	alice.reads("notice", requiredNotice)
	alice.write(codeField, ph.wrongCode())
	alice.follow("button", confirm)
	alice.inState("pending")
	alice.confirms(ph)
	alice.reads("notice", activeNotice)
	alice.follow("link", "Continue")
	alice.isAt("/my/documents?x=1")
	alice.follow("link", "My profile")
	alice.isAt("/my/profile")

	// Nobody can sign out of the requirement, or disable it away.
	alice.open(stack.Prefix)
	alice.click("DisclosureTriangle", disable)
	alice.write(password, "alice-demo")
	alice.follow("button", disable)
	alice.inState("not-configured")
	alice.reads("notice", requiredNotice)
	alice.open("/my")
	alice.mustEnrol()

	// A policy that loosens does so at once, too.
	w.requires(stack.Policy{})
	alice.open("/my")
	alice.isAt("/my")
}

func TestRequiredForAdministrators(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	people := map[string]*person{}
	for _, user := range []string{"alice", "adam", "ines", "root"} {
		people[user] = w.person()
		people[user].signsIn(user)
		people[user].isAt("/my")
	}
	w.requires(stack.Policy{Admins: true})
	for _, tt := range []struct{ user, role string }{
		{"adam", "Administrator"}, {"ines", "IT administrator"}, {"root", "Super-administrator"},
	} {
		admin := people[tt.user]
		admin.reads("user-role", tt.role)
		admin.follow("link", "Admin")
		admin.mustEnrol()
		admin.isAt(stack.Prefix + "?return_to=%2Fadmin")
		admin.confirms(admin.mints(w.clock))
		admin.follow("link", "Continue")
		admin.isAt("/admin")
	}
	alice := people["alice"]
	alice.reads("user-role", "Employee")
	alice.follow("link", "Documents")
	alice.isAt("/my/documents")
	alice.open(stack.Prefix)
	alice.inState("not-configured")
	alice.reads("notice", "")
}
