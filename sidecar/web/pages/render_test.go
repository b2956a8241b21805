package pages_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"

	"github.com/sallyport/sallyport/sidecar/web/pages"
)

const (
	prefix  = "/my/profile/two-factor"
	account = "ada@example.com"
	minted  = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	keyURI  = "otpauth://totp/Acme%20Workspace:ada@example.com?secret=" + minted +
		"&issuer=Acme%20Workspace&algorithm=SHA1&digits=6&period=30"
)

var (
	confirmedAt   = time.Date(2026, time.November, 3, 9, 30, 0, 0, time.UTC)
	recoveryCodes = []string{
		"K7QM-4XTR", "W9HD-PC3V", "6RTN-YJ8F", "MX4K-2QWE", "V8PC-H6DG", "3JYT-NR7K", "QF9W-XM4H", "D2GV-8CPT",
	}
	tokens = map[string]string{
		"enable": "token-enable", "confirm": "token-confirm", "recovery-codes": "token-recovery-codes",
		"disable": "token-disable", "cancel": "token-cancel", "challenge": "token-challenge",
	}
)

func site() pages.Site {
	return pages.Site{
		Prefix: prefix, Product: "Acme Workspace", Issuer: "Acme", SupportURL: "https://acme.example/help", SignInPath: "/login",
	}
}

func renderer(t *testing.T, s pages.Site) *pages.Renderer {
	t.Helper()
	r, err := pages.New(s)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return r
}

// answer is one rendered page.
type answer struct {
	*goquery.Document
	*httptest.ResponseRecorder
	html string
}

// render runs one of the renderer's methods and parses what it wrote.
func render(t *testing.T, write func(w http.ResponseWriter) error) answer {
	t.Helper()
	w := httptest.NewRecorder()
	if err := write(w); err != nil {
		t.Fatalf("rendering: %v", err)
	}
	html := w.Body.String()
	doc, err := goquery.NewDocumentFromReader(strings.NewReader(html))
	if err != nil {
		t.Fatalf("parsing the page: %v", err)
	}
	return answer{Document: doc, ResponseRecorder: w, html: html}
}

// showCard renders a card with the account and all tokens filled in.
func showCard(t *testing.T, c pages.Card) answer {
	t.Helper()
	c.Account, c.Tokens = account, tokens
	return render(t, func(w http.ResponseWriter) error { return renderer(t, site()).Card(w, http.StatusOK, c) })
}

// showChallenge renders a challenge with the account and all tokens filled in.
func showChallenge(t *testing.T, c pages.Challenge) answer {
	t.Helper()
	c.Account, c.Tokens = account, tokens
	return render(t, func(w http.ResponseWriter) error { return renderer(t, site()).Challenge(w, http.StatusOK, c) })
}

// hook finds the elements that tests and integrators rely on.
func (a answer) hook(name string) *goquery.Selection { return a.Find(`[data-testid="` + name + `"]`) }

// form finds the forms that post to an action.
func (a answer) form(action string) *goquery.Selection {
	return a.Find(`form[method="post"][action="` + prefix + "/" + action + `"]`)
}

// text is what a person reads in a selection.
func text(s *goquery.Selection) string { return strings.Join(strings.Fields(s.Text()), " ") }

// wantText fails unless exactly one element is selected and reads as wanted.
func wantText(t *testing.T, what string, s *goquery.Selection, want string) {
	t.Helper()
	if s.Length() != 1 {
		t.Fatalf("%s: %d elements, want 1", what, s.Length())
	}
	if got := text(s); got != want {
		t.Errorf("%s = %q, want %q", what, got, want)
	}
}

// wantCount fails unless a selection has as many elements as wanted.
func wantCount(t *testing.T, what string, s *goquery.Selection, want int) {
	t.Helper()
	if s.Length() != want {
		t.Errorf("%s: %d elements, want %d", what, s.Length(), want)
	}
}

// wantAttrs fails unless an element has all attributes with their values.
func wantAttrs(t *testing.T, what string, s *goquery.Selection, want map[string]string) {
	t.Helper()
	if s.Length() != 1 {
		t.Fatalf("%s: %d elements, want 1", what, s.Length())
	}
	for name, value := range want {
		if got, has := s.Attr(name); !has || got != value {
			t.Errorf("%s: %s = %q (present: %v), want %q", what, name, got, has, value)
		}
	}
}

// everyPage is every state that a person can see, by name.
func everyPage() map[string]func(*pages.Renderer, http.ResponseWriter) error {
	all := make(map[string]func(*pages.Renderer, http.ResponseWriter) error)
	for name, c := range map[string]pages.Card{
		"not configured":           {},
		"not configured, required": {RequiredNotice: true, ReturnTo: "/reports"},
		"not configured, notice":   {Notice: "Two-factor authentication is now off."},
		"not configured, error":    {Error: "Start over.", RetryAfter: 5},
		"pending":                  {State: pages.Pending, Secret: minted, KeyURI: keyURI},
		"pending, error":           {State: pages.Pending, Secret: minted, KeyURI: keyURI, Error: "No.", ErrorField: "code"},
		"enabled":                  {State: pages.Enabled, ConfirmedAt: confirmedAt, CodesLeft: 6},
		"enabled, few codes":       {State: pages.Enabled, ConfirmedAt: confirmedAt, CodesLeft: 1},
		"enabled, new codes":       {State: pages.Enabled, ConfirmedAt: confirmedAt, CodesLeft: 8, Codes: recoveryCodes},
		"enabled, wrong password":  {State: pages.Enabled, Error: "No.", ErrorField: "password"},
		"enabled, wrong code":      {State: pages.Enabled, Error: "No.", ErrorField: "code", AsksCode: true},
	} {
		c.Account, c.Tokens = account, tokens
		all["card: "+name] = func(r *pages.Renderer, w http.ResponseWriter) error { return r.Card(w, http.StatusOK, c) }
	}
	for name, c := range map[string]pages.Challenge{
		"plain":               {ReturnTo: "/reports"},
		"wrong code":          {Error: "No.", ErrorField: "code"},
		"wrong recovery code": {Error: "No.", ErrorField: "recovery_code"},
		"codes switched off":  {TOTPOff: true},
		"locked":              {Error: "Wait.", RetryAfter: 240},
		"step-up":             {StepUp: true},
	} {
		c.Account, c.Tokens = account, tokens
		all["challenge: "+name] = func(r *pages.Renderer, w http.ResponseWriter) error {
			return r.Challenge(w, http.StatusOK, c)
		}
	}
	all["message"] = func(r *pages.Renderer, w http.ResponseWriter) error {
		return r.Message(w, http.StatusServiceUnavailable, pages.Message{
			Heading: "Not available", Text: "Try again.", ActionText: "Try again", ActionHref: prefix,
			Reference: "01JD8F2K7Q3W", RetryAfter: 10,
		})
	}
	return all
}
