package browser_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/sallyport/sallyport/test/stack"
)

// TestEveryPage goes through every page in every state that it has, and holds each
// to what all must be. With -screenshots it draws them too.
func TestEveryPage(t *testing.T) {
	t.Parallel()
	if *screenshots != "" {
		if err := os.MkdirAll(*screenshots, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tour := tour{album{*screenshots}}
	t.Run("the card", tour.card)
	t.Run("tickets", tour.tickets)
	t.Run("the challenge", tour.challenge)
	t.Run("messages", tour.messages)
	t.Run("the portal", tour.portal)
}

type tour struct{ album album }

// shows checks a page, and draws it for the documents.
func (o tour) shows(p *person, name string) {
	p.t.Helper()
	o.album.draw(p, name)
	p.isSound(name)
}

// startSame runs the product at the same time and with the same random numbers
// whenever it is started, so that pictures change only where pages do.
func startSame(t *testing.T, options stack.Options) *workspace {
	t.Helper()
	options.Random = &repeating{source: rand.NewChaCha8([32]byte{})}
	w := prepare(t, time.Date(2026, time.March, 2, 9, 30, 10, 0, time.UTC), options)
	w.later(0)
	w.WaitReady(w.AddSidecar())
	return w
}

// repeating is a random source that begins anew with every test.
type repeating struct {
	mu     sync.Mutex
	source *rand.ChaCha8
}

// Read fills b.
func (r *repeating) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.source.Read(b)
}

func (o tour) card(t *testing.T) {
	t.Parallel()
	w := startSame(t, stack.Options{})
	alice := w.person()
	alice.signsIn("alice")
	alice.open(stack.Prefix)
	o.shows(alice, "card-not-configured")
	ph := alice.mints(w.clock)
	o.shows(alice, "card-pending")
	alice.write(codeField, ph.wrongCode())
	alice.follow("button", confirm)
	o.shows(alice, "card-pending-error")
	alice.tab().open(stack.Prefix)
	alice.write(codeField, ph.code())
	alice.follow("button", confirm)
	alice.reads("error", noPending)
	alice.isSound("card-nothing-pending")

	ph = alice.mints(w.clock)
	codes := alice.confirms(ph)
	o.shows(alice, "card-codes")
	alice.follow("link", "Done")
	o.shows(alice, "card-enabled")
	alice.click("DisclosureTriangle", disable)
	o.shows(alice, "card-disable-open")
	alice.write(password, "not-the-password")
	alice.follow("button", disable)
	o.shows(alice, "card-disable-error")
	for _, code := range codes[:6] {
		lostPhone := w.NewBrowser()
		challenge := lostPhone.Follow(lostPhone.SignIn("alice", "alice-demo"))
		if page := lostPhone.Submit(challenge, "/challenge", map[string]string{"recovery_code": code}); page.Status != http.StatusSeeOther {
			t.Fatalf("a recovery code answered %d", page.Status)
		}
	}
	alice.open(stack.Prefix)
	alice.sees("2 of 8 recovery codes left. Generate new ones before you need them.")
	o.shows(alice, "card-few-codes")
	alice.click("DisclosureTriangle", disable)
	alice.write(password, "alice-demo")
	alice.follow("button", disable)
	alice.isSound("card-disabled")

	w.requires(stack.Policy{Everyone: true})
	alice.open("/my/documents")
	alice.mustEnrol()
	o.shows(alice, "card-required")
	alice.mints(w.clock)
	alice.isSound("card-required-pending")
}

func (o tour) tickets(t *testing.T) {
	t.Parallel()
	w := startSame(t, stack.Options{Policy: byTicket})
	alice := w.person()
	alice.signsIn("alice")
	alice.open(stack.Prefix)
	o.shows(alice, "card-ticket")
	alice.write(ticketField, strings.Repeat("0", 32))
	alice.follow("button", enable)
	o.shows(alice, "card-ticket-error")
}

func (o tour) challenge(t *testing.T) {
	t.Parallel()
	w := startSame(t, stack.Options{})
	alice := w.person()
	alice.signsIn("alice")
	ph, _ := alice.enrols(w.clock)
	alice.open("/my")
	alice.signsOut()
	alice.signsIn("alice")
	alice.challenged()
	o.shows(alice, "challenge")
	alice.click("DisclosureTriangle", lostPhone)
	o.shows(alice, "challenge-recovery")
	alice.write(recoveryField, "AAAA-AAAA")
	alice.follow("button", useRecovery)
	o.shows(alice, "challenge-recovery-error")

	w.nextCode()
	for range 5 {
		alice.write(codeField, ph.wrongCode())
		alice.follow("button", verify)
	}
	alice.reads("error", noMatch)
	o.shows(alice, "challenge-error")
	alice.write(codeField, ph.wrongCode())
	alice.follow("button", verify)
	o.shows(alice, "challenge-locked")
	w.nextCode()
	alice.passes(ph.code(), "/my")

	w.later(20 * time.Minute)
	alice.open(stack.Prefix)
	alice.answering(true)
	alice.follow("button", regenerate)
	alice.find("heading", "Confirm it's you")
	o.shows(alice, "challenge-again")

	switchOffCodes(w, ph.wrongCode())
	alice.open("/my")
	alice.challenged()
	alice.write(codeField, ph.code())
	alice.follow("button", verify)
	if alice.offers("textbox", codeField) {
		t.Fatal("authenticator codes are still on")
	}
	o.shows(alice, "challenge-codes-off")
}

// switchOffCodes gives fifty wrong codes in a row, each as soon as it may be given.
func switchOffCodes(w *workspace, wrong string) {
	w.t.Helper()
	guesser := w.NewBrowser()
	challenge := guesser.Follow(guesser.SignIn("alice", "alice-demo"))
	for range 50 {
		guesser.Submit(challenge, "/challenge", map[string]string{"code": wrong})
		w.later(time.Hour)
	}
}

func (o tour) messages(t *testing.T) {
	t.Parallel()
	var down atomic.Value
	down.Store("nothing")
	w := startSame(t, stack.Options{OnRequest: func(r *http.Request) {
		if strings.HasPrefix(r.URL.Path, down.Load().(string)) {
			panic(http.ErrAbortHandler)
		}
	}})
	alice := w.person()
	says := func(status int64, heading string) {
		t.Helper()
		if status < 400 {
			t.Errorf("%q was said with status %d", heading, status)
		}
		alice.find("heading", heading)
		alice.isSound(heading)
	}
	alice.signsIn("alice")
	says(alice.open(stack.Prefix+"/no-such-page"), "No such page")

	alice.open(stack.Prefix)
	if _, err := chromedp.Call(alice.ctx, network.DeleteCookies, network.DeleteCookiesParams{Name: "sallyport", URL: w.URL()}); err != nil {
		t.Fatal(err)
	}
	says(alice.follow("button", enable), "This page is out of date")

	down.Store("/my/documents")
	says(alice.open("/my/documents"), "The app does not answer")
	down.Store("/")
	w.later(time.Minute) // who alice is is remembered for some seconds
	says(alice.open("/my/live"), "We could not check who you are")
	down.Store("nothing")

	w.Redis.SetError("LOADING Redis is loading the dataset in memory")
	says(alice.open("/my/profile"), "Two-factor is not available right now")
	o.shows(alice, "unavailable")
	w.Redis.SetError("")
	alice.open("/my/profile")
	alice.isAt("/my/profile")
}

func (o tour) portal(t *testing.T) {
	t.Parallel()
	w := startSame(t, stack.Options{})
	alice := w.person()
	for _, path := range []string{"/", "/about"} {
		alice.open(path)
		alice.isSound(path)
	}
	alice.open("/login")
	o.shows(alice, "portal-sign-in")
	alice.write("User name or e-mail", "alice")
	alice.write("Password", "wrong")
	alice.follow("button", "Sign in")
	alice.isSound("a refused sign-in")
	alice.signsIn("alice")
	alice.wait(`document.querySelectorAll("[data-testid=task]").length === 3`)
	alice.isSound("/my")
	alice.profile()
	alice.isSound("/my/profile, not configured")
	setUp := alice.tab()
	setUp.open(stack.Prefix)
	ph := setUp.mints(w.clock)
	alice.profile()
	alice.isSound("/my/profile, pending")
	setUp.confirms(ph)
	alice.profile()
	o.shows(alice, "portal-profile")

	alice.open("/my/documents")
	alice.isSound("/my/documents")
	alice.uploads("A file with quite a long name, as people give them.txt")
	alice.isSound("/my/documents with an upload")
	alice.open("/my/live")
	alice.wait(`document.querySelector('[data-testid="chat-state"]').textContent === "Connected" &&
		document.querySelector('[data-testid="clock-state"]').textContent === "Connected"`)
	alice.isSound("/my/live")
	alice.open("/my/no-such-page")
	alice.isSound("a page that is not there")
	alice.open("/admin")
	alice.find("heading", "No access")
	alice.isSound("a page for administrators")

	adam := w.person()
	adam.signsIn("adam")
	adam.open("/admin")
	adam.isSound("/admin")
}

// uploads hands in a file on the documents page.
func (p *person) uploads(name string) {
	p.t.Helper()
	path := filepath.Join(p.t.TempDir(), name)
	if err := os.WriteFile(path, []byte("hello"), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		field, err := cdp.Call(ctx, target, runtime.Evaluate, runtime.EvaluateParams{Expression: `document.getElementById("file")`})
		if err != nil {
			return err
		}
		_, err = cdp.Call(ctx, target, dom.SetFileInputFiles, dom.SetFileInputFilesParams{
			Files: []string{path}, ObjectID: field.Result.ObjectID,
		})
		return err
	}))
	if status := p.follow("button", "Upload"); status != http.StatusOK || p.text("documents") == "" {
		p.t.Fatalf("the upload answered %d", status)
	}
}
