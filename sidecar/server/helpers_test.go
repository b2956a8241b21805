package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/sallyport/sallyport/sidecar/server"
	"github.com/sallyport/sallyport/test/stack"
)

const (
	prefix = stack.Prefix
	step   = 30 * time.Second

	confirmed   = "Two-factor authentication is now active. Save your recovery codes — they're shown once."
	noPending   = `No pending enrollment. Click "Enable" to start over`
	required    = "Two-factor authentication is required by your organisation. Set it up to continue."
	wrongSecret = "Password did not match. Two-factor remains enabled."
)

// clock runs like the real one, some way ahead of it: tests move it forward
// instead of waiting for the next code.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
	// stopped is when it stands still, but for Advance; zero while it runs.
	stopped time.Time
}

// Stop makes it stand at a moment.
func (c *clock) Stop(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped, c.ahead = at, 0
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped.IsZero() {
		return c.stopped.Add(c.ahead)
	}
	return time.Now().Add(c.ahead)
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// world is a running product whose clock a test can move.
type world struct {
	*stack.Stack
	t     *testing.T
	clock *clock
	// office is the app, unless the demo app is.
	office *office
}

// start runs the demo app behind a sidecar.
func start(t *testing.T, o stack.Options) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{}}
	o.Clock = w.clock.Now
	w.Stack = stack.Start(t, o)
	return w
}

// startOffice runs an app that remembers what reached it behind a sidecar.
func startOffice(t *testing.T, o stack.Options) *world {
	t.Helper()
	w := prepareOffice(t, o)
	for range max(1, o.Sidecars) {
		w.WaitReady(w.AddSidecar())
	}
	return w
}

// prepareOffice runs everything but a sidecar.
func prepareOffice(t *testing.T, o stack.Options) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{}, office: newOffice()}
	o.Clock = w.clock.Now
	if o.App == nil {
		o.App = w.office
	}
	o.Policy = officePolicy(o.Policy)
	w.Stack = stack.Prepare(t, o)
	return w
}

// another runs one more sidecar and waits until it is ready.
func (w *world) another(adjust ...func(*server.Options)) *stack.Sidecar {
	w.t.Helper()
	s := w.AddSidecar(adjust...)
	w.WaitReady(s)
	return s
}

// setPolicy replaces the office's policy.
func (w *world) setPolicy(p stack.Policy) {
	w.t.Helper()
	w.SetPolicy(officePolicy(p))
}

// person is somebody with a browser, and with a phone once enrolled.
type person struct {
	*stack.Browser
	w      *world
	name   string
	secret string
	codes  []string
	// last is the code that the phone showed last.
	last string
}

// visitor is somebody with a browser that has no cookies.
func (w *world) visitor(name string) *person {
	return &person{Browser: w.NewBrowser(), w: w, name: name}
}

// signedIn is somebody whom the app has signed in.
func (w *world) signedIn(name string) *person {
	w.t.Helper()
	p := w.visitor(name)
	p.signIn()
	return p
}

// enrolled is somebody with two-factor enabled and this sign-in verified.
func (w *world) enrolled(name string) *person {
	w.t.Helper()
	p := w.signedIn(name)
	p.enrol()
	return p
}

// again is the same person, with the same phone, at a browser of their own that
// is signed in but not verified.
func (p *person) again() *person {
	p.w.t.Helper()
	other := p.w.signedIn(p.name)
	other.secret, other.codes = p.secret, p.codes
	return other
}

// signIn gives the app the person's password.
func (p *person) signIn() *stack.Page {
	p.w.t.Helper()
	answer := p.SignIn(p.name, p.name+"-demo")
	wantStatus(p.w.t, answer, http.StatusSeeOther)
	return answer
}

// setCookie puts a cookie into the person's browser.
func (p *person) setCookie(name, value string) {
	p.w.t.Helper()
	base, err := url.Parse(p.Base)
	if err != nil {
		p.w.t.Fatal(err)
	}
	p.Client.Jar.SetCookies(base, []*http.Cookie{{Name: name, Value: value, Path: "/"}})
}

// enrol does what the guide says.
func (p *person) enrol() {
	p.w.t.Helper()
	pending := p.Submit(p.Visit(prefix), "/enable", nil)
	wantStatus(p.w.t, pending, http.StatusOK)
	done := p.confirm(pending)
	wantStatus(p.w.t, done, http.StatusOK)
	p.codes = done.Codes()
	if len(p.codes) != 8 {
		p.w.t.Fatalf("enrolling showed %d recovery codes:\n%s", len(p.codes), done.Body)
	}
}

// confirm enters the next code of the secret that a page shows.
func (p *person) confirm(pending *stack.Page) *stack.Page {
	p.w.t.Helper()
	p.secret = pending.Secret()
	return p.Submit(pending, "/confirm", map[string]string{"code": p.code()})
}

// code waits for the next code of the phone: no code comes twice.
func (p *person) code() string {
	p.w.t.Helper()
	p.w.clock.Advance(step)
	p.last = codeAt(p.w.t, p.secret, p.w.clock.Now())
	return p.last
}

// wrongCode is no code of the phone's now, or close to now.
func (p *person) wrongCode() string {
	p.w.t.Helper()
	var near []string
	for at := -3; at <= 3; at++ {
		near = append(near, codeAt(p.w.t, p.secret, p.w.clock.Now().Add(time.Duration(at)*step)))
	}
	for _, code := range []string{"000000", "111111", "222222", "333333", "444444", "555555", "666666", "777777"} {
		if !slices.Contains(near, code) {
			return code
		}
	}
	p.w.t.Fatal("no wrong code is left")
	return ""
}

// verify passes the challenge.
func (p *person) verify() {
	p.w.t.Helper()
	answer := p.Submit(p.Get(prefix+"/challenge"), "/challenge", map[string]string{"code": p.code()})
	wantStatus(p.w.t, answer, http.StatusSeeOther)
}

// passes reports whether the app's own page is shown to the person.
func (p *person) passes() bool {
	p.w.t.Helper()
	answer := p.Get("/my")
	switch {
	case answer.Status == http.StatusOK:
		return true
	case answer.Status == http.StatusSeeOther && strings.HasPrefix(answer.Location(), prefix):
		return false
	}
	p.w.t.Fatalf("/my answered %d, to %q:\n%s", answer.Status, answer.Header.Get("Location"), answer.Body)
	return false
}

// wantPasses fails the test unless the app's own page is shown, or is not.
func (p *person) wantPasses(want bool, when string) {
	p.w.t.Helper()
	if p.passes() != want {
		p.w.t.Errorf("%s: %s reaches the app: %t", when, p.name, !want)
	}
}

// status is the document that apps draw their card from.
type status struct {
	State                  string     `json:"state"`
	ConfirmedAt            *time.Time `json:"confirmedAt"`
	RecoveryCodesRemaining int        `json:"recoveryCodesRemaining"`
	Required               bool       `json:"required"`
	Verified               bool       `json:"verified"`
}

func (p *person) status() status {
	p.w.t.Helper()
	answer := p.Fetch(http.MethodGet, prefix+"/status", nil)
	wantStatus(p.w.t, answer, http.StatusOK)
	var s status
	if err := json.Unmarshal([]byte(answer.Body), &s); err != nil {
		p.w.t.Fatalf("the status is not JSON: %v\n%s", err, answer.Body)
	}
	return s
}

func codeAt(t testing.TB, secret string, at time.Time) string {
	t.Helper()
	code, err := totp.GenerateCodeCustom(secret, at, totp.ValidateOpts{
		Period: 30, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func wantStatus(t testing.TB, p *stack.Page, want int) {
	t.Helper()
	if p.Status != want {
		t.Fatalf("%s answered %d, want %d:\n%s", p.URL, p.Status, want, p.Body)
	}
}

func wantText(t testing.TB, p *stack.Page, testID, want string) {
	t.Helper()
	if got := p.Text(testID); got != want {
		t.Errorf("%s (%d): %s says %q, want %q", p.URL, p.Status, testID, got, want)
	}
}

func wantLocation(t testing.TB, p *stack.Page, want string) {
	t.Helper()
	wantStatus(t, p, http.StatusSeeOther)
	if got := p.Location(); got != want {
		t.Errorf("%s leads to %q, want %q", p.URL, got, want)
	}
}

// auditLine is one security event of a sidecar's log.
type auditLine map[string]any

// audits returns the security events with the name; all of them for "".
func audits(t testing.TB, sidecar *stack.Sidecar, event string) []auditLine {
	t.Helper()
	var found []auditLine
	for line := range strings.Lines(sidecar.Log.String()) {
		var record auditLine
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("a line of the log is not JSON: %v\n%s", err, line)
		}
		if record["audit"] == true && (event == "" || record["event"] == event) {
			found = append(found, record)
		}
	}
	return found
}
