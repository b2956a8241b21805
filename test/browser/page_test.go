package browser_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

func ask[T any](p *person, action chromedp.Action[T]) T {
	p.t.Helper()
	limited, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(limited, action)
	if err != nil {
		p.t.Fatal(err)
	}
	return value
}

// eval asks the page; the expression may use the JSON of the arguments as args.
func eval[T any](p *person, expression string, args ...any) T {
	p.t.Helper()
	return ask(p, chromedp.Evaluate[T](withArgs(p.t, expression, args)))
}

const watch = `new Promise((done, fail) => {
	const look = () => {
		try {
			if (!(%s)) return;
			done();
		} catch (error) {
			fail(error);
		}
		observer.disconnect();
	};
	const observer = new MutationObserver(look);
	observer.observe(document, {attributes: true, characterData: true, childList: true, subtree: true});
	look();
})`

// wait lets the page's scripts work until the expression is true. It looks again
// at every change of the document.
func (p *person) wait(expression string) {
	p.t.Helper()
	limited, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	step := chromedp.Evaluate[chromedp.Void](fmt.Sprintf(watch, expression), chromedp.EvalAwaitPromise)
	err := chromedp.Do(limited, step)
	for err != nil && limited.Err() == nil && strings.Contains(err.Error(), "context") {
		err = chromedp.Do(limited, step) // the page it was asked of is gone: ask the one that came
	}
	if err != nil {
		p.t.Fatalf("wait for %s: %v", expression, err)
	}
}

func withArgs(t *testing.T, expression string, args []any) string {
	t.Helper()
	list, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("((args) => (%s))(%s)", expression, list)
}

// find returns the one control of that role and accessible name, as a screen
// reader announces it.
func (p *person) find(role, name string) cdp.BackendNodeID {
	p.t.Helper()
	found := p.look(role, name)
	if len(found) != 1 {
		p.t.Fatalf("%d controls %q of role %s on\n%s", len(found), name, role, p.describe())
	}
	return found[0]
}

// offers reports whether the page has such a control.
func (p *person) offers(role, name string) bool {
	p.t.Helper()
	return len(p.look(role, name)) > 0
}

func (p *person) look(role, name string) []cdp.BackendNodeID {
	p.t.Helper()
	return ask(p, func(ctx context.Context, target *chromedp.Target) ([]cdp.BackendNodeID, error) {
		document, err := cdp.Call(ctx, target, runtime.Evaluate, runtime.EvaluateParams{Expression: "document"})
		if err != nil {
			return nil, err
		}
		tree, err := cdp.Call(ctx, target, accessibility.QueryAXTree, accessibility.QueryAXTreeParams{
			ObjectID: document.Result.ObjectID, Role: role, AccessibleName: name,
		})
		if err != nil {
			return nil, err
		}
		var found []cdp.BackendNodeID
		for _, node := range tree.Nodes {
			if !node.Ignored {
				found = append(found, node.BackendDOMNodeID)
			}
		}
		return found, nil
	})
}

// spot is where somebody would click, in the middle of what is seen of a control.
type spot struct {
	X, Y float64
	// Hit: nothing lies over it.
	Hit bool
}

const spotOf = `function() {
	this.scrollIntoView({block: "center", inline: "center", behavior: "instant"});
	const box = this.getClientRects()[0];
	if (!box) return {X: 0, Y: 0, Hit: false};
	const x = box.x + box.width / 2, y = box.y + box.height / 2;
	const top = document.elementFromPoint(x, y);
	return {X: x, Y: y, Hit: top !== null && (this === top || this.contains(top))};
}`

// point clicks a control with the mouse.
func (p *person) point(role, name string) chromedp.Action[chromedp.Void] {
	p.t.Helper()
	node := p.find(role, name)
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		object, err := cdp.Call(ctx, target, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: node})
		if err != nil {
			return err
		}
		at, err := chromedp.CallFunctionOn[spot](spotOf, func(params *runtime.CallFunctionOnParams) {
			params.ObjectID = object.Object.ObjectID
		})(ctx, target)
		if err != nil {
			return err
		}
		if !at.Hit {
			return fmt.Errorf("the %s %q cannot be clicked: something covers it", role, name)
		}
		if _, err := chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, at.X, at.Y)(ctx, target); err != nil {
			return err
		}
		_, err = chromedp.MouseClickXY(at.X, at.Y)(ctx, target)
		return err
	})
}

// texts are the texts of all elements with that data-testid, white space folded.
func (p *person) texts(testID string) []string {
	p.t.Helper()
	return eval[[]string](p, "[...document.querySelectorAll(`[data-testid=\"${args[0]}\"]`)].map("+
		`(e) => e.innerText.replace(/\s+/g, " ").trim())`, testID)
}

// text is the text of the only such element, "" if there is none.
func (p *person) text(testID string) string {
	p.t.Helper()
	switch texts := p.texts(testID); len(texts) {
	case 0:
		return ""
	case 1:
		return texts[0]
	default:
		p.t.Fatalf("%d elements with data-testid %s", len(texts), testID)
		return ""
	}
}

// reads fails unless the page says exactly that in that element.
func (p *person) reads(testID, want string) {
	p.t.Helper()
	if got := p.text(testID); got != want {
		p.t.Fatalf("%s reads %q, want %q", testID, got, want)
	}
}

// sees fails unless each of the lines stands on the page, as a line of its own.
func (p *person) sees(lines ...string) {
	p.t.Helper()
	seen := eval[string](p, `document.body.innerText`)
	folded := make([]string, 0, len(seen))
	for line := range strings.Lines(seen) {
		folded = append(folded, strings.Join(strings.Fields(line), " "))
	}
	for _, line := range lines {
		if !slices.Contains(folded, line) {
			p.t.Fatalf("no line reads %q on\n%s", line, seen)
		}
	}
}

// attribute of the first element that the selector finds.
func (p *person) attribute(selector, name string) string {
	p.t.Helper()
	return eval[string](p, `document.querySelector(args[0])?.getAttribute(args[1]) ?? ""`, selector, name)
}

// picture is what a camera sees of an element.
func (p *person) picture(selector string) []byte {
	p.t.Helper()
	box := eval[page.Viewport](p, `(() => {
		const box = document.querySelector(args[0]).getBoundingClientRect();
		return {x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height, scale: 1};
	})()`, selector)
	return p.shoot(box)
}

// shoot takes a picture of a part of the page, in the window or beyond.
func (p *person) shoot(part page.Viewport) []byte {
	p.t.Helper()
	p.settle()
	return ask(p, func(ctx context.Context, target *chromedp.Target) ([]byte, error) {
		result, err := cdp.Call(ctx, target, page.CaptureScreenshot, page.CaptureScreenshotParams{
			Format: page.CaptureScreenshotFormatPng, CaptureBeyondViewport: new(true), Clip: &part,
		})
		return result.Data, err
	})
}

// hues are the ranges of the colour wheel that a colour's name stands for, and the
// saturation that it needs.
var hues = map[string]struct{ from, to, least, most float64 }{
	"slate":   {200, 240, 0.05, 0.45},
	"amber":   {25, 55, 0.45, 1},
	"emerald": {140, 170, 0.35, 1},
	"rose":    {335, 358, 0.35, 1},
}

// coloured fails unless the element's ground is of that colour.
func (p *person) coloured(selector, name string) {
	p.t.Helper()
	css := eval[string](p, `getComputedStyle(document.querySelector(args[0])).backgroundColor`, selector)
	var r, g, b float64
	if _, err := fmt.Sscanf(css, "rgb(%f, %f, %f)", &r, &g, &b); err != nil {
		p.t.Fatalf("%s has the colour %q: %v", selector, css, err)
	}
	hue, saturation := hueOf(r/255, g/255, b/255)
	want := hues[name]
	if hue < want.from || hue > want.to || saturation < want.least || saturation > want.most {
		p.t.Errorf("%s is %s (hue %.0f, saturation %.2f), which nobody calls %s", selector, css, hue, saturation, name)
	}
}

// hueOf converts a colour to the hue and the saturation of HSL.
func hueOf(r, g, b float64) (hue, saturation float64) {
	top, bottom := max(r, g, b), min(r, g, b)
	span := top - bottom
	if span == 0 {
		return 0, 0
	}
	saturation = span / (1 - math.Abs(top+bottom-1))
	switch top {
	case r:
		hue = math.Mod((g-b)/span+6, 6)
	case g:
		hue = (b-r)/span + 2
	default:
		hue = (r-g)/span + 4
	}
	return hue * 60, saturation
}
