package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/test/stack"
)

// at is the same browser at another sidecar.
func (p *person) at(s *stack.Sidecar) *person {
	moved := *p
	browser := *p.Browser
	moved.Browser, browser.Base = &browser, s.URL
	return &moved
}

func TestSidecarsShareEverything(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	w := startOffice(t, stack.Options{Sidecars: 2, RedisURL: "redis://" + redis.Addr})
	one, two := w.Sidecars[0], w.Sidecars[1]

	// Begun at one, confirmed at the other.
	alice := w.signedIn("alice")
	pending := alice.at(one).Submit(alice.at(one).Get(prefix), "/enable", nil)
	alice.secret = pending.Secret()
	if got := alice.at(two).status().State; got != "pending" {
		t.Errorf("the other sidecar says %q of a pending enrolment", got)
	}
	done := alice.at(two).Submit(pending, "/confirm", map[string]string{"code": alice.code()})
	wantStatus(t, done, http.StatusOK)
	alice.codes = done.Codes()

	// Challenged at both, verified at one: verified at both.
	late := alice.again()
	late.at(one).wantPasses(false, "at the first")
	late.at(two).wantPasses(false, "at the second")
	challenge := late.at(one).Visit("/my")
	wantLocation(t, late.at(two).Submit(challenge, "/challenge", map[string]string{"code": late.code()}), "/my")
	late.at(one).wantPasses(true, "verified at the other")
	late.at(two).wantPasses(true, "verified here")

	// A code, and a recovery code, is spent at both.
	third := alice.again()
	wantStatus(t, third.at(one).try("code", late.last), http.StatusUnprocessableEntity)
	wantLocation(t, third.at(one).try("recovery_code", alice.codes[0]), "/")
	wantStatus(t, alice.again().at(two).try("recovery_code", alice.codes[0]), http.StatusUnprocessableEntity)

	// Failures are counted together.
	guesser := alice.again()
	for i := range 5 {
		wantStatus(t, guesser.at(w.Sidecars[i%2]).try("code", guesser.wrongCode()), http.StatusUnprocessableEntity)
	}
	wantWait(t, guesser.at(two).try("code", guesser.code()))

	// A sign-out, and the end of two-factor, at one is the end at both.
	token, session := late.Cookie("sallyport"), late.Cookie("session")
	late.at(two).SignOut()
	if reaches(w, "session="+session+"; sallyport="+token) {
		t.Error("a sign-out at the other sidecar left the verification")
	}
	third.at(two).Submit(third.at(two).Get(prefix), "/disable", map[string]string{"password": "alice-demo"})
	alice.again().at(one).wantPasses(true, "disabled at the other")
}

func TestRedisThatHangs(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	w := startOffice(t, stack.Options{RedisURL: "redis://" + redis.Addr, Impatient: true})
	alice := w.enrolled("alice")
	redis.Freeze()
	w.Eventually("what is known of alice counts no more", func() bool { return alice.Get("/my").Status != http.StatusOK })
	w.office.requests()
	begin := time.Now()
	got := alice.Fetch(http.MethodGet, "/my", nil)
	took := time.Since(begin)
	redis.Thaw()
	wantStatus(t, got, http.StatusServiceUnavailable)
	wantProblemCode(t, got, "mfa_unavailable")
	if took > 3*time.Second {
		t.Errorf("it took %s to say that the store is away", took)
	}
	if seen := w.office.requests(); len(seen) > 0 {
		t.Errorf("these reached the app: %+v", seen)
	}
	w.Eventually("requests pass again", func() bool { return alice.Get("/my").Status == http.StatusOK })
}

// In production the cookies are those that no sibling domain can set and no plain
// connection carries (RFC 6265bis).
func TestCookiesOfProduction(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{SecureCookies: true})
	// The browser would keep Secure cookies to itself over plain HTTP.
	jar := map[string]string{}
	p := w.visitor("alice")
	visit := func(r *http.Request) *stack.Page {
		var line []string
		for name, value := range jar {
			line = append(line, name+"="+value)
		}
		if len(line) > 0 {
			r.Header.Set("Cookie", strings.Join(line, "; "))
		}
		p.Client.Jar = nil
		answer := p.Do(r)
		for _, set := range answer.Header["Set-Cookie"] {
			cookie, err := http.ParseSetCookie(set)
			if err != nil {
				t.Fatal(err)
			}
			if jar[cookie.Name] = cookie.Value; cookie.MaxAge < 0 {
				delete(jar, cookie.Name)
			}
		}
		return answer
	}
	submit := func(page *stack.Page, action string, fields map[string]string) *stack.Page {
		f := p.form(page, action, fields, 0)
		r := p.Request(http.MethodPost, f.target, strings.NewReader(f.fields.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return visit(r)
	}
	// wantSet compares the attributes; order matters to nobody.
	wantSet := func(answer *stack.Page, name string, attributes ...string) {
		t.Helper()
		for _, set := range answer.Header["Set-Cookie"] {
			parts := strings.Split(set, "; ")
			if !strings.HasPrefix(parts[0], name+"=") {
				continue
			}
			got, want := map[string]bool{}, map[string]bool{}
			for _, part := range parts[1:] {
				got[part] = true
			}
			for _, part := range attributes {
				want[part] = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s:\n%s", answer.URL, name, diff)
			}
			return
		}
		t.Errorf("%s sets no %s: %q", answer.URL, name, answer.Header["Set-Cookie"])
	}
	base := []string{"Path=/", "HttpOnly", "Secure", "SameSite=Lax"}
	ends := append([]string{"Max-Age=0"}, base...)

	away := visit(p.Request(http.MethodGet, prefix, nil))
	wantLocation(t, away, "/login")
	wantSet(away, "__Host-sallyport-return", append([]string{"Max-Age=600"}, base...)...)
	submit(visit(p.Request(http.MethodGet, "/login", nil)), "/login", map[string]string{
		"username": "alice", "password": "alice-demo",
	})
	back := visit(p.Request(http.MethodGet, "/my", nil))
	wantLocation(t, back, prefix)
	wantSet(back, "__Host-sallyport-return", ends...)
	card := visit(p.Request(http.MethodGet, prefix, nil))
	wantSet(card, "__Host-sallyport", base...)
	first := jar["__Host-sallyport"]
	pending := submit(card, "/enable", nil)
	p.secret = pending.Secret()
	done := submit(pending, "/confirm", map[string]string{"code": p.code()})
	wantStatus(t, done, http.StatusOK)
	wantSet(done, "__Host-sallyport", base...)
	if jar["__Host-sallyport"] == first {
		t.Error("the token did not change when the factor was given")
	}
	wantStatus(t, visit(p.Request(http.MethodGet, "/my", nil)), http.StatusOK)

	// Two cookies of the name are none: a sibling domain may have set one of them.
	token := "__Host-sallyport=" + jar["__Host-sallyport"]
	for _, line := range []string{token + "; " + token, token + "; __Host-sallyport=x", "__Host-sallyport=; " + token} {
		twice := p.Request(http.MethodGet, "/my", nil)
		twice.Header.Set("Cookie", "session="+jar["session"]+"; "+line)
		wantStatus(t, p.Do(twice), http.StatusSeeOther)
	}

	// The names of development mean nothing here.
	plain := p.Request(http.MethodGet, "/my", nil)
	plain.Header.Set("Cookie", "session="+jar["session"]+"; sallyport="+jar["__Host-sallyport"])
	wantStatus(t, p.Do(plain), http.StatusSeeOther)

	out := visit(p.Request(http.MethodPost, "/logout", nil))
	wantSet(out, "__Host-sallyport", ends...)
}
