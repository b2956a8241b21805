package browser_test

import (
	"net/http"
	"testing"

	"github.com/sallyport/sallyport/test/stack"
)

// TestTwoSidecarsOnOneStore has two browsers come through two sidecars.
func TestTwoSidecarsOnOneStore(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{Sidecars: 2})
	first, second := newPerson(t, w.Sidecars[0].URL), newPerson(t, w.Sidecars[1].URL)
	first.signsIn("alice")
	ph, codes := first.enrols(w.clock)

	second.signsIn("alice")
	second.challenged()
	second.write(codeField, ph.code())
	if status := second.follow("button", verify); status != http.StatusUnprocessableEntity {
		t.Errorf("a code that the other sidecar accepted answered %d, want 422", status)
	}
	w.nextCode()
	second.passes(ph.code(), "/my")

	// Verified on one is verified on both. Cookies do not tell ports apart.
	second.open(w.Sidecars[0].URL + "/my/documents")
	second.isAt("/my/documents")
	second.open(w.Sidecars[1].URL + "/my")
	second.signsOut()
	second.open(w.Sidecars[0].URL + "/my")
	second.isAt("/login?next=%2Fmy")

	// So are recovery codes, and disabling.
	second.open(w.Sidecars[1].URL + "/login")
	second.givesPassword("alice")
	second.passesWithRecovery(codes[0], "/my")
	first.open(stack.Prefix)
	first.sees("7 of 8 recovery codes left")
	first.click("DisclosureTriangle", disable)
	first.write(password, "alice-demo")
	first.follow("button", disable)
	second.open(stack.Prefix)
	second.inState("not-configured")
}
