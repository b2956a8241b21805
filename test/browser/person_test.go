package browser_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/sallyport/sallyport/test/chromium"
)

// patience is how long one step may take, on a busy machine.
const patience = 60 * time.Second

// person sits at a browser of their own.
type person struct {
	t   *testing.T
	ctx context.Context
	// base is the origin that paths are opened at.
	base       string
	scriptless bool

	mu      sync.Mutex
	accept  bool     // how the next dialogs are answered
	dialogs []string // what they asked
	faults  []string // exceptions and refusals of the content policy
}

// newPerson opens a private window of the usual size, in light colours.
func newPerson(t *testing.T, base string) *person {
	t.Helper()
	root, err := theBrowser()
	if err != nil {
		t.Fatal(err)
	}
	return newTab(root, t, base, chromedp.WithNewBrowserContext())
}

func newTab(parent context.Context, t *testing.T, base string, options ...chromedp.ContextOption) *person {
	t.Helper()
	ctx, _ := chromedp.NewContext(parent, options...)
	p := &person{t: t, ctx: ctx, base: base}
	t.Cleanup(p.leave)
	if err := chromedp.Listen(ctx, p.notice); err != nil {
		t.Fatalf("open a window: %v", err)
	}
	p.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
		return err
	}))
	p.colours("light")
	p.resize(1280, 900)
	return p
}

// leave closes the window and reports what went wrong behind the pages.
func (p *person) leave() {
	if p.t.Failed() {
		p.t.Logf("%s was looking at:\n%s", p.t.Name(), p.describe())
	}
	limited, cancel := context.WithTimeout(p.ctx, 20*time.Second)
	defer cancel()
	if err := chromedp.Cancel(limited); err != nil {
		p.t.Errorf("close the window: %v", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, fault := range p.faults {
		p.t.Errorf("the browser complained: %s", fault)
	}
}

func (p *person) describe() string {
	limited, cancel := context.WithTimeout(p.ctx, 5*time.Second)
	defer cancel()
	seen, err := chromedp.Run(limited, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return seen
}

// notice answers dialogs and collects complaints. It must return at once.
func (p *person) notice(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch event := event.(type) {
	case *page.EventJavascriptDialogOpening:
		p.dialogs = append(p.dialogs, string(event.Type)+": "+event.Message)
		accept := p.accept
		go func() {
			_, _ = chromedp.Call(p.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: accept})
		}()
	case *runtime.EventExceptionThrown:
		p.faults = append(p.faults, event.ExceptionDetails.Text+": "+event.ExceptionDetails.Exception.Description)
	case *log.EventEntryAdded:
		// A status such as 422 is logged by source network; that is no fault. Nor is
		// plain HTTP, which some tests are about.
		if event.Entry.Level == log.EntryLevelError && event.Entry.Source != log.EntrySourceNetwork &&
			!strings.Contains(event.Entry.Text, "origin was untrustworthy") {
			p.faults = append(p.faults, string(event.Entry.Source)+": "+event.Entry.Text)
		}
	}
}

func (p *person) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	limited, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(limited, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// open types an address and returns the status of the page that it ends on.
func (p *person) open(path string) int64 {
	p.t.Helper()
	target := path
	if strings.HasPrefix(path, "/") {
		target = p.base + path
	}
	return p.arrive(chromedp.Navigate(target), "open "+path)
}

// reload does what the browser's button does; a page that answered a form is
// asked for anew by address, as people do who do not want to send it again.
func (p *person) reload() int64 {
	p.t.Helper()
	return p.open(eval[string](p, `location.pathname + location.search`))
}

// back presses the browser's Back button. A page that answered a form and may not
// be kept does not come back: the browser says so instead.
func (p *person) back() {
	p.t.Helper()
	limited, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	err := chromedp.Do(limited, chromedp.NavigateBack())
	if notKept, ok := errors.AsType[*chromedp.LoadError](err); ok && notKept.ErrorText == "net::ERR_CACHE_MISS" {
		return
	}
	if err != nil {
		p.t.Fatalf("go back: %v", err)
	}
}

// arrive does something that leads to another page and waits until that is there.
func (p *person) arrive(step chromedp.Action[chromedp.Void], what string) int64 {
	p.t.Helper()
	limited, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	response, err := chromedp.RunResponse(limited, step)
	if err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
	if response == nil {
		p.t.Fatalf("%s: no page came", what)
	}
	return response.Status
}

// at is the path and query that the address bar shows.
func (p *person) at() string {
	p.t.Helper()
	return eval[string](p, `location.pathname + location.search`)
}

// click clicks a control that stays on the page.
func (p *person) click(role, name string) {
	p.t.Helper()
	p.do(p.point(role, name))
}

// follow clicks a control that leads to another page and returns its status.
func (p *person) follow(role, name string) int64 {
	p.t.Helper()
	return p.arrive(p.point(role, name), "click "+name)
}

// write clicks into a field and types.
func (p *person) write(field, text string) {
	p.t.Helper()
	p.click("textbox", field)
	p.keys(text)
}

// keys types, or presses keys of package kb.
func (p *person) keys(text string) {
	p.t.Helper()
	p.do(chromedp.KeyEvent(text))
}

// permit grants what a person would have to click away in a prompt of the browser.
func (p *person) permit(names ...string) {
	p.t.Helper()
	for _, name := range names {
		_, err := chromedp.CallBrowser(p.ctx, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: name}, Setting: browser.PermissionSettingGranted,
			Origin: p.base, BrowserContextID: chromedp.FromContext(p.ctx).BrowserContextID,
		})
		if err != nil {
			p.t.Fatalf("grant %s: %v", name, err)
		}
	}
}

// answering has the next dialogs accepted or dismissed, and forgets earlier ones.
func (p *person) answering(accept bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accept, p.dialogs = accept, nil
}

// asked returns what dialogs have asked since.
func (p *person) asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.dialogs)
}

// named is the origin with a name for a host, where the browser has only plain HTTP.
func named(t *testing.T, origin string) string {
	t.Helper()
	u, err := url.Parse(origin)
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + chromium.NamedHost + ":" + u.Port()
}

// tab opens another tab of the same window: another page, the same cookies.
func (p *person) tab() *person {
	p.t.Helper()
	return newTab(p.ctx, p.t, p.base)
}
