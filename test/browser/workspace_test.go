package browser_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/cmd/workspace/portal"
	"github.com/sallyport/sallyport/test/stack"
)

// workspace is the running product with the time in the test's hands.
type workspace struct {
	*stack.Stack

	t     *testing.T
	clock *clock
}

// app is one portal for all tests: it hashes its users' passwords when it is built,
// which takes long, and what it remembers of a person hangs on their session.
var app = sync.OnceValues(func() (*portal.Portal, error) {
	return portal.New(portal.Config{Users: portal.DemoUsers(), Clock: time.Now})
})

// prepare runs the product but for its sidecars, at the given time.
func prepare(t *testing.T, now time.Time, options stack.Options) *workspace {
	t.Helper()
	portal, err := app()
	if err != nil {
		t.Fatal(err)
	}
	w := &workspace{t: t, clock: &clock{now: now}}
	options.App, options.Clock = portal.Handler(), w.clock.Now
	w.Stack = stack.Prepare(t, options)
	return w
}

// start runs the product.
func start(t *testing.T, options stack.Options) *workspace {
	t.Helper()
	w := prepare(t, time.Now(), options)
	for range max(1, options.Sidecars) {
		w.WaitReady(w.AddSidecar())
	}
	return w
}

// later moves the time, for the store too.
func (w *workspace) later(by time.Duration) {
	w.Redis.SetTime(w.clock.advance(by))
}

// nextCode moves on to the next step, and so to the next code.
func (w *workspace) nextCode() { w.later(step) }

// requires changes who needs a second factor and waits until every sidecar obeys.
func (w *workspace) requires(p stack.Policy) {
	w.t.Helper()
	before := make([]string, len(w.Sidecars))
	for i, sidecar := range w.Sidecars {
		before[i] = generation(w.t, sidecar)
	}
	w.SetPolicy(p)
	for i, sidecar := range w.Sidecars {
		w.Eventually("the new policy is in force", func() bool { return generation(w.t, sidecar) != before[i] })
	}
}

// generation of the policy in force, as the sidecar's metrics tell it.
func generation(t *testing.T, sidecar *stack.Sidecar) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, sidecar.OpsURL+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	metrics, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(metrics)) {
		if value, ok := strings.CutPrefix(line, "sallyport_policy_generation "); ok {
			return value
		}
	}
	t.Fatal("the metrics name no policy generation")
	return ""
}

// person opens a private window at the first sidecar.
func (w *workspace) person() *person {
	w.t.Helper()
	return newPerson(w.t, w.URL())
}

// What the guide and the pages call things.
const (
	enable    = "Enable two-factor"
	confirm   = "Confirm and enable"
	codeField = "6-digit code"
	verify    = "Verify and sign in"

	ticketField = "Enrolment ticket"
	wrongTicket = "That ticket is not valid. Check it, or ask your administrator for a new one."

	lostPhone     = "Lost your phone? Use a recovery code"
	recoveryField = "Recovery code"
	useRecovery   = "Use recovery code"
	someoneElse   = "Sign in as a different user"

	regenerate = "Regenerate recovery codes"
	disable    = "Disable two-factor"
	password   = "Current password"

	activeNotice   = "Two-factor authentication is now active. Save your recovery codes — they're shown once."
	requiredNotice = "Two-factor authentication is required by your organisation. Set it up to continue."
	noMatch        = "That code did not match. Wait for the next code your app generates and enter it."
	noPending      = `No pending enrollment. Click "Enable" to start over`
)

// signsIn goes to the portal's sign-in page and gives the demo password.
func (p *person) signsIn(user string) {
	p.t.Helper()
	p.open("/login")
	p.givesPassword(user)
}

func (p *person) givesPassword(user string) {
	p.t.Helper()
	p.write("User name or e-mail", user)
	p.write("Password", user+"-demo")
	p.follow("button", "Sign in")
}

// signsOut uses the button in the portal's header.
func (p *person) signsOut() {
	p.t.Helper()
	p.follow("button", "Sign out")
	if got := p.at(); got != "/login" {
		p.t.Fatalf("signing out led to %s", got)
	}
}

// mints asks for a secret and takes it over by typing it, as somebody does whose
// camera struggles.
func (p *person) mints(clock *clock) *phone {
	p.t.Helper()
	if status := p.follow("button", enable); status != http.StatusOK {
		p.t.Fatalf("%s answered %d", enable, status)
	}
	p.inState("pending")
	return &phone{t: p.t, clock: clock, secret: strings.ReplaceAll(p.text("totp-secret"), " ", "")}
}

// confirms types the phone's code and returns the recovery codes.
func (p *person) confirms(ph *phone) []string {
	p.t.Helper()
	p.write(codeField, ph.code())
	if status := p.follow("button", confirm); status != http.StatusOK {
		p.t.Fatalf("%s answered %d", confirm, status)
	}
	p.inState("enabled")
	return p.texts("recovery-code")
}

// enrols does all of it, beginning at any page.
func (p *person) enrols(clock *clock) (*phone, []string) {
	p.t.Helper()
	p.open(stack.Prefix)
	p.inState("not-configured")
	ph := p.mints(clock)
	return ph, p.confirms(ph)
}

// passes types a code into the challenge, and arrives at the given place.
func (p *person) passes(code, destination string) {
	p.t.Helper()
	p.challenged()
	p.write(codeField, code)
	if status := p.follow("button", verify); status != http.StatusOK {
		p.t.Fatalf("%s answered %d: %s", verify, status, p.text("error"))
	}
	p.isAt(destination)
}

// passesWithRecovery types a recovery code into the challenge.
func (p *person) passesWithRecovery(code, destination string) {
	p.t.Helper()
	p.challenged()
	p.click("DisclosureTriangle", lostPhone)
	p.write(recoveryField, code)
	if status := p.follow("button", useRecovery); status != http.StatusOK {
		p.t.Fatalf("%s answered %d: %s", useRecovery, status, p.text("error"))
	}
	p.isAt(destination)
}

// challenged fails unless this is the challenge, in the guide's words.
func (p *person) challenged() {
	p.t.Helper()
	if !strings.HasPrefix(p.at(), stack.Prefix+"/challenge") || len(p.texts("challenge-card")) != 1 {
		p.t.Fatalf("not challenged at %s", p.at())
	}
	p.sees("Two-factor verification", "Password accepted. Enter your code to continue.")
}

func (p *person) isAt(want string) {
	p.t.Helper()
	if got := p.at(); got != want {
		p.t.Fatalf("arrived at %s, want %s", got, want)
	}
}

// inState fails unless the card is in that state, with its badge.
func (p *person) inState(want string) {
	p.t.Helper()
	if got := p.attribute(`[data-testid="two-factor-card"]`, "data-state"); got != want {
		p.t.Fatalf("the card's state at %s is %q, want %q; error: %q", p.at(), got, want, p.text("error"))
	}
	p.reads("state-badge", map[string]string{
		"not-configured": "Not configured", "pending": "Pending confirmation", "enabled": "Enabled",
	}[want])
}
