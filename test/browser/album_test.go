package browser_test

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// The two widths that every page must fit: an ordinary window, and a small phone
// or a large window at 400 % (WCAG 2.2, 1.4.10).
const (
	windowWidth, windowHeight = 1280, 900
	phoneWidth, phoneHeight   = 320, 640
)

// isSound holds the page that is shown to what every page must be: no violation
// that axe-core can find, in light and in dark colours, and nothing cut off or to
// be scrolled sideways at either width.
func (p *person) isSound(name string) {
	p.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		p.colours(scheme)
		p.accessible(name + ", " + scheme)
	}
	if p.attribute(qrCode, "src") != "" {
		secret := strings.ReplaceAll(p.text("totp-secret"), " ", "")
		if got := scan(p.t, p.picture(qrCode)).Query().Get("secret"); got != secret {
			p.t.Errorf("%s: in the dark the QR code says %q, want %q", name, got, secret)
		}
	}
	p.colours("light")
	p.fits(name)
	p.resize(phoneWidth, phoneHeight)
	p.fits(name)
	p.accessible(name + fmt.Sprintf(", %d px", phoneWidth))
	p.resize(windowWidth, windowHeight)
}

// finding is one violation that axe-core reports.
type finding struct {
	ID, Help string
	Targets  []string
	Summary  string
}

const runAxe = `axe.run(document, {resultTypes: ["violations"], preload: false}).then((result) => {
	if (result.passes.length === 0) throw new Error("axe-core found nothing to look at");
	return result.violations.flatMap((violation) => violation.nodes.map((node) => ({
		ID: violation.id, Help: violation.help, Targets: node.target.flat(), Summary: node.failureSummary,
	})));
})`

// accessible reports every violation that axe-core finds.
func (p *person) accessible(name string) {
	p.t.Helper()
	for _, f := range p.violations() {
		p.t.Errorf("%s: %s (%s) at %s\n%s", name, f.Help, f.ID, strings.Join(f.Targets, " "), f.Summary)
	}
}

func (p *person) violations() []finding {
	p.t.Helper()
	source, err := axeScript()
	if err != nil {
		p.t.Fatal(err)
	}
	if !eval[bool](p, `typeof axe === "object"`) {
		p.do(chromedp.Evaluate[chromedp.Void](source))
	}
	return ask(p, chromedp.Evaluate[[]finding](runAxe, chromedp.EvalAwaitPromise))
}

// Elements that hide what does not fit are looked at one by one; those made to be
// invisible, and those that scroll by themselves, are left out.
const cutOff = `[
	...(document.documentElement.scrollWidth > innerWidth ? ["the page: " + document.documentElement.scrollWidth] : []),
	...[...document.querySelectorAll("body *")].filter((e) => {
		const overflow = getComputedStyle(e).overflowX;
		return (overflow === "hidden" || overflow === "clip") && e.clientWidth > 1 && e.scrollWidth > e.clientWidth + 1;
	}).map((e) => e.tagName + "." + e.className + ": " + e.scrollWidth),
]`

// fits fails where something is cut off or needs sideways scrolling.
func (p *person) fits(name string) {
	p.t.Helper()
	for _, fault := range eval[[]string](p, cutOff) {
		p.t.Errorf("%s is too wide for a window of %d px: %s px", name, eval[int](p, `innerWidth`), fault)
	}
}

// album draws pages into a folder, if there is one.
type album struct{ folder string }

// draw takes a picture of the page in light, in dark, and on a small phone.
func (a album) draw(p *person, name string) {
	p.t.Helper()
	if a.folder == "" {
		return
	}
	// A caret blinks, and would make every picture of a form another one.
	eval[chromedp.Void](p, `(() => {
		const sheet = new CSSStyleSheet();
		sheet.replaceSync("* { caret-color: transparent !important; }");
		document.adoptedStyleSheets = [sheet];
	})()`)
	a.write(p, name+"-light", 1)
	p.colours("dark")
	a.write(p, name+"-dark", 1)
	p.colours("light")
	p.resize(phoneWidth, phoneHeight)
	a.write(p, fmt.Sprintf("%s-%d", name, phoneWidth), 2)
	p.resize(windowWidth, windowHeight)
}

// write saves the window, or the whole page where that is longer.
func (a album) write(p *person, name string, scale float64) {
	p.t.Helper()
	part := eval[page.Viewport](p,
		`({x: 0, y: 0, width: innerWidth, height: Math.max(innerHeight, document.documentElement.scrollHeight), scale: args[0]})`, scale)
	shot := p.shoot(part)
	drawn, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		p.t.Fatal(err)
	}
	var small bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&small, paletted(drawn)); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a.folder, name+".png"), small.Bytes(), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// paletted reduces a picture to its 256 most frequent colours. Pages have few, and
// the edges of their letters do not miss the rest; the file is half as large.
func paletted(picture image.Image) *image.Paletted {
	bounds := picture.Bounds()
	counts := map[color.RGBA]int{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[color.RGBAModel.Convert(picture.At(x, y)).(color.RGBA)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(counts), func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	var palette color.Palette
	for _, c := range colours[:min(len(colours), 256)] {
		palette = append(palette, c)
	}
	nearest := map[color.RGBA]uint8{}
	for _, c := range colours {
		nearest[c] = uint8(palette.Index(c))
	}
	reduced := image.NewPaletted(bounds, palette)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			reduced.SetColorIndex(x, y, nearest[color.RGBAModel.Convert(picture.At(x, y)).(color.RGBA)])
		}
	}
	return reduced
}
