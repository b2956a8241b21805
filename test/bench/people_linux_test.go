package bench_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/sallyport/sallyport/test/stack"
)

// step is how long a code is on the phone's display.
const step = 30 * time.Second

// person has a password, a phone, and the browser of their present sign-in.
type person struct {
	b       *bench
	name    string
	browser *stack.Browser
	secret  string
	codes   []string
	// last is the step of the code that was used last: none is accepted twice.
	last int64
}

func (b *bench) newPerson(name string) *person { return &person{b: b, name: name} }

// newBrowser returns one that has never been anywhere.
func (b *bench) newBrowser(at *program) *stack.Browser {
	b.Helper()
	jar, err := cookiejar.New(nil)
	b.must("make a browser", err)
	fresh := &stack.Browser{Base: "http://" + at.addr, Client: &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	return fresh.For(b)
}

// signIn gives the app the password, from a browser that has never been here.
func (p *person) signIn(at *sidecar) {
	p.b.Helper()
	p.browser = p.b.newBrowser(at.program)
	if answer := p.browser.SignIn(p.name, p.name); answer.Status != http.StatusSeeOther {
		p.b.Fatalf("the app does not sign %s in: %d\n%s", p.name, answer.Status, answer.Body)
	}
}

// enrol sets up the second factor in the pages.
func (p *person) enrol(at *sidecar) {
	p.b.Helper()
	p.signIn(at)
	pending := p.browser.Submit(p.browser.Visit(stack.Prefix), "/enable", nil)
	p.secret = pending.Secret()
	done := p.browser.Submit(pending, "/confirm", map[string]string{"code": p.code()})
	p.codes = done.Codes()
	if len(p.codes) == 0 {
		p.b.Fatalf("%s is not enrolled: %d\n%s", p.name, done.Status, done.Body)
	}
}

// code is the phone's, of the present step, or of the next where that one is used up.
// Where both are, it waits for the phone to show another.
func (p *person) code() string {
	p.b.Helper()
	present := time.Now().Unix() / int64(step/time.Second)
	p.last = max(p.last+1, present)
	at := time.Unix(p.last*int64(step/time.Second), 0)
	if early := time.Until(at.Add(-step)); early > 0 {
		p.b.say("waiting %.0f s for %s's next code", early.Seconds(), p.name)
		p.b.rest(early)
	}
	code, err := totp.GenerateCode(p.secret, at)
	p.b.must("look at the phone", err)
	return code
}

// pass signs in anew and answers the challenge with a code.
func (p *person) pass(at *sidecar) {
	p.b.Helper()
	p.signIn(at)
	answer := p.browser.Submit(p.browser.Visit("/"), "/challenge", map[string]string{"code": p.code()})
	if answer.Status != http.StatusSeeOther {
		p.b.Fatalf("%s does not pass the challenge: %d\n%s", p.name, answer.Status, answer.Body)
	}
}

// cookies of the browser, as its requests carry them.
func (p *person) cookies() string {
	p.b.Helper()
	base, err := url.Parse(p.browser.Base)
	p.b.must("read an address", err)
	var pairs []string
	for _, cookie := range p.browser.Client.Jar.Cookies(base) {
		pairs = append(pairs, cookie.Name+"="+cookie.Value)
	}
	return strings.Join(pairs, "; ")
}

// challenges are the times from a code to the redirect behind it.
type challenges struct{ totp, recovery []time.Duration }

// challenges has people pass the challenge, each with a code that is used once.
func (b *bench) challenges() challenges {
	b.Helper()
	everybody := make([]*person, *people)
	for i := range everybody {
		everybody[i] = b.newPerson(fmt.Sprintf("person%d", i))
		everybody[i].enrol(b.door)
		if (i+1)%50 == 0 {
			b.say("%d of %d people are enrolled", i+1, len(everybody))
		}
	}
	conn, err := new(net.Dialer).DialContext(b.Context(), "tcp", b.door.addr)
	b.must("connect to the sidecar", err)
	defer conn.Close()
	in := bufio.NewReader(conn)
	var c challenges
	for i, p := range everybody {
		c.totp = append(c.totp, p.timed(conn, in, "code", p.code()))
		if i%10 == 0 {
			c.recovery = append(c.recovery, p.timed(conn, in, "recovery_code", p.codes[0]))
		}
	}
	slices.Sort(c.totp)
	slices.Sort(c.recovery)
	b.say("challenge: p50 / p99 of %d people: %s ms", len(c.totp), halfAndMost(c.totp))
	return c
}

// timed signs in anew, opens the challenge, and sends the code by a connection that is
// open: from its first byte out to the answer's first byte in is all that is timed.
func (p *person) timed(conn net.Conn, in *bufio.Reader, field, code string) time.Duration {
	p.b.Helper()
	p.signIn(p.b.door)
	target, form := p.browser.Visit("/").Form("/challenge")
	form.Set(field, code)
	body := form.Encode()
	origin := p.browser.Base
	request := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\n"+
		"Accept: text/html\r\nCookie: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
		target, p.b.door.addr, origin, p.cookies(), len(body), body)
	p.b.must("bound the wait", conn.SetDeadline(time.Now().Add(patience)))
	begin := time.Now()
	_, err := conn.Write([]byte(request))
	p.b.must("send a code", err)
	_, err = in.Peek(1)
	took := time.Since(begin)
	p.b.must("read the answer to a code", err)
	response, err := http.ReadResponse(in, &http.Request{Method: http.MethodPost})
	p.b.must("read the answer to a code", err)
	defer response.Body.Close()
	var text strings.Builder
	_, err = bufio.NewReader(response.Body).WriteTo(&text)
	p.b.must("read the answer to a code", err)
	if response.StatusCode != http.StatusSeeOther {
		p.b.Fatalf("%s does not pass the challenge with a %s: %d\n%s", p.name, field, response.StatusCode, text.String())
	}
	return took
}
