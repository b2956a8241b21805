package server_test

import (
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/test/stack"
)

// try answers the challenge.
func (p *person) try(field, code string) *stack.Page {
	p.w.t.Helper()
	return p.Submit(p.Visit(prefix+"/challenge"), "/challenge", map[string]string{field: code})
}

// wantWait fails the test unless the page says how long to wait, in words and to
// programs alike, and returns it.
func wantWait(t *testing.T, p *stack.Page) time.Duration {
	t.Helper()
	wantStatus(t, p, http.StatusTooManyRequests)
	wantUncached(t, p)
	seconds, err := strconv.Atoi(p.Header.Get("Retry-After"))
	if err != nil {
		t.Fatalf("Retry-After is %q", p.Header.Get("Retry-After"))
	}
	said := regexp.MustCompile(`^Too many attempts\. Wait (\d+) seconds, then try again\.$`).FindStringSubmatch(p.Text("error"))
	if said == nil || said[1] != strconv.Itoa(seconds) {
		t.Errorf("Retry-After is %d, and the page says %q", seconds, p.Text("error"))
	}
	return time.Duration(seconds) * time.Second
}

func TestGuessingACode(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	redisTime := time.Now().Add(time.Hour)
	w.Redis.SetTime(redisTime)
	// Another password sign-in, another browser: the failures are the user's.
	for i := range 5 {
		p := alice.again()
		wantStatus(t, p.try("code", []string{p.wrongCode(), "", "12345", "1234567", "١٢٣٤٥٦"}[i]), http.StatusUnprocessableEntity)
	}
	for _, wait := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute} {
		p := alice.again()
		if got := wantWait(t, p.try("code", p.code())); got != wait {
			t.Errorf("the wait is %s, want %s", got, wait)
		}
		p.wantPasses(false, "with a right code before the wait is over")
		w.Redis.SetTime(redisTime.Add(wait - time.Second))
		wantWait(t, p.try("code", p.code()))
		redisTime = redisTime.Add(wait)
		w.Redis.SetTime(redisTime)
		wantStatus(t, p.try("code", p.wrongCode()), http.StatusUnprocessableEntity)
	}
	// A recovery code has a counter of its own, and clears this one.
	p := alice.again()
	wantWait(t, p.try("code", p.code()))
	wantLocation(t, p.try("recovery_code", alice.codes[0]), "/")
	wantLocation(t, alice.again().try("code", alice.code()), "/")
	alice.wantPasses(true, "a browser that was verified all along")
}

func TestGuessingARecoveryCode(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	p := alice.again()
	for _, guess := range []string{"AAAA-AAAA", "x", "0000-0000", alice.codes[0] + "A", alice.codes[0][:8]} {
		wantStatus(t, p.try("recovery_code", guess), http.StatusUnprocessableEntity)
	}
	if got := wantWait(t, p.try("recovery_code", alice.codes[0])); got > 30*time.Second || got < 25*time.Second {
		t.Errorf("the wait is %s", got)
	}
	wantLocation(t, p.try("code", p.code()), "/") // the phone is another counter
	if left := p.status().RecoveryCodesRemaining; left != 8 {
		t.Errorf("%d recovery codes are left", left)
	}
}

func TestRecoveryCodeOpensItsOwnAccountOnly(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice, bob := w.enrolled("alice"), w.enrolled("bob")
	p := alice.again()
	wantStatus(t, p.try("recovery_code", bob.codes[0]), http.StatusUnprocessableEntity)
	p.wantPasses(false, "with a recovery code of bob's")
	wantLocation(t, bob.again().try("recovery_code", bob.codes[0]), "/")
}

func TestGuessingThePassword(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	card := alice.Get(prefix)
	for range 5 {
		wrong := alice.Submit(card, "/disable", map[string]string{"password": "guess"})
		wantStatus(t, wrong, http.StatusUnprocessableEntity)
		wantText(t, wrong, "error", wrongSecret)
		if len(wrong.Header.Values("Set-Cookie")) > 0 {
			t.Errorf("a cookie of the password check leaked: %q", wrong.Header.Values("Set-Cookie"))
		}
	}
	locked := alice.Submit(card, "/disable", map[string]string{"password": "alice-demo"})
	if got := wantWait(t, locked); got > 15*time.Minute || got < 14*time.Minute {
		t.Errorf("the wait is %s", got)
	}
	wantCard(t, locked, "enabled", "Enabled")
	alice.again().wantPasses(false, "after guesses at the password")
	wantLocation(t, alice.again().try("code", alice.code()), "/") // codes are another counter
	w.Redis.SetTime(time.Now().Add(16 * time.Minute))
	wantCard(t, alice.Submit(card, "/disable", map[string]string{"password": "alice-demo"}), "not-configured", "Not configured")
}

// An app that cannot say whether a password is right costs no attempt and leaves
// two-factor on.
func TestPasswordCheckThatFails(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	card := alice.Get(prefix)
	w.office.behave(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/login" {
			rw.WriteHeader(http.StatusInternalServerError)
		}
		return r.URL.Path == "/login"
	})
	for range 7 {
		got := alice.Submit(card, "/disable", map[string]string{"password": "alice-demo"})
		wantStatus(t, got, http.StatusServiceUnavailable)
		wantText(t, got, "error", "The app could not check your password right now. Two-factor remains enabled.")
	}
	w.office.behave(nil)
	wantStatus(t, alice.Submit(card, "/disable", map[string]string{"password": "alice-demo"}), http.StatusOK)
}

// Whoever has not given the password never gets to count as a failure.
func TestStrangersLockNobodyOut(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	stranger := w.visitor("stranger")
	_, fields := alice.again().Visit("/my").Form("/challenge")
	fields.Set("code", "000000")
	for range 8 {
		wantLocation(t, stranger.Post(prefix+"/challenge", fields), "/login")
	}
	wantLocation(t, alice.again().try("code", alice.code()), "/")
}

// One code, sent at once from many browsers to two sidecars on one Redis. Not
// parallel: it keeps the machine so busy that the app would answer others late.
func TestManyAtOnceWithOneCode(t *testing.T) {
	redis := redistest.Server(t)
	w := startOffice(t, stack.Options{Sidecars: 2, RedisURL: "redis://" + redis.Addr})
	alice := w.enrolled("alice")
	for _, tc := range []struct {
		field string
		code  func() string
	}{
		{"code", alice.code},
		{"recovery_code", func() string { return alice.codes[5] }},
	} {
		const many = 200
		browsers := make([]*person, many)
		forms := make([]form, many)
		for i := range browsers {
			browsers[i] = alice.again()
			browsers[i].Base = w.Sidecars[i%2].URL
			forms[i] = browsers[i].form(browsers[i].Visit("/my"), "/challenge", nil, http.StatusSeeOther)
		}
		code := tc.code()
		answers := make([]*stack.Page, many)
		var all sync.WaitGroup
		begin := make(chan struct{})
		for i := range browsers {
			all.Go(func() {
				<-begin
				fields := forms[i].fields
				fields.Set(tc.field, code)
				answers[i] = browsers[i].Post(forms[i].target, fields)
			})
		}
		close(begin)
		all.Wait()
		won := 0
		for i, p := range browsers {
			switch answers[i].Status {
			case http.StatusSeeOther:
				won++
			case http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusServiceUnavailable:
			default:
				t.Errorf("%s: %d", tc.field, answers[i].Status)
			}
			p.wantPasses(answers[i].Status == http.StatusSeeOther, tc.field)
		}
		if won != 1 {
			t.Errorf("%s: %d of %d were let in", tc.field, won, many)
		}
	}
	if left := alice.status().RecoveryCodesRemaining; left != 7 {
		t.Errorf("%d recovery codes are left", left)
	}
}
