package browser_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/test/stack"
)

const (
	disclosedDanger = `details:has([name="password"])`
	regenerateAsks  = "confirm: Generate new recovery codes? Old codes will stop working immediately."
)

func TestRegenerateRecoveryCodes(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice, elsewhere := w.person(), w.person()
	alice.signsIn("alice")
	ph, old := alice.enrols(w.clock)
	w.nextCode()
	elsewhere.signsIn("alice")
	elsewhere.passes(ph.code(), "/my")
	alice.open(stack.Prefix)

	// Dismissed, it does nothing: the page stays the one it was.
	eval[bool](alice, `document.body.dataset.same = true`)
	alice.answering(false)
	alice.click("button", regenerate)
	if diff := cmp.Diff([]string{regenerateAsks}, alice.asked()); diff != "" {
		t.Errorf("the prompt (-want +got):\n%s", diff)
	}
	if !eval[bool](alice, `document.body.dataset.same === "true"`) || len(alice.texts("recovery-code")) > 0 {
		t.Fatal("a dismissed prompt went on all the same")
	}

	alice.answering(true)
	if status := alice.follow("button", regenerate); status != http.StatusOK {
		t.Fatalf("%s answered %d", regenerate, status)
	}
	if diff := cmp.Diff([]string{regenerateAsks}, alice.asked()); diff != "" {
		t.Errorf("the prompt (-want +got):\n%s", diff)
	}
	alice.inState("enabled")
	alice.find("heading", "Save these recovery codes — shown ONCE")
	fresh := alice.texts("recovery-code")
	areRecoveryCodes(t, fresh)
	alice.follow("link", "Done")
	alice.inState("enabled")

	// The other browser is asked again; an old code does not help there.
	elsewhere.follow("link", "Documents")
	elsewhere.challenged()
	elsewhere.click("DisclosureTriangle", lostPhone)
	elsewhere.write(recoveryField, old[0])
	if status := elsewhere.follow("button", useRecovery); status != http.StatusUnprocessableEntity {
		t.Fatalf("an old recovery code answered %d, want 422", status)
	}
	elsewhere.typesOn(recoveryField, fresh[0])
	elsewhere.follow("button", useRecovery)
	elsewhere.isAt("/my/documents")
}

func TestRegenerateWantsARecentCode(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.person()
	alice.signsIn("alice")
	ph, _ := alice.enrols(w.clock)
	alice.follow("link", "Done")
	w.later(20 * time.Minute)
	alice.answering(true)
	alice.follow("button", regenerate)
	alice.find("heading", "Confirm it's you")
	alice.write(codeField, ph.code())
	alice.follow("button", "Verify and continue")
	alice.isAt(stack.Prefix)
	alice.inState("enabled")
	alice.follow("button", regenerate)
	areRecoveryCodes(t, alice.texts("recovery-code"))
}

func TestDisable(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice, elsewhere := w.person(), w.person()
	alice.signsIn("alice")
	ph, _ := alice.enrols(w.clock)
	w.nextCode()
	elsewhere.signsIn("alice")
	elsewhere.challenged()

	alice.open(stack.Prefix)
	alice.click("DisclosureTriangle", disable)
	alice.coloured(disclosedDanger, "rose")
	alice.coloured(disclosedDanger+" button", "rose")
	alice.write(password, "not-the-password")
	if status := alice.follow("button", disable); status != http.StatusUnprocessableEntity {
		t.Errorf("a wrong password answered %d, want 422", status)
	}
	alice.inState("enabled")
	alice.reads("error", "Password did not match. Two-factor remains enabled.")

	// The section is still open, and typing goes on in its field.
	alice.typesOn(password, "alice-demo")
	if status := alice.follow("button", disable); status != http.StatusOK {
		t.Fatalf("the right password answered %d: %s", status, alice.text("error"))
	}
	alice.inState("not-configured")
	alice.reads("notice", "Two-factor authentication is now off.")
	alice.coloured(`[data-testid="notice"]`, "emerald")

	elsewhere.open("/my")
	elsewhere.isAt("/my")
	alice.open("/my")
	alice.signsOut()
	alice.signsIn("alice")
	alice.isAt("/my")

	// A new enrolment knows nothing of the old phone.
	again, _ := alice.enrols(w.clock)
	elsewhere.open("/my/documents")
	elsewhere.challenged()
	w.nextCode()
	elsewhere.write(codeField, ph.code())
	if status := elsewhere.follow("button", verify); status != http.StatusUnprocessableEntity {
		t.Errorf("the old phone's code answered %d, want 422", status)
	}
	elsewhere.passes(again.code(), "/my/documents")
}
