package apps_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	authenticator "github.com/sallyport/sallyport/test/person"
	"github.com/sallyport/sallyport/test/stack"
)

// person sits at a private window of the browser.
type person struct {
	t         *testing.T
	ctx       context.Context
	base, app string
	pictures  int
}

func newPerson(d *door, app string) *person {
	d.t.Helper()
	root, err := theBrowser()
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, _ := chromedp.NewContext(root, chromedp.WithNewBrowserContext())
	// The first action opens the window, which lives no longer than that action's
	// context: it must not be one with a time limit.
	prepare := chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		if _, err := cdp.Call(ctx, target, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: 1280, Height: 900, DeviceScaleFactor: 1,
		}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, target, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
		return err
	})
	if err := chromedp.Do(ctx, prepare); err != nil {
		d.t.Fatalf("open a window: %v", err)
	}
	p := &person{t: d.t, ctx: ctx, base: d.URL, app: app}
	d.t.Cleanup(func() {
		limited, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		if p.t.Failed() {
			seen, err := chromedp.Run(limited, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
			p.t.Logf("somebody was looking at %s (%v)", seen, err)
			p.shows("failed")
		}
		if err := chromedp.Cancel(limited); err != nil {
			p.t.Errorf("close the window: %v", err)
		}
	})
	return p
}

func (p *person) do(what string, step chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	limited, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(limited, step); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// open types an address and waits for the page.
func (p *person) open(path string) {
	p.t.Helper()
	p.arrive(chromedp.Navigate(p.base+path), "open "+path)
}

// reload presses the browser's button.
func (p *person) reload() {
	p.t.Helper()
	p.arrive(chromedp.Reload(), "reload")
}

func (p *person) arrive(step chromedp.Action[chromedp.Void], what string) {
	p.t.Helper()
	limited, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if _, err := chromedp.RunResponse(limited, step); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// eval is what an expression of args is in the page.
func eval[T any](p *person, expression string, args ...string) T {
	p.t.Helper()
	limited, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(limited, chromedp.Evaluate[T](withArgs(p.t, expression, args), chromedp.EvalAwaitPromise))
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

// wait lets the page's scripts work until an expression of args is true: it looks
// again at every change of the document, and at the page that comes after it.
func (p *person) wait(expression string, args ...string) {
	p.t.Helper()
	limited, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	step := chromedp.Evaluate[chromedp.Void](withArgs(p.t, `new Promise((done) => {
		const look = () => { if (`+expression+`) { observer.disconnect(); done(); } };
		const observer = new MutationObserver(look);
		observer.observe(document, {attributes: true, characterData: true, childList: true, subtree: true});
		look();
	})`, args), chromedp.EvalAwaitPromise)
	err := chromedp.Do(limited, step)
	for err != nil && limited.Err() == nil && strings.Contains(err.Error(), "context") {
		err = chromedp.Do(limited, step)
	}
	if err != nil {
		p.t.Fatalf("wait for %s %q at %s: %v", expression, args, p.at(), err)
	}
}

// at is the path and query that the address bar shows.
func (p *person) at() string {
	p.t.Helper()
	return eval[string](p, `location.pathname + location.search`)
}

// sees waits until the page says so.
func (p *person) sees(text string) {
	p.t.Helper()
	p.wait(`document.body?.innerText.includes(args[0])`, text)
}

// text of the element with that data-testid, "" where there is none.
func (p *person) text(testID string) string {
	p.t.Helper()
	return eval[string](p, "(document.querySelector(`[data-testid=\"${args[0]}\"]`)?.innerText ?? '').trim()", testID)
}

// field finds an input by its label, as people do, or by a CSS selector.
const field = `(document.querySelector(args[0].match(/[.#[]/) ? args[0] : "input#none") ??
	[...document.querySelectorAll("input")].find((i) => i.getClientRects().length > 0 &&
		[...(i.labels ?? [])].some((l) => l.innerText.replace("*", "").trim() === args[0])))`

// write types into a field.
func (p *person) write(name, text string) {
	p.t.Helper()
	p.wait(field+` != null`, name)
	if !eval[bool](p, `(() => { const f = `+field+`; f.focus(); return document.activeElement === f; })()`, name) {
		p.t.Fatalf("the field %q at %s cannot be typed into", name, p.at())
	}
	p.do("type into "+name, chromedp.KeyEvent(text))
}

// clickable finds a button by its words before it finds a link.
const clickable = `["button", "summary", "a, [role=menuitem]"].flatMap((s) => [...document.querySelectorAll(s)])
	.find((e) => e.innerText.trim() === args[0] && !e.disabled && e.getClientRects().length > 0)`

// click clicks a control that stays on the page, press one that leads to another.
func (p *person) click(name string) {
	p.t.Helper()
	p.wait(clickable+` != null`, name)
	eval[bool](p, `(`+clickable+`.click(), true)`, name)
}

func (p *person) press(name string) {
	p.t.Helper()
	p.wait(clickable+` != null`, name)
	p.arrive(chromedp.Evaluate[chromedp.Void](withArgs(p.t, `void `+clickable+`.click()`, []string{name})), "press "+name)
}

// follow clicks a link in a menu that people open first.
func (p *person) follow(selector string) {
	p.t.Helper()
	p.wait(`document.querySelector(args[0]) != null`, selector)
	p.arrive(chromedp.Evaluate[chromedp.Void](withArgs(p.t, `void document.querySelector(args[0]).click()`, []string{selector})), "follow "+selector)
}

// session is the Cookie header that the browser sends, also from scripts. The pages
// of the sidecar let none run, so that the tests ask in their place.
func (p *person) session() string {
	p.t.Helper()
	limited, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	cookies, err := chromedp.Run(limited, func(ctx context.Context, target *chromedp.Target) ([]string, error) {
		result, err := cdp.Call(ctx, target, network.GetCookies, network.GetCookiesParams{URLs: []string{p.base}})
		if err != nil {
			return nil, err
		}
		var pairs []string
		for _, c := range result.Cookies {
			pairs = append(pairs, c.Name+"="+c.Value)
		}
		return pairs, nil
	})
	if err != nil {
		p.t.Fatalf("read the browser's cookies: %v", err)
	}
	return "Cookie: " + strings.Join(cookies, "; ")
}

// shows draws what the person sees, where that is asked for.
func (p *person) shows(name string) {
	p.t.Helper()
	if *screenshots == "" {
		return
	}
	limited, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(limited, func(ctx context.Context, target *chromedp.Target) ([]byte, error) {
		result, err := cdp.Call(ctx, target, page.CaptureScreenshot, page.CaptureScreenshotParams{Format: page.CaptureScreenshotFormatPng})
		if err != nil {
			return nil, err
		}
		return result.Data, nil
	})
	if err != nil {
		p.t.Errorf("draw %s: %v", name, err)
		return
	}
	p.pictures++
	file := filepath.Join(*screenshots, fmt.Sprintf("%s-%02d-%s.png", p.app, p.pictures, name))
	if err := os.WriteFile(file, picture, 0o600); err != nil {
		p.t.Error(err)
	}
}

// inState waits for the two-factor card in that state.
func (p *person) inState(want string) {
	p.t.Helper()
	p.wait(`document.querySelector('[data-testid="two-factor-card"]')?.dataset.state === args[0]`, want)
}

// mustEnrol waits until the person has been sent to set up a second factor.
func (p *person) mustEnrol() {
	p.t.Helper()
	p.wait(`location.pathname === args[0]`, stack.Prefix)
	p.inState("not-configured")
	if notice := p.text("notice"); !strings.Contains(notice, "required by your organisation") {
		p.t.Fatalf("the set-up page does not say why: %q", notice)
	}
}

// enrols sets up a second factor on the page that the person is at.
func (p *person) enrols() *authenticator.Phone {
	p.t.Helper()
	p.press("Enable two-factor")
	p.inState("pending")
	ph := authenticator.NewPhone(p.t, p.text("totp-secret"))
	p.shows("enrol")
	p.write("6-digit code", ph.Code(0))
	p.press("Confirm and enable")
	p.inState("enabled")
	return ph
}

// challenged waits for the page that asks for a code.
func (p *person) challenged() {
	p.t.Helper()
	p.wait(`location.pathname === args[0] && document.querySelector('[data-testid="challenge-card"]') != null`, stack.Prefix+"/challenge")
}

// passes types a code into the challenge.
func (p *person) passes(code string) {
	p.t.Helper()
	p.challenged()
	p.write("6-digit code", code)
	p.press("Verify and sign in")
}
