package browser_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/test/stack"
)

func TestSignInWithACode(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.person()
	alice.signsIn("alice")
	ph, _ := alice.enrols(w.clock)
	alice.open("/my")
	alice.signsOut()

	// A deep link leads by way of the password and the code to its page.
	alice.open("/my/documents?x=1")
	alice.givesPassword("alice")
	alice.challenged()
	if title := eval[string](alice, `document.title`); title != "Two-factor verification" {
		t.Errorf("the page's title is %q", title)
	}
	alice.find("heading", "Two-factor verification")
	alice.sees("Signing in as alice")
	for _, control := range [][2]string{
		{"textbox", codeField}, {"button", verify}, {"DisclosureTriangle", lostPhone}, {"button", someoneElse},
	} {
		alice.find(control[0], control[1])
	}
	if alice.offers("textbox", recoveryField) {
		t.Error("the recovery section is not collapsed")
	}

	for _, refused := range []struct{ why, code string }{
		{"a wrong code", ph.wrongCode()},
		{"the code that confirmed the enrolment, a second time", ph.code()},
	} {
		alice.write(codeField, refused.code)
		if status := alice.follow("button", verify); status != http.StatusUnprocessableEntity {
			t.Fatalf("%s answered %d, want 422", refused.why, status)
		}
		alice.challenged()
		alice.reads("error", noMatch)
	}
	w.nextCode()
	alice.passes(ph.code(), "/my/documents?x=1")
	alice.find("heading", "Documents")

	// Verified is this sign-in, not this browser.
	alice.signsOut()
	alice.signsIn("alice")
	alice.challenged()
	alice.write(codeField, ph.code())
	if status := alice.follow("button", verify); status != http.StatusUnprocessableEntity {
		t.Errorf("a code that verified already answered %d, want 422", status)
	}
}

func TestEveryPageAsksForTheCode(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice, elsewhere := w.person(), w.person()
	elsewhere.signsIn("alice")
	alice.signsIn("alice")
	ph, _ := alice.enrols(w.clock)

	// The other browser signed in before two-factor was enabled.
	for _, path := range []string{"/my", "/my/profile", "/my/documents", "/my/live", "/", "/about", stack.Prefix} {
		elsewhere.open(path)
		elsewhere.challenged()
	}
	elsewhere.open("/my/documents?x=1&y=%2Fz")
	w.nextCode()
	elsewhere.passes(ph.code(), "/my/documents?x=1&y=%2Fz")
	elsewhere.follow("link", "My profile")
	elsewhere.isAt("/my/profile")
	// A verified visitor has nothing to do at the challenge.
	elsewhere.open(stack.Prefix + "/challenge?return_to=%2Fmy%2Flive")
	elsewhere.isAt("/my/live")
}

func TestForeignReturnToIsIgnored(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.person()
	alice.signsIn("alice")
	ph, _ := alice.enrols(w.clock)
	alice.open("/my")
	for _, odd := range []string{"https%3A%2F%2Fexample.org%2F", "%2F%5Cexample.org"} {
		alice.open("/my")
		alice.signsOut()
		alice.signsIn("alice")
		alice.open(stack.Prefix + "/challenge?return_to=" + odd)
		w.nextCode()
		alice.passes(ph.code(), "/")
	}
}

func TestRecoveryCode(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.person()
	alice.signsIn("alice")
	ph, codes := alice.enrols(w.clock)
	alice.open("/my")
	alice.signsOut()
	alice.open("/my/documents?x=1")
	alice.givesPassword("alice")
	alice.passesWithRecovery(codes[0], "/my/documents?x=1")

	alice.signsOut()
	alice.signsIn("alice")
	alice.challenged()
	alice.click("DisclosureTriangle", lostPhone)
	alice.write(recoveryField, codes[0])
	if status := alice.follow("button", useRecovery); status != http.StatusUnprocessableEntity {
		t.Fatalf("a used code answered %d, want 422", status)
	}
	alice.challenged()
	if got := alice.text("error"); !strings.HasPrefix(got, "That code did not match") {
		t.Errorf("the error reads %q", got)
	}
	// The section stays open and typing goes on in its field: without a dash, in any case.
	alice.typesOn(recoveryField, strings.ToLower(strings.ReplaceAll(codes[1], "-", "")))
	if status := alice.follow("button", useRecovery); status != http.StatusOK {
		t.Fatalf("a code without dash and in lower case answered %d: %s", status, alice.text("error"))
	}
	alice.isAt("/my")
	alice.open(stack.Prefix)
	alice.sees("6 of 8 recovery codes left")

	// The authenticator app is as good as ever.
	alice.open("/my")
	alice.signsOut()
	alice.signsIn("alice")
	w.nextCode()
	alice.passes(ph.code(), "/my")
}

func TestSignInAsADifferentUser(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.person()
	alice.signsIn("alice")
	ph, _ := alice.enrols(w.clock)
	alice.open("/my")
	alice.signsOut()
	alice.signsIn("alice")
	alice.challenged()
	alice.follow("button", someoneElse)
	alice.isAt("/login")
	alice.find("heading", "Sign in")
	alice.open("/my")
	alice.isAt("/login?next=%2Fmy")

	// Somebody else in the same browser is not asked for alice's code.
	alice.givesPassword("adam")
	alice.isAt("/my")
	alice.reads("user-name", "Adam Novak")
	alice.signsOut()
	alice.signsIn("alice")
	w.nextCode()
	alice.passes(ph.code(), "/my")
}

func TestTooManyWrongCodes(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	w.later(0) // from here on the store's clock stands still too
	alice := w.person()
	alice.signsIn("alice")
	ph, codes := alice.enrols(w.clock)
	alice.open("/my")
	alice.signsOut()
	alice.signsIn("alice")
	w.nextCode()
	wrong := ph.wrongCode()
	for n := range 6 {
		want, says := int64(http.StatusUnprocessableEntity), noMatch
		if n == 5 {
			want, says = http.StatusTooManyRequests, "Too many attempts. Wait 30 seconds, then try again."
		}
		alice.write(codeField, wrong)
		if status := alice.follow("button", verify); status != want {
			t.Fatalf("wrong code %d answered %d, want %d", n+1, status, want)
		}
		alice.reads("error", says)
	}
	countdown := `document.querySelector("[data-retry-after]").textContent`
	alice.wait(countdown + fmt.Sprintf(" !== %q", "You can try again in 30 seconds."))

	// Not even the right code counts now, in no browser. A recovery code does.
	alice.write(codeField, ph.code())
	if status := alice.follow("button", verify); status != http.StatusTooManyRequests {
		t.Errorf("the right code answered %d while locked, want 429", status)
	}
	alice.click("DisclosureTriangle", lostPhone)
	alice.write(recoveryField, codes[0])
	if status := alice.follow("button", useRecovery); status != http.StatusOK {
		t.Errorf("a recovery code answered %d while codes are locked: %s", status, alice.text("error"))
	}
	alice.open("/my")
	alice.signsOut()
	alice.signsIn("alice")
	w.nextCode()
	alice.passes(ph.code(), "/my")
}
