package pages_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/sallyport/sallyport/sidecar/web/pages"
)

// hostile are strings that would become something else than text in one place
// of a page or another.
var hostile = map[string]string{
	"closes an attribute":       `"><script>alert(1)</script><img src=x onerror=alert(1)>`,
	"closes one in quotes":      `' autofocus onfocus='alert(1)`,
	"follows an attribute":      "x onmouseover=alert(1) style=color:red",
	"closes the title":          `</title><b>bold</b>`,
	"closes its own element":    `</p></strong></li></code></section></main><form action=//evil.example>`,
	"opens a comment":           `<!-- x --!> <![CDATA[ ]]> --> <?x ?>`,
	"is encoded already":        `&lt;b&gt;&quot;&#34; onclick=&quot;x&amp;`,
	"has line breaks and a tab": "a\nb\r\nc\td onclick=x",
	"has a NUL":                 "a\x00<\x00b>\"\x00",
	"is a script URL":           "javascript:alert(1)",
	"is a template":             "{{.}}{ v.Error }@templ.Raw`${x}`",
	"is not UTF-8":              "\xff\"\xc0\xbc<b>\xe2\x80\xa8",
}

// fill puts a string into every text of a view model, so that none is forgotten:
// what only chooses among states stays. Paths and the key URI begin as they must.
func fill(t *testing.T, model any, s string) {
	t.Helper()
	flat := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`\?#%`, r) {
			return '-'
		}
		return r
	}, s)
	v := reflect.ValueOf(model).Elem()
	for i := range v.NumField() {
		name, field := v.Type().Field(i).Name, v.Field(i)
		switch {
		case name == "ErrorField":
		case name == "Prefix", name == "LogoURL", name == "SignInPath", name == "ReturnTo", name == "ActionHref":
			field.SetString("/x/" + flat)
		case name == "SupportURL":
			field.SetString("https://acme.example/" + flat)
		case name == "KeyURI":
			field.SetString(keyURI + s)
		case field.Kind() == reflect.String:
			field.SetString(s)
		case field.Kind() == reflect.Slice:
			field.Set(reflect.ValueOf([]string{s}))
		case field.Kind() == reflect.Map:
			all := make(map[string]string)
			for action := range tokens {
				all[action] = s
			}
			field.Set(reflect.ValueOf(all))
		}
	}
}

// filled is every page with a string in each of its places.
func filled(t *testing.T, s string) map[string]answer {
	t.Helper()
	var surroundings pages.Site
	fill(t, &surroundings, s)
	r := renderer(t, surroundings)
	all := make(map[string]answer)
	for name, c := range map[string]pages.Card{
		"not configured":           {RequiredNotice: true},
		"pending":                  {State: pages.Pending},
		"pending, wrong code":      {State: pages.Pending, ErrorField: "code"},
		"enabled, wrong password":  {State: pages.Enabled, ErrorField: "password"},
		"enabled, asks for a code": {State: pages.Enabled, AsksCode: true, CodesAt: confirmedAt},
	} {
		fill(t, &c, s)
		all["card: "+name] = render(t, func(w http.ResponseWriter) error { return r.Card(w, 200, c) })
	}
	for name, c := range map[string]pages.Challenge{
		"wrong code":          {ErrorField: "code"},
		"wrong recovery code": {ErrorField: "recovery_code"},
		"no field":            {StepUp: true},
		"codes switched off":  {TOTPOff: true},
	} {
		fill(t, &c, s)
		all["challenge: "+name] = render(t, func(w http.ResponseWriter) error { return r.Challenge(w, 200, c) })
	}
	var m pages.Message
	fill(t, &m, s)
	all["message"] = render(t, func(w http.ResponseWriter) error { return r.Message(w, 400, m) })
	return all
}

// skeleton lists the elements of a page in their order and depth, with the names
// of their attributes: all that is not text.
func skeleton(page answer) []string {
	var bones []string
	var walk func(n *html.Node, depth int)
	walk = func(n *html.Node, depth int) {
		if n.Type != html.TextNode {
			bone := strings.Repeat(" ", depth)
			if n.Type == html.ElementNode {
				bone += n.Data
			} else {
				bone += fmt.Sprintf("type %d", n.Type)
			}
			for _, attr := range n.Attr {
				bone += " " + attr.Key
			}
			bones = append(bones, bone)
		}
		for child := range n.ChildNodes() {
			walk(child, depth+1)
		}
	}
	walk(page.Nodes[0], 0)
	return bones
}

func TestHostileStringsStayText(t *testing.T) {
	harmless := filled(t, "harmless")
	for name, s := range hostile {
		t.Run(name, func(t *testing.T) {
			for name, page := range filled(t, s) {
				if diff := cmp.Diff(skeleton(harmless[name]), skeleton(page)); diff != "" {
					t.Errorf("%s: elements and attributes (-harmless +hostile):\n%s", name, diff)
				}
				if got, want := text(page.Find(".product")), asShown(s); got != want {
					t.Errorf("%s: product reads %q, want %q", name, got, want)
				}
				wantNoStrayLinks(t, page)
			}
		})
	}
}

// asShown is a string as the page shows it: its own words, with NUL made visible.
func asShown(s string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(s, "\x00", "\uFFFD")), " ")
}

// wantNoStrayLinks fails on a link that leads elsewhere than the page meant, and
// on one that was put in place of what could not stand there.
func wantNoStrayLinks(t *testing.T, page answer) {
	t.Helper()
	for _, attr := range []string{"href", "src", "action"} {
		page.Find("[" + attr + "]").Each(func(_ int, s *goquery.Selection) {
			link := s.AttrOr(attr, "")
			for _, begins := range []string{"/x/", "https://acme.example/", "data:image/png;base64,", keyURI} {
				if strings.HasPrefix(link, begins) {
					return
				}
			}
			if link != "/" && link != "#content" {
				t.Errorf("%s of <%s> is %q", attr, goquery.NodeName(s), link)
			}
		})
	}
}

// A quote or a space in a link would be no hole, for it is escaped as markup
// too; but what reads the link next may be less careful.
func TestLinksHoldWhatAURLMayHold(t *testing.T) {
	s := site()
	s.Prefix = "/my (two)'\"<é"
	s.SupportURL = "mailto:help@acme.example?subject=a b&body='x'"
	s.LogoURL = "/logo `1`.svg?a=1&b=%41"
	const (
		encodedPrefix = "/my%20%28two%29%27%22%3c%c3%a9"
		returnTo      = "/r?year=2026&name=é 'x'+%41%zz#(1)"
		encodedReturn = "/r?year=2026&name=%c3%a9%20%27x%27+%41%25zz#%281%29"
	)
	card := func(c pages.Card) answer {
		c.Tokens, c.ReturnTo = tokens, returnTo
		return render(t, func(w http.ResponseWriter) error { return renderer(t, s).Card(w, 200, c) })
	}
	page := card(pages.Card{State: pages.Pending, Secret: minted, KeyURI: keyURI + "&x='\"<é \n%41%zz"})
	for what, want := range map[string]string{
		"footer a":          "mailto:help@acme.example?subject=a%20b&body=%27x%27",
		".same-phone a":     keyURI + "&x=%27%22%3c%c3%a9%20%0a%41%25zz",
		".actions a":        encodedPrefix + "?return_to=%2fr%3fyear%3d2026%26name%3d%c3%a9%20%27x%27%2b%2541%25zz%23%281%29",
		"link[rel=icon]":    encodedPrefix + strings.TrimPrefix(assetPaths(t)["image/svg+xml"], prefix),
		"header .brand img": "/logo%20%601%60.svg?a=1&b=%41",
		"main form":         encodedPrefix + "/confirm",
	} {
		found := page.Find(what)
		got := found.AttrOr("href", found.AttrOr("src", found.AttrOr("action", "")))
		if got != want {
			t.Errorf("%s leads to %q, want %q", what, got, want)
		}
	}
	// A value that is no link is what it is.
	wantAttrs(t, "return_to", page.Find("input[name=return_to]"), map[string]string{"value": returnTo})
	wantAttrs(t, "home", page.Find("body"), map[string]string{"data-home": s.Prefix})
	page = card(pages.Card{State: pages.Enabled, Codes: recoveryCodes})
	wantAttrs(t, "way on", page.Find("a.onward"), map[string]string{"href": encodedReturn})
}

// What goes around templ's escaping stands in Go, where its reason stands beside it.
func TestMarkupGoesAroundNoEscaping(t *testing.T) {
	files, err := filepath.Glob("*.templ")
	if err != nil || len(files) == 0 {
		t.Fatalf("Glob = %v, %v", files, err)
	}
	around := regexp.MustCompile(`(?m)templ\.\w+|^(css|script) .*|<style.*|\sstyle=.*|\son\w+=.*|<script[^>]*>[^<].*`)
	for _, file := range files {
		markup, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range around.FindAllString(string(markup), -1) {
			t.Errorf("%s has %s", file, found)
		}
	}
}
