package browser_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/sallyport/sallyport/test/stack"
)

// stop is where the focus rests, and how that is shown.
type stop struct {
	Name    string
	Outline string
	Width   float64
	Seen    bool
}

const focused = `(() => {
	const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
	return {
		Name: ((e.labels && e.labels.length > 0 ? e.labels[0] : e).innerText ?? "").trim(),
		Outline: style.outlineStyle + " " + style.outlineColor, Width: parseFloat(style.outlineWidth),
		Seen: box.width > 0 && box.top > -1 && box.left > -1 && box.bottom < innerHeight + 1 && box.right < innerWidth + 1,
	};
})()`

// visible reports whether somebody can see where the focus is.
func (s stop) visible() bool {
	transparent := strings.Contains(s.Outline, "rgba(") && strings.HasSuffix(s.Outline, ", 0)")
	return s.Width >= 2 && !strings.HasPrefix(s.Outline, "none ") && !transparent
}

// focus returns where the focus is and fails where that cannot be seen.
func (p *person) focus() stop {
	p.t.Helper()
	at := eval[stop](p, focused)
	if !at.visible() {
		p.t.Errorf("the focus on %q at %s cannot be seen: outline %s, %v px", at.Name, p.at(), at.Outline, at.Width)
	}
	if !at.Seen {
		p.t.Errorf("the focus is on %q at %s, outside the window", at.Name, p.at())
	}
	return at
}

// tabTo presses Tab until the focus is on the control with that label.
func (p *person) tabTo(name string) {
	p.t.Helper()
	var passed []string
	for range 30 {
		p.keys(kb.Tab)
		at := p.focus()
		if at.Name == name {
			return
		}
		passed = append(passed, at.Name)
	}
	p.t.Fatalf("Tab never reaches %q at %s, only %q", name, p.at(), passed)
}

// enter presses Enter where that leads to another page.
func (p *person) enter() {
	p.t.Helper()
	p.arrive(chromedp.KeyEvent(kb.Enter), "press Enter")
}

// TestByKeyboardAlone walks the guide without ever touching the mouse.
func TestByKeyboardAlone(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.person()
	signIn := func() {
		t.Helper()
		alice.typesOn("User name or e-mail", "alice")
		alice.tabTo("Password")
		alice.keys("alice-demo")
		alice.enter()
	}
	alice.open("/login")
	signIn()
	alice.tabTo("My profile")
	alice.enter()
	alice.wait(`document.querySelector('[data-testid="profile-two-factor"]').dataset.state === "not-configured"`)
	alice.tabTo("Set up two-factor")
	alice.enter()
	alice.inState("not-configured")

	// The first stop leads past the header.
	alice.tabTo("Skip to content")
	alice.keys(kb.Enter)
	alice.wait(`document.activeElement.id === "content"`)
	alice.tabTo(enable)
	alice.enter()
	alice.inState("pending")
	ph := &phone{t: t, clock: w.clock, secret: eval[string](alice, `document.getElementById("secret").textContent.replace(/ /g, "")`)}
	alice.tabTo("Copy")
	alice.tabTo(codeField)
	alice.keys(ph.wrongCode())
	alice.enter()
	alice.reads("error", noMatch)
	alice.typesOn(codeField, ph.code())
	alice.tabTo(confirm)
	alice.enter()
	alice.inState("enabled")
	codes := alice.texts("recovery-code")
	alice.tabTo("Copy all codes")
	alice.tabTo("Done")
	alice.enter()

	// Signing in: the code's field has the focus already.
	alice.tabTo("Back to the app")
	alice.enter()
	alice.isAt("/")
	alice.tabTo("Sign out")
	alice.enter()
	signIn()
	alice.challenged()
	w.nextCode()
	alice.typesOn(codeField, ph.code())
	alice.enter()
	alice.isAt("/my")
	alice.tabTo("Sign out")
	alice.enter()
	signIn()
	alice.focusedOn(codeField)
	alice.tabTo(verify)
	alice.tabTo(lostPhone)
	alice.keys(kb.Enter)
	alice.tabTo(recoveryField)
	alice.keys("AAAA-AAAA")
	alice.enter()
	alice.typesOn(recoveryField, codes[0])
	alice.tabTo(useRecovery)
	alice.enter()
	alice.isAt("/my")

	alice.open(stack.Prefix)
	alice.tabTo(regenerate)
	alice.answering(true)
	alice.enter()
	areRecoveryCodes(t, alice.texts("recovery-code"))
	alice.tabTo(disable)
	alice.keys(" ")
	alice.tabTo(password)
	alice.keys("wrong")
	alice.enter()
	alice.typesOn(password, "alice-demo")
	alice.tabTo(disable)
	alice.enter()
	alice.inState("not-configured")
}

// focusedOn fails unless typing goes into that field, which a page may bring
// about as late as with its first frame.
func (p *person) focusedOn(name string) {
	p.t.Helper()
	p.settle()
	if at := p.focus(); at.Name != name {
		p.t.Fatalf("the focus at %s is on %q, want %q", p.at(), at.Name, name)
	}
}

// typesOn types where the page has put the focus, into that field.
func (p *person) typesOn(field, text string) {
	p.t.Helper()
	p.focusedOn(field)
	p.keys(text)
}
