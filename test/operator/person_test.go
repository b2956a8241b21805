package operator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
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

// browserPatience is how long one step in the browser may take.
const browserPatience = 60 * time.Second

// browser starts the browser of one test.
func browser(t *testing.T) context.Context {
	t.Helper()
	ctx, err := chromium.Start()
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

// person sits at a private window of the browser.
type person struct {
	t    *testing.T
	ctx  context.Context
	base string
}

func newPerson(t *testing.T, browser context.Context, base string) *person { //nolint:revive // a test comes first here
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
	p := &person{t: t, ctx: ctx, base: base}
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

// open types an address, a path or a whole one, and waits for the page.
func (p *person) open(path string) {
	p.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = p.base + path
	}
	p.arrive(chromedp.Navigate(path), "open "+path)
}

func (p *person) arrive(step chromedp.Action[chromedp.Void], what string) {
	p.t.Helper()
	limited, cancel := context.WithTimeout(p.ctx, browserPatience)
	defer cancel()
	if _, err := chromedp.RunResponse(limited, step); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// eval is what an expression of args is in the page.
func eval[T any](p *person, expression string, args ...string) T {
	p.t.Helper()
	limited, cancel := context.WithTimeout(p.ctx, browserPatience)
	defer cancel()
	value, err := chromedp.Run(limited, chromedp.Evaluate[T](withArgs(p.t, expression, args)))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

func withArgs(t *testing.T, expression string, args []string) string {
	t.Helper()
	list, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("((args) => (%s))(%s)", expression, list)
}

// at is the path and query that the address bar shows.
func (p *person) at() string {
	p.t.Helper()
	return eval[string](p, `location.pathname + location.search`)
}

func (p *person) isAt(want string) {
	p.t.Helper()
	if got := p.at(); got != want {
		p.t.Fatalf("arrived at %s, want %s", got, want)
	}
}

// text of the element with that data-testid, "" where there is none.
func (p *person) text(testID string) string {
	p.t.Helper()
	return eval[string](p, "(document.querySelector(`[data-testid=\"${args[0]}\"]`)?.innerText ?? '').trim()", testID)
}

// write types into the field that is labelled so.
func (p *person) write(label, text string) {
	p.t.Helper()
	found := eval[bool](p, `(() => {
		const field = [...document.querySelectorAll("input")].find((i) =>
			[...(i.labels ?? [])].some((l) => l.innerText.trim() === args[0]) && i.getClientRects().length > 0);
		field?.focus();
		return field !== undefined && document.activeElement === field;
	})()`, label)
	if !found {
		p.t.Fatalf("no field %q at %s", label, p.at())
	}
	limited, cancel := context.WithTimeout(p.ctx, browserPatience)
	defer cancel()
	if err := chromedp.Do(limited, chromedp.KeyEvent(text)); err != nil {
		p.t.Fatalf("type into %q: %v", label, err)
	}
}

const clickable = `[...document.querySelectorAll("button, summary")].find((e) => e.innerText.trim() === args[0] && e.getClientRects().length > 0)`

// click clicks a control that stays on the page, press one that leads to another.
func (p *person) click(name string) {
	p.t.Helper()
	if !eval[bool](p, `(() => { const e = `+clickable+`; e?.click(); return e !== undefined; })()`, name) {
		p.t.Fatalf("nothing to click is called %q at %s", name, p.at())
	}
}

func (p *person) press(name string) {
	p.t.Helper()
	if !eval[bool](p, clickable+` !== undefined`, name) {
		p.t.Fatalf("nothing to press is called %q at %s", name, p.at())
	}
	p.arrive(chromedp.Evaluate[chromedp.Void](withArgs(p.t, `void `+clickable+`.click()`, []string{name})), "press "+name)
}

// signsIn gives the demo password at the app's sign-in page.
func (p *person) signsIn(user string) {
	p.t.Helper()
	p.open("/login")
	p.write("User name or e-mail", user)
	p.write("Password", user+"-demo")
	p.press("Sign in")
}

func (p *person) signsOut() {
	p.t.Helper()
	p.press("Sign out")
	p.isAt("/login")
}

// inState fails unless the two-factor card is in that state.
func (p *person) inState(want string) {
	p.t.Helper()
	if got := eval[string](p, `document.querySelector('[data-testid="two-factor-card"]')?.dataset.state ?? ""`); got != want {
		p.t.Fatalf("the card's state at %s is %q, want %q; error: %q", p.at(), got, want, p.text("error"))
	}
}

// mustEnrol fails unless the person was sent to set up a second factor.
func (p *person) mustEnrol() {
	p.t.Helper()
	if got := eval[string](p, `location.pathname`); got != stack.Prefix {
		p.t.Fatalf("not sent to the set-up page, but to %s", p.at())
	}
	p.inState("not-configured")
	if notice := p.text("notice"); !strings.Contains(notice, "required by your organisation") {
		p.t.Fatalf("the set-up page does not say why: %q", notice)
	}
}

// challenged fails unless this is the page that asks for a code.
func (p *person) challenged() {
	p.t.Helper()
	if !strings.HasPrefix(p.at(), stack.Prefix+"/challenge") || p.text("challenge-card") == "" {
		p.t.Fatalf("not challenged, but at %s", p.at())
	}
}

// enrols sets up a second factor and returns the phone and the recovery codes.
func (p *person) enrols() (*phone, []string) {
	p.t.Helper()
	p.open(stack.Prefix)
	p.inState("not-configured")
	p.press("Enable two-factor")
	p.inState("pending")
	ph := &phone{t: p.t, secret: strings.ReplaceAll(p.text("totp-secret"), " ", "")}
	p.write("6-digit code", ph.code(0))
	p.press("Confirm and enable")
	p.inState("enabled")
	return ph, eval[[]string](p, `[...document.querySelectorAll('[data-testid="recovery-code"]')].map((e) => e.innerText.trim())`)
}

// passes types a code into the challenge.
func (p *person) passes(code, destination string) {
	p.t.Helper()
	p.challenged()
	p.write("6-digit code", code)
	p.press("Verify and sign in")
	p.isAt(destination)
}

// phone is an authenticator app that holds one account.
type phone struct {
	t      *testing.T
	secret string
}

// code is what the phone shows now, or some steps from now: a code is accepted one
// step early, so that nobody here waits for the next.
func (p *phone) code(steps int) string {
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
