package soak_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
)

const (
	step   = 30 * time.Second
	prefix = "/my/profile/two-factor"

	// manyTries is after how many refused replays somebody else is enrolled in their
	// place: a hundred failures in thirty days switch a factor off.
	manyTries = 60
	// inARow is how many refused replays there are between two right codes.
	inARow = 3
)

// spent is a code that the sidecar has acknowledged. It must never be accepted again.
type spent struct {
	user, field, code string
	at                time.Time
}

// person has a phone and recovery codes.
type person struct {
	name, secret string
	codes        []string
	// last is the step whose code was sent last, whatever came of it.
	last  int64
	rests time.Time
	spent []spent
	// tries at each factor with spent codes, in all and since the last right code.
	tries, row map[string]int
}

// act has some people sign in again and again, each as often as their phone shows a
// new code, and tries the codes that they have spent.
func (r *run) act(ctx context.Context, actor int) {
	mine := make([]*person, users/actors)
	for n := 0; ctx.Err() == nil; n++ {
		at := n % len(mine)
		switch p := mine[at]; {
		case p == nil || p.tries["code"] > manyTries || len(p.codes) == 0:
			mine[at] = r.enrol(fmt.Sprintf("u%d-%d", actor, n))
			if mine[at] == nil {
				rest(ctx, 200*time.Millisecond)
			}
		case time.Now().Before(p.rests):
			rest(ctx, 20*time.Millisecond)
		default:
			r.signIn(p)
		}
	}
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func codeAt(secret string, step int64) string {
	code, err := totp.GenerateCodeCustom(secret, time.Unix(step*30, 0), totp.ValidateOpts{
		Period: 30, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1,
	})
	if err != nil {
		panic(err)
	}
	return code
}

// enrol enrols somebody new. It returns nobody where that was not acknowledged.
func (r *run) enrol(name string) *person {
	r.enrolling.Lock()
	defer r.enrolling.Unlock()
	b := r.open(name)
	card := b.get(prefix)
	pending := b.submit(card, "/enable", nil)
	p := &person{name: name, secret: strings.ReplaceAll(pending.text("totp-secret"), " ", ""), tries: map[string]int{}, row: map[string]int{}}
	if p.secret == "" {
		r.app.close(b.session)
		return nil
	}
	p.last = time.Now().Unix() / 30
	code := codeAt(p.secret, p.last)
	done := b.submit(pending, "/confirm", map[string]string{"code": code})
	if p.codes = done.codes(); done.away() {
		r.figures.unsure.Add(1)
	}
	if done.status != http.StatusOK || len(p.codes) == 0 {
		r.app.close(b.session)
		return nil
	}
	r.figures.enrolled.Add(1)
	r.admit(b)
	p.spent = append(p.spent, spent{name, "code", code, time.Now()})
	return p
}

// admit lets ordinary requests be made with a session that has passed.
func (r *run) admit(b *browser) {
	r.app.pass(b.session)
	if old := r.ready.add(b); old != nil {
		r.app.close(old.session)
	}
}

// challenge signs somebody in who is enrolled, and returns the page that asks them
// for a code, nil where it was not to be had.
func (r *run) challenge(name string) (*browser, *answer) {
	b := r.open(name)
	first := b.get("/my")
	switch {
	case first.away():
		r.app.close(b.session)
		return b, nil
	case first.status != http.StatusSeeOther || !strings.HasPrefix(first.location, prefix):
		r.violate("%s has only given a password, and is answered %d %s", name, first.status, first.location)
	case !strings.HasPrefix(first.location, prefix+"/challenge"):
		r.violate("the enrolment of %s is gone: sent to %s", name, first.location)
	}
	page := b.get(first.location)
	if page.status != http.StatusOK {
		r.app.close(b.session)
		return b, nil
	}
	return b, page
}

func (r *run) signIn(p *person) {
	field, code := p.next()
	if code == "" {
		p.rests = time.Now().Add(time.Second)
		return
	}
	b, page := r.challenge(p.name)
	if page == nil {
		p.rests = time.Now().Add(500 * time.Millisecond)
		return
	}
	if rand.IntN(4) == 0 { // one more with a password alone
		if old := r.barred.add(r.open(p.name)); old != nil {
			r.app.close(old.session)
		}
	}
	answer := b.submit(page, "/challenge", map[string]string{field: code})
	if !r.acknowledged(p, field, code, b, answer) {
		r.app.close(b.session)
		return
	}
	r.replay(p, len(p.spent)-1)
	r.replay(p, rand.IntN(len(p.spent)))
}

// next is the next code of the phone, or now and then a recovery code. A code that
// was sent is not sent again, even where it was not acknowledged.
func (p *person) next() (field, code string) {
	now := time.Now().Unix() / 30
	if rand.IntN(60) == 0 {
		code, p.codes = p.codes[0], p.codes[1:]
		return "recovery_code", code
	}
	next := max(p.last+1, now)
	if next > now+1 {
		return "", ""
	}
	p.last = next
	return "code", codeAt(p.secret, next)
}

// acknowledged takes the answer to a code that was never sent before.
func (r *run) acknowledged(p *person, field, code string, b *browser, a *answer) bool {
	switch {
	case a.status == http.StatusSeeOther && !strings.HasPrefix(a.location, prefix):
		r.figures.accepted(field)
		r.admit(b)
		p.row[field] = 0
		p.spent = append(p.spent, spent{p.name, field, code, time.Now()})
		return true
	case a.status == http.StatusUnprocessableEntity:
		r.violate("a right %s of %s, never sent before, is refused", field, p.name)
	case a.status == http.StatusTooManyRequests:
		r.figures.locked.Add(1)
		p.rests = time.Now().Add(step)
	case a.status == http.StatusForbidden:
		p.codes = nil // the factor is off: somebody else in their place
	default:
		r.figures.unsure.Add(1)
	}
	return false
}

// replay sends a spent code again, where it could still be mistaken for a good one
// and does not lock its user out.
func (r *run) replay(p *person, at int) {
	s := p.spent[at]
	if p.row[s.field] >= inARow || s.field == "code" && time.Since(s.at) > 50*time.Second {
		return
	}
	p.row[s.field]++
	p.tries[s.field]++
	r.again(s)
}

// again sends a spent code, and reports whether it was judged.
func (r *run) again(s spent) bool {
	b, page := r.challenge(s.user)
	if page == nil {
		return false
	}
	defer r.app.close(b.session)
	answer := b.submit(page, "/challenge", map[string]string{s.field: s.code})
	switch {
	case answer.status == http.StatusSeeOther && !strings.HasPrefix(answer.location, prefix):
		r.violate("the %s of %s was accepted twice; first at %.1fs", s.field, s.user, s.at.Sub(r.begin).Seconds())
	case answer.status == http.StatusUnprocessableEntity:
		r.figures.replayed.Add(1)
		return true
	}
	return false
}

// spendNow has somebody spend a code of the phone and then a recovery code, and calls
// then the moment that the latter is acknowledged.
func (r *run) spendNow(then func()) (acknowledged []spent) {
	var p *person
	for end := time.Now().Add(time.Minute); p == nil && time.Now().Before(end); {
		p = r.enrol(fmt.Sprintf("last-%d", time.Now().UnixNano()))
	}
	defer then()
	if p == nil {
		r.violate("nobody could enrol while all was well")
		return nil
	}
	p.last++
	for _, s := range []spent{
		{p.name, "code", codeAt(p.secret, p.last), time.Now()}, {p.name, "recovery_code", p.codes[0], time.Now()},
	} {
		b, page := r.challenge(p.name)
		if page == nil {
			continue
		}
		if answer := b.submit(page, "/challenge", map[string]string{s.field: s.code}); r.acknowledged(p, s.field, s.code, b, answer) {
			acknowledged = append(acknowledged, s)
		}
	}
	return acknowledged
}

// retry sends what was spent right before the store was lost.
func (r *run) retry() {
	r.Helper()
	r.mu.Lock()
	urgent := r.urgent
	r.urgent = nil
	r.mu.Unlock()
	for _, s := range urgent {
		r.waitFor("a spent "+s.field+" to be judged again", 30*time.Second, func() bool { return r.again(s) })
		r.figures.urgent.Add(1)
	}
}
