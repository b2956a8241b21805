// Package pages turns view models into the pages that the sidecar shows to
// people: the two-factor card, the challenge, and messages such as error
// pages. It holds their markup, their style sheet, their script and their
// icons, and it decides the headers under which they travel.
//
// The markup is in *.templ; make generate compiles it to *_templ.go. That is why
// html/template is not here: it calls methods by name, and so the linker would
// keep every method of every type in the sidecar.
//
// It imports the standard library, templ's runtime and a QR encoder only. It knows no request,
// no policy and no store: whoever calls it has already decided what a person
// may see. It must never log, never read a clock, and never write a byte of a
// page before the whole page has been rendered.
//
// Pages contain no inline script and no inline style, because the policy in
// their headers forbids both. Everything works without JavaScript; the script
// adds Copy buttons, a confirmation dialog and a countdown.
package pages

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/a-h/templ"
)

// Site is what all pages of one policy have in common.
type Site struct {
	// Prefix is the path under which the sidecar serves its pages, such as
	// /my/profile/two-factor. It has no slash at its end.
	Prefix string
	// Product names the protected app in the top bar. Default: Issuer.
	Product string
	// LogoURL is a same-origin path to a logo, or empty.
	LogoURL string
	// SupportURL is where "Contact support" leads: an https or mailto URL, a
	// same-origin path, or empty.
	SupportURL string
	// Issuer is the name under which an authenticator app files the account.
	Issuer string
	// SignInPath is the app's sign-in page.
	SignInPath string
}

// validate reports every fault of a site. The policy's own validation has run
// before; this one keeps a bad link from reaching a page all the same.
func (s Site) validate() error {
	var faults []error
	if !isLocal(s.Prefix) || s.Prefix == "/" || strings.HasSuffix(s.Prefix, "/") || strings.ContainsAny(s.Prefix, "?#%") {
		faults = append(faults, fmt.Errorf("prefix %q is not a plain path without a slash at its end", s.Prefix))
	}
	if s.Product == "" {
		faults = append(faults, errors.New("product name is empty"))
	}
	if s.LogoURL != "" && !isLocal(s.LogoURL) {
		faults = append(faults, fmt.Errorf("logo URL %q is not a same-origin path", s.LogoURL))
	}
	if s.SupportURL != "" && !isSupport(s.SupportURL) {
		faults = append(faults, fmt.Errorf("support URL %q is neither https, mailto nor a same-origin path", s.SupportURL))
	}
	if s.SignInPath != "" && !isLocal(s.SignInPath) {
		faults = append(faults, fmt.Errorf("sign-in path %q is not a same-origin path", s.SignInPath))
	}
	return errors.Join(faults...)
}

// Renderer writes the pages of one site. It is immutable and safe for
// concurrent use.
type Renderer struct {
	site   Site
	assets assets
}

// New checks a site and names its assets.
func New(site Site) (*Renderer, error) {
	if site.Product == "" {
		site.Product = site.Issuer
	}
	if err := site.validate(); err != nil {
		return nil, fmt.Errorf("checking the site of the pages: %w", err)
	}
	assets, err := loadAssets(site.Prefix)
	if err != nil {
		return nil, err
	}
	return &Renderer{site: site, assets: assets}, nil
}

// frame is what the layout around every page needs.
type frame struct {
	Site   Site
	Assets assets
	// Title is the document's title.
	Title string
	// Layout is a class of the body: "wide" for the card, "narrow" else.
	Layout string
	// Back says whether "/" is a place this person can go to now.
	Back bool
	// HasCodes marks the page whose print-out is the recovery codes alone.
	HasCodes bool
	// tokens holds the CSRF token for each action.
	tokens map[string]string
}

// Token returns the CSRF token of an action. A form without one could only
// ever be refused, so a missing token fails the page.
func (f frame) Token(action string) (string, error) {
	token := f.tokens[action]
	if token == "" {
		return "", fmt.Errorf("no CSRF token for action %q", action)
	}
	return token, nil
}

// Action returns where the form of an action is posted.
func (f frame) Action(name string) string { return link(f.Site.Prefix + "/" + name) }

// bodyClass returns the classes of the body.
func (f frame) bodyClass() string {
	if f.HasCodes {
		return f.Layout + " has-codes"
	}
	return f.Layout
}

// describedBy names what describes a field: its hint, if it has one, and the
// error, once what was entered is wrong.
func describedBy(hint string, wrong bool) string {
	if wrong {
		return strings.TrimSpace(hint + " error")
	}
	return hint
}

// write renders into memory first, so that a fault never leaves half a page
// with a status of success behind. On error nothing has been written.
func write(w http.ResponseWriter, status int, page templ.Component) error {
	var rendered bytes.Buffer
	// Rendering waits for nothing, so that no request could end it early.
	if err := page.Render(context.Background(), &rendered); err != nil {
		return fmt.Errorf("rendering page: %w", err)
	}
	// A browser drops NUL from text, and a name that holds one would read like
	// another name. No markup has any, so they are made visible here, once.
	body := bytes.NewBuffer(bytes.ReplaceAll(rendered.Bytes(), []byte{0}, []byte("\uFFFD")))
	SetHeaders(w.Header())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", "en")
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	if _, err := body.WriteTo(w); err != nil {
		return fmt.Errorf("writing page: %w", err)
	}
	return nil
}

// isLocal reports whether a reference can only lead to this origin. Browsers
// read "//" and "/\" as the start of a host, and drop tabs and line breaks
// before they look.
func isLocal(ref string) bool {
	if !strings.HasPrefix(ref, "/") || strings.HasPrefix(ref, "//") {
		return false
	}
	if strings.ContainsFunc(ref, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
		return false
	}
	u, err := url.Parse(ref)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil
}

// isSupport reports whether a reference may stand behind "Contact support".
func isSupport(ref string) bool {
	if isLocal(ref) {
		return true
	}
	u, err := url.Parse(ref)
	return err == nil && (u.Scheme == "https" && u.Host != "" || u.Scheme == "mailto" && u.Opaque != "")
}

// localOr returns ref when it stays on this origin, and otherwise instead.
func localOr(ref, instead string) string {
	if isLocal(ref) {
		return ref
	}
	return instead
}
