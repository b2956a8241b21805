package browser_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/test/stack"
)

// TestWithoutJavaScript walks the whole guide with scripts switched off.
func TestWithoutJavaScript(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.person()
	alice.withoutScripts()
	alice.signsIn("alice")
	alice.follow("link", "My profile")
	alice.follow("link", "Set up two-factor")
	alice.inState("not-configured")

	// The set-up: nothing offers what only a script could do.
	ph := alice.mints(w.clock)
	if alice.offers("button", "Copy") {
		t.Error("a Copy button that cannot copy")
	}
	if got := scan(t, alice.picture(qrCode)).Query().Get("secret"); got != ph.secret {
		t.Error("the QR code and the text differ")
	}
	alice.write(codeField, ph.wrongCode())
	if status := alice.follow("button", confirm); status != http.StatusUnprocessableEntity {
		t.Errorf("a wrong code answered %d, want 422", status)
	}
	alice.reads("error", noMatch)
	codes := alice.confirms(ph)
	areRecoveryCodes(t, codes)
	alice.reads("notice", activeNotice)
	for _, name := range []string{"Copy all codes", "Print"} {
		if alice.offers("button", name) {
			t.Errorf("a %s button that does nothing", name)
		}
	}

	// The challenge, by code and by recovery code.
	alice.open("/my")
	alice.signsOut()
	alice.open("/my/documents?x=1")
	alice.givesPassword("alice")
	w.nextCode()
	alice.passes(ph.code(), "/my/documents?x=1")
	alice.signsOut()
	alice.signsIn("alice")
	alice.passesWithRecovery(codes[7], "/my")

	// Regenerating: there is no dialog, so the page itself says what it means.
	alice.open(stack.Prefix)
	alice.sees("7 of 8 recovery codes left", "Old codes will stop working immediately.")
	alice.follow("button", regenerate)
	fresh := alice.texts("recovery-code")
	areRecoveryCodes(t, fresh)
	if asked := alice.asked(); len(asked) > 0 {
		t.Errorf("a script asked %q", asked)
	}
	alice.open("/my")
	alice.signsOut()
	alice.signsIn("alice")
	alice.click("DisclosureTriangle", lostPhone)
	alice.write(recoveryField, codes[0])
	if status := alice.follow("button", useRecovery); status != http.StatusUnprocessableEntity {
		t.Errorf("an old recovery code answered %d, want 422", status)
	}
	alice.write(recoveryField, fresh[0])
	alice.follow("button", useRecovery)
	alice.isAt("/my")

	// Disabling, and signing in as somebody else.
	alice.signsOut()
	alice.signsIn("alice")
	alice.follow("button", someoneElse)
	alice.isAt("/login")
	alice.givesPassword("alice")
	w.nextCode()
	alice.passes(ph.code(), "/my")
	alice.open(stack.Prefix)
	alice.click("DisclosureTriangle", disable)
	alice.write(password, "alice-demo")
	alice.follow("button", disable)
	alice.inState("not-configured")

	// Being required to.
	w.requires(stack.Policy{Everyone: true})
	alice.open("/my/documents?x=1")
	alice.mustEnrol()
	alice.confirms(alice.mints(w.clock))
	alice.follow("link", "Continue")
	alice.isAt("/my/documents?x=1")
	if diff := cmp.Diff([]string(nil), alice.asked()); diff != "" {
		t.Errorf("dialogs without scripts (-want +got):\n%s", diff)
	}
}
