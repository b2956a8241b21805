// Package person is somebody at a real browser, who signs in at the demo portal, sets up
// a second factor, and types codes from an authenticator app.
//
// It serves tests only. It must never look at anything but the page.
package person

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/sallyport/sallyport/test/chromium"
	"github.com/sallyport/sallyport/test/stack"
)

// patience is how long one step in the browser may take.
const patience = 60 * time.Second

// Browser starts the browser of one test, with further flags of Chromium's by name.
func Browser(t testing.TB, flags ...string) context.Context {
	t.Helper()
	ctx, err := chromium.Start(flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		limited, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		if err := chromedp.Cancel(limited); err != nil {
			t.Errorf("end the browser: %v", err)
		}
	})
	return ctx
}

// Person sits at a private window of the browser.
type Person struct {
	t    testing.TB
	ctx  context.Context
	base string
}

// New opens the window of somebody who begins at base.
func New(t testing.TB, browser context.Context, base string) *Person { //nolint:revive // a test comes first here
	t.Helper()
	ctx, _ := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	// The first action opens the window, which then lives no longer than that action's
	// context: it must not be one with a time limit.
	// A window that has no focus is one that a browser may put to rest.
	focus := chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
		return err
	})
	if err := chromedp.Do(ctx, focus); err != nil {
		t.Fatalf("open a window: %v", err)
	}
	p := &Person{t: t, ctx: ctx, base: base}
	t.Cleanup(func() {
		limited, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		if t.Failed() {
			seen, err := chromedp.Run(limited, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
			t.Logf("somebody was looking at %s (%v)", seen, err)
		}
		if err := chromedp.Cancel(limited); err != nil {
			t.Errorf("close the window: %v", err)
		}
	})
	return p
}

// Moves has the person begin at another address from now on.
func (p *Person) Moves(base string) { p.base = base }

// Open types an address, a path or a whole one, and waits for the page.
func (p *Person) Open(path string) {
	p.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = p.base + path
	}
	p.arrive(chromedp.Navigate(path), "open "+path)
}

func (p *Person) arrive(step chromedp.Action[chromedp.Void], what string) {
	p.t.Helper()
	limited, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if _, err := chromedp.RunResponse(limited, step); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// Eval is what an expression of args is in the page.
func Eval[T any](p *Person, expression string, args ...string) T {
	p.t.Helper()
	limited, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(limited, chromedp.Evaluate[T](withArgs(p.t, expression, args)))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

func withArgs(t testing.TB, expression string, args []string) string {
	t.Helper()
	list, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("((args) => (%s))(%s)", expression, list)
}

// At is the path and query that the address bar shows.
func (p *Person) At() string {
	p.t.Helper()
	return Eval[string](p, `location.pathname + location.search`)
}

// IsAt fails unless the address bar shows that path and query.
func (p *Person) IsAt(want string) {
	p.t.Helper()
	if got := p.At(); got != want {
		p.t.Fatalf("arrived at %s, want %s", got, want)
	}
}

// Text of the element with that data-testid, "" where there is none.
func (p *Person) Text(testID string) string {
	p.t.Helper()
	return Eval[string](p, "(document.querySelector(`[data-testid=\"${args[0]}\"]`)?.innerText ?? '').trim()", testID)
}

// Write types into the field that is labelled so.
func (p *Person) Write(label, text string) {
	p.t.Helper()
	found := Eval[bool](p, `(() => {
		const field = [...document.querySelectorAll("input")].find((i) =>
			[...(i.labels ?? [])].some((l) => l.innerText.trim() === args[0]) && i.getClientRects().length > 0);
		field?.focus();
		return field !== undefined && document.activeElement === field;
	})()`, label)
	if !found {
		p.t.Fatalf("no field %q at %s", label, p.At())
	}
	limited, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(limited, chromedp.KeyEvent(text)); err != nil {
		p.t.Fatalf("type into %q: %v", label, err)
	}
}

const clickable = `[...document.querySelectorAll("button, summary")].find((e) => e.innerText.trim() === args[0] && e.getClientRects().length > 0)`

// Click clicks a control that stays on the page.
func (p *Person) Click(name string) {
	p.t.Helper()
	if !Eval[bool](p, `(() => { const e = `+clickable+`; e?.click(); return e !== undefined; })()`, name) {
		p.t.Fatalf("nothing to click is called %q at %s", name, p.At())
	}
}

// Press clicks a control that leads to another page, and waits for that.
func (p *Person) Press(name string) {
	p.t.Helper()
	if !Eval[bool](p, clickable+` !== undefined`, name) {
		p.t.Fatalf("nothing to press is called %q at %s", name, p.At())
	}
	p.arrive(chromedp.Evaluate[chromedp.Void](withArgs(p.t, `void `+clickable+`.click()`, []string{name})), "press "+name)
}

// SignsIn gives the demo password at the app's sign-in page.
func (p *Person) SignsIn(user string) {
	p.t.Helper()
	p.Open("/login")
	p.Write("User name or e-mail", user)
	p.Write("Password", user+"-demo")
	p.Press("Sign in")
}

// SignsOut signs out at the app, which shows its sign-in page then.
func (p *Person) SignsOut() {
	p.t.Helper()
	p.Press("Sign out")
	p.IsAt("/login")
}

// InState fails unless the two-factor card is in that state.
func (p *Person) InState(want string) {
	p.t.Helper()
	if got := Eval[string](p, `document.querySelector('[data-testid="two-factor-card"]')?.dataset.state ?? ""`); got != want {
		p.t.Fatalf("the card's state at %s is %q, want %q; error: %q", p.At(), got, want, p.Text("error"))
	}
}

// MustEnrol fails unless the person was sent to set up a second factor.
func (p *Person) MustEnrol() {
	p.t.Helper()
	if got := Eval[string](p, `location.pathname`); got != stack.Prefix {
		p.t.Fatalf("not sent to the set-up page, but to %s", p.At())
	}
	p.InState("not-configured")
	if notice := p.Text("notice"); !strings.Contains(notice, "required by your organisation") {
		p.t.Fatalf("the set-up page does not say why: %q", notice)
	}
}

// Challenged fails unless this is the page that asks for a code.
func (p *Person) Challenged() {
	p.t.Helper()
	if !strings.HasPrefix(p.At(), stack.Prefix+"/challenge") || p.Text("challenge-card") == "" {
		p.t.Fatalf("not challenged, but at %s", p.At())
	}
}

// Enrols sets up a second factor and returns the phone and the recovery codes.
func (p *Person) Enrols() (*Phone, []string) {
	p.t.Helper()
	p.Open(stack.Prefix)
	p.InState("not-configured")
	p.Press("Enable two-factor")
	p.InState("pending")
	ph := NewPhone(p.t, p.Text("totp-secret"))
	p.Write("6-digit code", ph.Code(0))
	p.Press("Confirm and enable")
	p.InState("enabled")
	return ph, Eval[[]string](p, `[...document.querySelectorAll('[data-testid="recovery-code"]')].map((e) => e.innerText.trim())`)
}

// Passes types a code into the challenge.
func (p *Person) Passes(code, destination string) {
	p.t.Helper()
	p.Challenged()
	p.Write("6-digit code", code)
	p.Press("Verify and sign in")
	p.IsAt(destination)
}

// Regenerates makes new recovery codes and returns them, agreeing to what the page asks.
func (p *Person) Regenerates() []string {
	p.t.Helper()
	p.Open(stack.Prefix)
	p.InState("enabled")
	Eval[bool](p, `(window.confirm = () => true, true)`)
	p.Press("Regenerate recovery codes")
	p.InState("enabled")
	return Eval[[]string](p, `[...document.querySelectorAll('[data-testid="recovery-code"]')].map((e) => e.innerText.trim())`)
}

// Disables asks for two-factor to be switched off, with that password.
func (p *Person) Disables(password string) {
	p.t.Helper()
	if open := Eval[bool](p, `document.querySelector('form[action$="/disable"]')?.closest("details")?.open === true`); !open {
		p.Click("Disable two-factor")
	}
	p.Write("Current password", password)
	p.arrive(chromedp.Evaluate[chromedp.Void](`void document.querySelector('form[action$="/disable"] button').click()`), "disable two-factor")
}

// Phone is an authenticator app that holds one account.
type Phone struct {
	t      testing.TB
	secret string
}

// NewPhone holds the account whose secret a set-up page shows.
func NewPhone(t testing.TB, secret string) *Phone {
	return &Phone{t: t, secret: strings.ReplaceAll(secret, " ", "")}
}

// Code is what the phone shows now, or some steps from now: a code is accepted one
// step early, so that nobody here waits for the next.
func (p *Phone) Code(steps int) string {
	p.t.Helper()
	at := time.Now().Add(time.Duration(steps) * 30 * time.Second).Unix()
	cmd := exec.CommandContext(p.t.Context(), "oathtool", "--base32", "--totp", "--now=@"+strconv.FormatInt(at, 10), "-")
	cmd.Stdin = strings.NewReader(p.secret + "\n")
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("oathtool, the independent TOTP implementation (apt-get install oathtool): %v", err)
	}
	return strings.TrimSpace(string(out))
}

// Fetches asks for a path as a page's script does, and returns the status.
func (p *Person) Fetches(path string) int {
	p.t.Helper()
	return Eval[int](p, `(() => { const r = new XMLHttpRequest(); r.open("GET", args[0], false); r.send(); return r.status; })()`, path)
}

// Screenshot keeps what the person sees, for people to look at: a file of that name in
// the folder SCREENSHOTS, where that is set.
func (p *Person) Screenshot(name string) {
	p.t.Helper()
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		return
	}
	limited, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	image, err := chromedp.Run(limited, chromedp.FullScreenshot(100))
	if err != nil {
		p.t.Fatalf("take a screenshot: %v", err)
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), image, 0o600); err != nil {
		p.t.Fatal(err)
	}
}
