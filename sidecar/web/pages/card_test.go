package pages_test

import (
	"bytes"
	"encoding/base64"
	"image"
	_ "image/png"
	"net/http"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
	"github.com/google/go-cmp/cmp"
	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/sallyport/sallyport/sidecar/web/pages"
)

func TestCardSaysItsState(t *testing.T) {
	for name, test := range map[string]struct {
		card                pages.Card
		state, badge, color string
		forms               []string
	}{
		"not configured": {pages.Card{}, "not-configured", "Not configured", "slate", []string{"enable"}},
		"required": {
			pages.Card{RequiredNotice: true}, "not-configured", "Not configured", "slate", []string{"enable", "cancel"},
		},
		"pending": {
			pages.Card{State: pages.Pending, Secret: minted, KeyURI: keyURI},
			"pending", "Pending confirmation", "amber",
			[]string{"confirm"},
		},
		"enabled": {
			pages.Card{State: pages.Enabled, ConfirmedAt: confirmedAt, CodesLeft: 6},
			"enabled", "Enabled", "emerald",
			[]string{"recovery-codes", "disable"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			page := showCard(t, test.card)
			wantText(t, "title", page.Find("title"), "Two-factor authentication")
			wantText(t, "h1", page.Find("h1"), "Two-factor authentication")
			wantText(t, "account", page.Find(".account strong"), account)
			wantAttrs(t, "card", page.hook("two-factor-card"), map[string]string{"data-state": test.state})
			wantText(t, "card heading", page.hook("two-factor-card").Find("h2"), "Authenticator app (TOTP)")
			wantText(t, "badge", page.hook("state-badge"), test.badge)
			if !page.hook("state-badge").HasClass(test.color) {
				t.Errorf("badge has class %q, want %s", page.hook("state-badge").AttrOr("class", ""), test.color)
			}
			var actions []string
			page.Find("form").Each(func(_ int, s *goquery.Selection) {
				actions = append(actions, strings.TrimPrefix(s.AttrOr("action", ""), prefix+"/"))
			})
			if diff := cmp.Diff(test.forms, actions); diff != "" {
				t.Errorf("forms (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCardNotConfiguredOffersToEnable(t *testing.T) {
	page := showCard(t, pages.Card{ReturnTo: "/reports?year=2026"})
	form := page.form("enable")
	wantText(t, "button", form.Find("button"), "Enable two-factor")
	wantAttrs(t, "return_to", form.Find("input[name=return_to]"), map[string]string{"value": "/reports?year=2026"})
	wantAttrs(t, "way back", page.Find("a.back"), map[string]string{"href": "/"})
	wantCount(t, "notices", page.hook("notice"), 0)
	wantCount(t, "errors", page.hook("error"), 0)
}

func TestCardRequiredShowsWhyAndHidesTheWayBack(t *testing.T) {
	page := showCard(t, pages.Card{RequiredNotice: true})
	wantText(t, "notice", page.hook("notice"),
		"Two-factor authentication is required by your organisation. Set it up to continue.")
	wantCount(t, "way back", page.Find("a.back"), 0)
	wantText(t, "way out", page.form("cancel").Find("button"), "Sign in as a different user")
}

func TestCardPendingShowsTheSecretWhereItMustBe(t *testing.T) {
	for name, given := range map[string]string{
		"in one piece": minted, "in groups": "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP",
	} {
		t.Run(name, func(t *testing.T) {
			page := showCard(t, pages.Card{State: pages.Pending, Secret: given, KeyURI: keyURI})
			wantText(t, "secret", page.hook("totp-secret"), "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP")
			if n := strings.Count(strings.ReplaceAll(page.html, " ", ""), minted); n != 2 {
				t.Errorf("the secret is in the page %d times, want 2: as text and in the app link", n)
			}
			wantAttrs(t, "app link", page.Find(".same-phone a"), map[string]string{"href": keyURI})
			wantText(t, "app link", page.Find(".same-phone a"), "Open in authenticator app")
		})
	}
}

func TestCardPendingAsksForTheCode(t *testing.T) {
	page := showCard(t, pages.Card{State: pages.Pending, Secret: minted, KeyURI: keyURI, ReturnTo: "/reports"})
	wantText(t, "steps", page.Find(".step-label").First(), "Step 1")
	wantText(t, "steps", page.Find(".step-label").Last(), "Step 2")
	form := page.form("confirm")
	wantAttrs(t, "code", form.Find("input[name=code]"), map[string]string{
		"type": "text", "inputmode": "numeric", "autocomplete": "one-time-code", "maxlength": "10", "required": "",
	})
	wantCount(t, "focus, which would scroll past the QR code", form.Find("[autofocus]"), 0)
	wantText(t, "button", form.Find("button"), "Confirm and enable")
	wantAttrs(t, "return_to", form.Find("input[name=return_to]"), map[string]string{"value": "/reports"})
	copyButton := page.Find(`button[data-copy="secret"]`)
	wantText(t, "copy button", copyButton, "Copy")
	wantAttrs(t, "copy button", copyButton, map[string]string{"type": "button", "hidden": ""})
}

func TestCardPendingWithAWrongCodeNamesTheField(t *testing.T) {
	page := showCard(t, pages.Card{
		State: pages.Pending, Secret: minted, KeyURI: keyURI, Error: "That code did not match.", ErrorField: "code",
	})
	wantText(t, "error", page.hook("error"), "That code did not match.")
	wantAttrs(t, "error", page.hook("error"), map[string]string{"role": "alert", "id": "error"})
	wantAttrs(t, "code", page.Find("input[name=code]"), map[string]string{
		"aria-invalid": "true", "aria-describedby": "code-hint error", "autofocus": "",
	})
}

func TestCardPendingDrawsTheKeyURI(t *testing.T) {
	page := showCard(t, pages.Card{State: pages.Pending, Secret: minted, KeyURI: keyURI})
	qr := page.hook("totp-qr")
	if qr.AttrOr("alt", "") == "" {
		t.Error("the QR code has no text alternative")
	}
	data, inline := strings.CutPrefix(qr.AttrOr("src", ""), "data:image/png;base64,")
	if !inline {
		t.Fatal("the QR code is not inline")
	}
	png, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		t.Fatal(err)
	}
	picture, _, err := image.Decode(bytes.NewReader(png))
	if err != nil {
		t.Fatal(err)
	}
	bitmap, err := gozxing.NewBinaryBitmapFromImage(picture)
	if err != nil {
		t.Fatal(err)
	}
	read, err := qrcode.NewQRCodeReader().Decode(bitmap, nil)
	if err != nil {
		t.Fatalf("reading the QR code: %v", err)
	}
	if got := read.GetText(); got != keyURI {
		t.Errorf("the QR code says %q, want %q", got, keyURI)
	}
	if level := read.GetResultMetadata()[gozxing.ResultMetadataType_ERROR_CORRECTION_LEVEL]; level != "M" {
		t.Errorf("error correction = %v, want M", level)
	}
	const quietZone = 4 * 6 // four modules of six pixels
	bounds := picture.Bounds()
	for x := range bounds.Dx() {
		for y := range quietZone {
			for _, row := range []int{y, bounds.Dy() - 1 - y} {
				if r, g, b, _ := picture.At(x, row).RGBA(); r&g&b != 0xffff {
					t.Fatalf("pixel %d,%d of the quiet zone is not white", x, row)
				}
			}
		}
	}
}

func TestCardEnabled(t *testing.T) {
	page := showCard(t, pages.Card{State: pages.Enabled, ConfirmedAt: confirmedAt, CodesLeft: 6})
	wantText(t, "date", page.Find("time"), "3 November 2026")
	wantAttrs(t, "date", page.Find("time"), map[string]string{"datetime": "2026-11-03T09:30:00Z"})
	if !strings.Contains(text(page.hook("two-factor-card")), "6 of 8 recovery codes left") {
		t.Error("the card does not count the recovery codes")
	}
	regenerate := page.form("recovery-codes")
	wantText(t, "regenerate", regenerate.Find("button"), "Regenerate recovery codes")
	wantAttrs(t, "regenerate", regenerate, map[string]string{
		"data-confirm": "Generate new recovery codes? Old codes will stop working immediately.",
	})
	wantText(t, "hint", regenerate.Find(".hint"), "Old codes will stop working immediately.")
	wantCount(t, "recovery codes", page.hook("recovery-codes"), 0)

	section := page.Find("details.danger")
	wantText(t, "summary", section.Find("summary"), "Disable two-factor")
	if _, open := section.Attr("open"); open {
		t.Error("the disable section is open")
	}
	wantText(t, "disable", section.Find("form button"), "Disable two-factor")
	wantText(t, "label", section.Find("label[for=password]"), "Current password")
	wantAttrs(t, "password", section.Find("input[name=password]"), map[string]string{
		"type": "password", "autocomplete": "current-password", "required": "",
	})
	username := section.Find("input[autocomplete=username]")
	wantAttrs(t, "user name", username, map[string]string{"value": account, "hidden": "", "readonly": ""})
	if name, named := username.Attr("name"); named {
		t.Errorf("the user name would be posted as %q", name)
	}
}

func TestCardWarnsWhenFewCodesAreLeft(t *testing.T) {
	for left, warns := range map[int]bool{0: true, 1: true, 2: true, 3: false, 8: false} {
		page := showCard(t, pages.Card{State: pages.Enabled, CodesLeft: left})
		if got := page.Find(".few").Length() == 1; got != warns {
			t.Errorf("with %d codes left the card warns: %v, want %v", left, got, warns)
		}
	}
}

func TestCardWithAWrongPasswordOpensTheSection(t *testing.T) {
	for name, test := range map[string]struct {
		asksCode bool
		field    string
	}{
		"password": {false, "password"},
		"code":     {true, "code"},
	} {
		t.Run(name, func(t *testing.T) {
			page := showCard(t, pages.Card{
				State: pages.Enabled, AsksCode: test.asksCode, ErrorField: test.field,
				Error: "Password did not match. Two-factor remains enabled.",
			})
			wantAttrs(t, "section", page.Find("details.danger"), map[string]string{"open": ""})
			wantText(t, "error", page.hook("error"), "Password did not match. Two-factor remains enabled.")
			wantCount(t, "fields", page.form("disable").Find("input:not([type=hidden]):not([hidden])"), 1)
			wantAttrs(t, "field", page.form("disable").Find("input[name="+test.field+"]"), map[string]string{
				"aria-invalid": "true", "aria-describedby": "error", "autofocus": "",
			})
		})
	}
}

func TestCardShowsAnErrorOfNoFieldAtTheTop(t *testing.T) {
	for name, c := range map[string]pages.Card{
		"no field":                    {},
		"field of another state":      {ErrorField: "code"},
		"field that is not asked for": {State: pages.Enabled, ErrorField: "code"},
	} {
		t.Run(name, func(t *testing.T) {
			c.Error = `No pending enrollment. Click "Enable" to start over`
			page := showCard(t, c)
			wantText(t, "error", page.hook("error"), c.Error)
			wantAttrs(t, "error", page.hook("error"), map[string]string{"role": "alert", "tabindex": "-1", "data-focus": ""})
			wantCount(t, "invalid fields", page.Find("[aria-invalid]"), 0)
		})
	}
}

func TestCardShowsNewCodesOnce(t *testing.T) {
	const notice = "Two-factor authentication is now active. Save your recovery codes — they're shown once."
	page := showCard(t, pages.Card{
		State: pages.Enabled, ConfirmedAt: confirmedAt, CodesAt: confirmedAt.AddDate(0, 0, 20), CodesLeft: 8,
		Codes: recoveryCodes, Notice: notice,
	})
	wantText(t, "notice", page.hook("notice"), notice)
	panel := page.hook("recovery-codes")
	wantText(t, "panel title", panel.Find("h2"), "Save these recovery codes — shown ONCE")
	var codes []string
	page.hook("recovery-code").Each(func(_ int, s *goquery.Selection) { codes = append(codes, text(s)) })
	if diff := cmp.Diff(recoveryCodes, codes); diff != "" {
		t.Errorf("codes (-want +got):\n%s", diff)
	}
	for _, code := range recoveryCodes {
		if n := strings.Count(page.html, code); n != 1 {
			t.Errorf("code %s is in the page %d times, want 1", code, n)
		}
	}
	wantText(t, "copy button", panel.Find("button[data-copy=codes]"), "Copy all codes")
	wantCount(t, "buttons that need the script, shown without it", panel.Find("button:not([hidden])"), 0)
	wantText(t, "date", panel.Find("time"), "23 November 2026")
	if !strings.Contains(text(panel), account) {
		t.Error("the panel does not say whose codes these are")
	}
	wantText(t, "way on", panel.Find("a"), "Done")
	wantAttrs(t, "way on", panel.Find("a"), map[string]string{"href": prefix})
	wantCount(t, "way back, past codes that are not saved", page.Find("a.back"), 0)

	page = showCard(t, pages.Card{State: pages.Enabled, Codes: recoveryCodes, ReturnTo: "/reports"})
	wantText(t, "way on", page.Find("a.onward"), "Continue")
	wantAttrs(t, "way on", page.Find("a.onward"), map[string]string{"href": "/reports"})
}

func TestCardDropsWhatItsStateMayNotShow(t *testing.T) {
	for _, state := range []pages.State{pages.NotConfigured, pages.Pending, pages.Enabled} {
		t.Run(state.String(), func(t *testing.T) {
			page := showCard(t, pages.Card{State: state, Secret: minted, KeyURI: keyURI, Codes: recoveryCodes})
			flat := strings.ReplaceAll(page.html, " ", "")
			if got, want := strings.Contains(flat, minted), state == pages.Pending; got != want {
				t.Errorf("secret in the page: %v, want %v", got, want)
			}
			if got, want := strings.Contains(page.html, recoveryCodes[0]), state == pages.Enabled; got != want {
				t.Errorf("codes in the page: %v, want %v", got, want)
			}
		})
	}
}

func TestLogoStandsInTheBar(t *testing.T) {
	s := site()
	s.LogoURL, s.Product = "/static/logo.svg", ""
	page := render(t, func(w http.ResponseWriter) error {
		return renderer(t, s).Message(w, http.StatusNotFound, pages.Message{Heading: "No such page"})
	})
	wantAttrs(t, "logo", page.Find("header img"), map[string]string{"src": "/static/logo.svg", "alt": ""})
	wantText(t, "product, by default the issuer", page.Find(".product"), "Acme")
}
