package browser_test

import (
	"context"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// colours sets the scheme that the system prefers. Motion is reduced, so that no
// colour is ever met half way.
func (p *person) colours(scheme string) {
	p.t.Helper()
	p.media(
		&emulation.MediaFeature{Name: "prefers-color-scheme", Value: scheme},
		&emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"},
	)
}

func (p *person) media(features ...*emulation.MediaFeature) {
	p.t.Helper()
	p.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
		return err
	}))
}

// settle waits until the page has drawn what it has to draw now. Without scripts
// nothing changes once a page is there.
func (p *person) settle() {
	p.t.Helper()
	if p.scriptless {
		return
	}
	ask(p, chromedp.Evaluate[chromedp.Void](
		`new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))`, chromedp.EvalAwaitPromise))
}

func (p *person) resize(width, height int64) {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(width, height))
}

// withoutScripts switches JavaScript off, from the next page on.
func (p *person) withoutScripts() {
	p.t.Helper()
	p.scriptless = true
	p.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	}))
}
