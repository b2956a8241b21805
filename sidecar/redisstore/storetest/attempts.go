package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/sallyport/sallyport/sidecar/mfa"
)

// five is five free failures and then an hour.
var five = mfa.Limits{Free: 5, Backoff: []time.Duration{time.Hour}}

func beginUnenrolled(f *fixture) {
	for _, factor := range []mfa.Factor{mfa.FactorTOTP, mfa.FactorRecovery, mfa.FactorPassword} {
		f.want(mfa.ErrNotEnrolled, f.refused(factor, five), "begin unenrolled")
	}
	f.enrol(user, record("g1"))
	r, err := f.Store.Begin(f.ctx(), user, mfa.FactorTOTP, five)
	f.must(err)
	f.same(record("g1"), r, "record to judge by")
	_, err = f.Store.Begin(f.ctx(), other, mfa.FactorTOTP, five)
	f.want(mfa.ErrNotEnrolled, err, "begin for another user")
}

func waits(f *fixture) {
	f.enrol(user, record("g1"))
	steps := []time.Duration{40 * time.Millisecond, 80 * time.Millisecond, 160 * time.Millisecond}
	limits := mfa.Limits{Free: 3, Backoff: steps}
	for range limits.Free {
		f.begin(mfa.FactorTOTP, limits)
	}
	for i, most := range append(steps, steps[len(steps)-1]) {
		// A slow machine may have waited already; the next wait is longer still.
		err := f.await(limits, most)
		if err != nil {
			f.Fatalf("wait %d: %v", i, err)
		}
	}
}

// await is told to wait, at most that long, and waits.
func (f *fixture) await(limits mfa.Limits, most time.Duration) error {
	f.Helper()
	var wrong error
	f.eventually("the wait ends", func() bool {
		_, err := f.Store.Begin(f.ctx(), user, mfa.FactorTOTP, limits)
		l, ok := errors.AsType[*mfa.LockedError](err)
		if ok && (l.RetryAfter <= 0 || l.RetryAfter > most) {
			wrong = errors.Join(err, errors.New("want at most "+most.String()))
			return true
		}
		if err != nil && !ok {
			wrong = err
			return true
		}
		return err == nil
	})
	return wrong
}

func noLimits(f *fixture) {
	f.enrol(user, record("g1"))
	for range 120 {
		f.begin(mfa.FactorTOTP, mfa.Limits{})
	}
	f.begin(mfa.FactorTOTP, mfa.Limits{Free: 1})                             // no wait to impose
	f.begin(mfa.FactorTOTP, mfa.Limits{Backoff: []time.Duration{time.Hour}}) // no failure that imposes it
	f.begin(mfa.FactorTOTP, mfa.Limits{})
}

func beginInParallel(f *fixture) {
	f.enrol(user, record("g1"))
	var want *mfa.LockedError
	passed := 0
	results := make(chan error, 100)
	for range cap(results) {
		go func() {
			_, err := f.Store.Begin(f.ctx(), user, mfa.FactorTOTP, five)
			results <- err
		}()
	}
	for range cap(results) {
		switch err := <-results; {
		case err == nil:
			passed++
		case !errors.As(err, &want):
			f.Errorf("begin: %v; want a LockedError", err)
		}
	}
	f.same(five.Free, passed, "attempts let through")
}

func factorsApart(f *fixture) {
	f.enrol(user, record("g1"))
	f.enrol(other, record("g1"))
	for range five.Free {
		f.begin(mfa.FactorTOTP, five)
	}
	f.locked(mfa.FactorTOTP, five)
	for range five.Free {
		f.begin(mfa.FactorPassword, five)
		f.begin(mfa.FactorRecovery, five)
	}
	left := f.locked(mfa.FactorRecovery, five)
	if left <= 59*time.Minute || left > time.Hour {
		f.Fatalf("told to wait %s; want an hour", left)
	}
	_, err := f.Store.Begin(f.ctx(), other, mfa.FactorTOTP, five)
	f.must(err)
	// A success of one factor helps no other. That of a code is another matter.
	f.must(f.Store.CommitTOTP(f.ctx(), user, "g1", 58_000_001, mfa.Grant{}))
	f.begin(mfa.FactorTOTP, five)
	f.locked(mfa.FactorPassword, five)
	f.locked(mfa.FactorRecovery, five)
}

func hardCap(f *fixture) {
	f.enrol(user, record("g1"))
	limits := mfa.Limits{HardCap: 4}
	for i := range 3 {
		f.begin(mfa.FactorTOTP, limits)
		f.must(f.Store.CommitTOTP(f.ctx(), user, "g1", int64(58_000_001+i), mfa.Grant{}))
	}
	for range limits.HardCap {
		f.begin(mfa.FactorTOTP, limits)
	}
	for range 3 {
		f.want(mfa.ErrFactorDisabled, f.refused(mfa.FactorTOTP, limits), "begin beyond the cap")
	}
	// Off is off, whatever the limits have become.
	f.want(mfa.ErrFactorDisabled, f.refused(mfa.FactorTOTP, mfa.Limits{}), "begin without limits")
	f.begin(mfa.FactorRecovery, limits)
	f.begin(mfa.FactorPassword, limits)
	// Nor do a new sign-in, new codes or a new enrolment turn it on.
	f.must(f.Store.ReplaceCodes(f.ctx(), user, "g1", "g2", codeSet(2, 8), grant("sign-in-1")))
	f.want(mfa.ErrFactorDisabled, f.refused(mfa.FactorTOTP, limits), "begin after new codes")
	f.must(f.Store.Delete(f.ctx(), user, "g2"))
	f.enrol(user, record("g3"))
	f.want(mfa.ErrFactorDisabled, f.refused(mfa.FactorTOTP, limits), "begin after a new enrolment")
}

func rollingCap(f *fixture) {
	f.enrol(user, record("g1"))
	limits := mfa.Limits{Free: 5, Backoff: []time.Duration{time.Hour}, HardCap: 50, RollingCap: 7}
	step := int64(58_000_000)
	for failed := 0; failed < limits.RollingCap; {
		for range 3 {
			if failed++; failed <= limits.RollingCap {
				f.begin(mfa.FactorTOTP, limits)
			}
		}
		if failed >= limits.RollingCap {
			break
		}
		f.begin(mfa.FactorTOTP, limits)
		step++
		f.must(f.Store.CommitTOTP(f.ctx(), user, "g1", step, mfa.Grant{}))
	}
	f.want(mfa.ErrFactorDisabled, f.refused(mfa.FactorTOTP, limits), "begin beyond the cap")
	f.begin(mfa.FactorRecovery, limits)
	_, err := f.Store.SpendCode(f.ctx(), user, "g1", 0, mfa.Grant{})
	f.must(err)
	for range 4 { // and not only the one that would reach the cap again
		f.begin(mfa.FactorTOTP, limits)
	}
}

func successAtTheCap(f *fixture) {
	f.enrol(user, record("g1"))
	limits := mfa.Limits{HardCap: 2, RollingCap: 2}
	f.begin(mfa.FactorTOTP, limits)
	f.begin(mfa.FactorTOTP, limits)
	f.must(f.Store.CommitTOTP(f.ctx(), user, "g1", 58_000_001, mfa.Grant{}))
	f.begin(mfa.FactorTOTP, limits)
	f.want(mfa.ErrFactorDisabled, f.refused(mfa.FactorTOTP, limits), "begin beyond the cap")
}

func window(f *fixture) {
	const day = 24 * time.Hour
	f.enrol(user, record("g1"))
	limits := mfa.Limits{RollingCap: 4}
	f.begin(mfa.FactorTOTP, limits) // day 0
	f.begin(mfa.FactorTOTP, limits)
	f.Advance(20 * day)
	f.begin(mfa.FactorTOTP, limits) // day 20: three
	f.Advance(11 * day)
	f.begin(mfa.FactorTOTP, limits) // day 31: the first two are gone, so two
	f.begin(mfa.FactorTOTP, limits) // three
	f.Advance(18 * day)
	f.begin(mfa.FactorTOTP, limits) // day 49: four, the one of day 20 among them
	f.want(mfa.ErrFactorDisabled, f.refused(mfa.FactorTOTP, limits), "begin beyond the cap")

	// A month of silence forgets consecutive failures too.
	for range five.Free {
		f.begin(mfa.FactorPassword, five)
	}
	f.must(f.Store.Reset(f.ctx(), user))
	f.enrol(user, record("g2"))
	for range five.Free - 1 {
		f.begin(mfa.FactorPassword, five)
	}
	f.Advance(32 * day)
	for range five.Free {
		f.begin(mfa.FactorPassword, five)
	}
	f.locked(mfa.FactorPassword, five)
}

func staysOff(f *fixture) {
	const day = 24 * time.Hour
	for who, limits := range map[string]mfa.Limits{"consecutive": {HardCap: 2}, "rolling": {RollingCap: 2}} {
		f.must(f.Store.Reset(f.ctx(), user))
		f.enrol(user, record(who))
		f.begin(mfa.FactorTOTP, limits)
		f.begin(mfa.FactorTOTP, limits)
		for range 13 {
			f.Advance(31 * day)
			f.want(mfa.ErrFactorDisabled, f.refused(mfa.FactorTOTP, limits), who)
			f.begin(mfa.FactorPassword, mfa.Limits{}) // other factors do not wake it
		}
	}
}

func midnight(f *fixture) {
	f.enrol(user, record("g1"))
	limits := mfa.Limits{RollingCap: 2}
	for i := range 10 {
		f.begin(mfa.FactorTOTP, limits)
		f.Advance(24 * time.Hour)
		if i%2 == 0 {
			f.must(f.Store.Refund(f.ctx(), user, mfa.FactorTOTP))
		} else {
			f.must(f.Store.CommitTOTP(f.ctx(), user, "g1", int64(58_000_001+i), mfa.Grant{}))
		}
	}
	f.begin(mfa.FactorTOTP, limits)
	f.begin(mfa.FactorTOTP, limits)
	f.want(mfa.ErrFactorDisabled, f.refused(mfa.FactorTOTP, limits), "begin beyond the cap")
}

func refunding(f *fixture) {
	f.enrol(user, record("g1"))
	limits := mfa.Limits{Free: 2, Backoff: []time.Duration{time.Hour}, RollingCap: 3}
	for range 20 {
		f.begin(mfa.FactorRecovery, limits)
		f.must(f.Store.Refund(f.ctx(), user, mfa.FactorRecovery))
	}
	f.begin(mfa.FactorRecovery, limits)
	f.begin(mfa.FactorRecovery, limits)
	f.locked(mfa.FactorRecovery, limits)
	// The wait was the refunded attempt's.
	f.must(f.Store.Refund(f.ctx(), user, mfa.FactorRecovery))
	f.begin(mfa.FactorRecovery, limits)
	f.locked(mfa.FactorRecovery, limits)
	// So is the switching off.
	once := mfa.Limits{HardCap: 1}
	f.begin(mfa.FactorPassword, once)
	f.must(f.Store.Refund(f.ctx(), user, mfa.FactorPassword))
	f.begin(mfa.FactorPassword, once)
	f.want(mfa.ErrFactorDisabled, f.refused(mfa.FactorPassword, once), "begin beyond the cap")
	// Refunding nothing gives nothing.
	for range 5 {
		f.must(f.Store.Refund(f.ctx(), user, mfa.FactorTOTP))
		f.must(f.Store.Refund(f.ctx(), other, mfa.FactorTOTP))
	}
	f.begin(mfa.FactorTOTP, limits)
	f.begin(mfa.FactorTOTP, limits)
	f.locked(mfa.FactorTOTP, limits)
}

func hangUp(f *fixture) {
	f.enrol(user, record("g1"))
	gone, cancel := context.WithCancel(f.ctx())
	cancel()
	for range five.Free {
		if _, err := f.Store.Begin(gone, user, mfa.FactorTOTP, five); err != nil {
			f.Fatalf("begin for a caller who is gone: %v", err)
		}
	}
	f.locked(mfa.FactorTOTP, five)
	f.must(f.Store.Refund(gone, user, mfa.FactorTOTP))
	f.must(f.Store.CommitTOTP(gone, user, "g1", 58_000_001, mfa.Grant{}))
	f.same(int64(58_000_001), f.load().LastStep, "last step")
	if s, err := f.Store.Load(gone, user, ""); err == nil {
		f.Errorf("load for a caller who is gone: %v", s)
	}
}
