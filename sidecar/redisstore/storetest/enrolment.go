package storetest

import (
	"time"

	"github.com/sallyport/sallyport/sidecar/mfa"
)

func unknownUser(f *fixture) {
	s, err := f.Store.Load(f.ctx(), user, "")
	f.must(err)
	f.same(mfa.Snapshot{}, s, "snapshot")
	s, err = f.Store.Load(f.ctx(), user, "sign-in-1")
	f.must(err)
	f.same(mfa.Snapshot{}, s, "snapshot with a sign-in")
	_, err = f.Store.LoadPending(f.ctx(), user, browser)
	f.want(mfa.ErrNoPending, err, "load a pending secret")
	f.must(f.Store.DropPending(f.ctx(), user, browser))
	f.must(f.Store.EndSignIn(f.ctx(), user, "sign-in-1"))
	f.must(f.Store.Reset(f.ctx(), user))
}

func pendingSecret(f *fixture) {
	f.must(f.Store.SavePending(f.ctx(), user, browser, []byte("first\x00"), time.Minute))
	f.must(f.Store.SavePending(f.ctx(), user, "browser-2", []byte("second"), time.Minute))
	f.must(f.Store.SavePending(f.ctx(), other, browser, []byte("another's"), time.Minute))
	for _, c := range []struct{ user, browser, want string }{
		{user, browser, "first\x00"}, {user, "browser-2", "second"}, {other, browser, "another's"},
	} {
		sealed, err := f.Store.LoadPending(f.ctx(), c.user, c.browser)
		f.must(err)
		f.same(c.want, string(sealed), "pending secret")
	}
	f.must(f.Store.SavePending(f.ctx(), user, browser, []byte("later"), time.Minute))
	sealed, err := f.Store.LoadPending(f.ctx(), user, browser)
	f.must(err)
	f.same("later", string(sealed), "replaced pending secret")

	f.must(f.Store.DropPending(f.ctx(), user, browser))
	_, err = f.Store.LoadPending(f.ctx(), user, browser)
	f.want(mfa.ErrNoPending, err, "load what was dropped")
	_, err = f.Store.LoadPending(f.ctx(), other, "browser-2")
	f.want(mfa.ErrNoPending, err, "load what nobody saved")
	s, err := f.Store.Load(f.ctx(), user, "")
	f.must(err)
	f.same(mfa.Snapshot{}, s, "snapshot of a pending user")
}

func pendingExpires(f *fixture) {
	f.must(f.Store.SavePending(f.ctx(), user, browser, []byte("pending"), 50*time.Millisecond))
	f.eventually("the pending secret expires", func() bool {
		_, err := f.Store.LoadPending(f.ctx(), user, browser)
		return err != nil
	})
	_, err := f.Store.LoadPending(f.ctx(), user, browser)
	f.want(mfa.ErrNoPending, err, "load what expired")
	err = f.Store.Enrol(f.ctx(), user, browser, []byte("pending"), nil, record("g1"), mfa.Grant{})
	f.want(mfa.ErrNoPending, err, "enrol with what expired")
}

func enrolling(f *fixture) {
	f.must(f.Store.SavePending(f.ctx(), user, browser, []byte("pending"), time.Minute))
	f.must(f.Store.Enrol(f.ctx(), user, browser, []byte("pending"), nil, record("g1"), grant("sign-in-1")))

	s, err := f.Store.Load(f.ctx(), user, "sign-in-1")
	f.must(err)
	want := record("g1")
	f.same(mfa.Snapshot{Record: &want, SignIn: []byte("value of sign-in-1")}, s, "snapshot")
	_, err = f.Store.LoadPending(f.ctx(), user, browser)
	f.want(mfa.ErrNoPending, err, "load the confirmed secret")
	err = f.Store.SavePending(f.ctx(), user, "browser-2", []byte("x"), time.Minute)
	f.want(mfa.ErrAlreadyEnabled, err, "mint for an enrolled user")
	err = f.Store.Enrol(f.ctx(), user, browser, []byte("pending"), nil, record("g2"), grant("sign-in-2"))
	f.want(mfa.ErrAlreadyEnabled, err, "enrol again")
	f.same(want, f.load(), "record after a second enrolment")
	f.same("", f.signIn("sign-in-2"), "sign-in of a second enrolment")
	// The step that confirmed is spent.
	f.want(mfa.ErrReplayed, f.Store.CommitTOTP(f.ctx(), user, "g1", want.LastStep, mfa.Grant{}), "reuse the step")

	s, err = f.Store.Load(f.ctx(), other, "sign-in-1")
	f.must(err)
	f.same(mfa.Snapshot{}, s, "snapshot of another user")
}

func enrollingCompares(f *fixture) {
	err := f.Store.Enrol(f.ctx(), user, browser, []byte("pending"), nil, record("g1"), mfa.Grant{})
	f.want(mfa.ErrNoPending, err, "enrol with nothing pending")
	f.must(f.Store.SavePending(f.ctx(), user, browser, []byte("pending"), time.Minute))
	err = f.Store.Enrol(f.ctx(), user, browser, []byte("older"), nil, record("g1"), grant("sign-in-1"))
	f.want(mfa.ErrNoPending, err, "enrol with a replaced secret")
	err = f.Store.Enrol(f.ctx(), user, "browser-2", []byte("pending"), nil, record("g1"), grant("sign-in-1"))
	f.want(mfa.ErrNoPending, err, "enrol from another browser session")
	s, err := f.Store.Load(f.ctx(), user, "sign-in-1")
	f.must(err)
	f.same(mfa.Snapshot{}, s, "snapshot")
	sealed, err := f.Store.LoadPending(f.ctx(), user, browser)
	f.must(err)
	f.same("pending", string(sealed), "pending secret")
}

func enrollingInParallel(f *fixture) {
	const n = 50
	for i := range n {
		f.must(f.Store.SavePending(f.ctx(), user, name("browser", i), []byte("pending"), time.Minute))
	}
	wins := f.parallel(n, mfa.ErrAlreadyEnabled, func(i int) error {
		return f.Store.Enrol(f.ctx(), user, name("browser", i), []byte("pending"), nil,
			record(name("g", i)), grant(name("sign-in", i)))
	})
	f.same(1, wins, "enrolments")
	signIns := 0
	for i := range n {
		if f.signIn(name("sign-in", i)) != "" {
			signIns++
			f.same(name("g", i), f.load().Generation, "generation")
		}
	}
	f.same(1, signIns, "sign-ins")
}

func recordWithoutCodes(f *fixture) {
	r := record("g1")
	r.Codes = codeSet(1<<31, 0)
	r.LastStep = 0
	r.Seed = []byte{0}
	f.enrol(user, r)
	f.same(r, f.load(), "record")
}

func replacingCodes(f *fixture) {
	f.enrol(user, record("g1"))
	f.must(f.Store.CommitTOTP(f.ctx(), user, "g1", 58_000_001, grant("sign-in-1")))
	f.must(f.Store.ReplaceCodes(f.ctx(), user, "g1", "g2", codeSet(2, 5),
		mfa.Grant{Key: "sign-in-2", Value: []byte("x"), TTL: time.Hour, Replaces: "sign-in-1"}))
	want := record("g2")
	want.LastStep++
	want.Codes = codeSet(2, 5)
	f.same(want, f.load(), "record")
	f.same("x", f.signIn("sign-in-2"), "granted sign-in")
	f.same("", f.signIn("sign-in-1"), "replaced sign-in")

	err := f.Store.ReplaceCodes(f.ctx(), user, "g1", "g3", codeSet(3, 8), grant("sign-in-3"))
	f.want(mfa.ErrStale, err, "replace the codes of an old generation")
	err = f.Store.ReplaceCodes(f.ctx(), other, "g1", "g3", codeSet(3, 8), grant("sign-in-3"))
	f.want(mfa.ErrStale, err, "replace the codes of an unenrolled user")
	f.same(want, f.load(), "record after a stale change")
	f.same("", f.signIn("sign-in-3"), "sign-in of a stale change")
	_, err = f.Store.SpendCode(f.ctx(), user, "g1", 0, mfa.Grant{})
	f.want(mfa.ErrStale, err, "spend a code of an old generation")
}

func resealing(f *fixture) {
	f.enrol(user, record("g1"))
	old := record("g1").Seed
	err := f.Store.Reseal(f.ctx(), user, "g2", old, []byte("resealed"))
	f.want(mfa.ErrStale, err, "reseal another generation")
	err = f.Store.Reseal(f.ctx(), user, "g1", []byte("older"), []byte("resealed"))
	f.want(mfa.ErrStale, err, "reseal another seed")
	err = f.Store.Reseal(f.ctx(), other, "g1", old, []byte("resealed"))
	f.want(mfa.ErrStale, err, "reseal an unenrolled user's")
	f.same(record("g1"), f.load(), "record after stale changes")
	f.must(f.Store.Reseal(f.ctx(), user, "g1", old, []byte("resealed")))
	want := record("g1")
	want.Seed = []byte("resealed")
	f.same(want, f.load(), "record")
}

func deleting(f *fixture) {
	one := mfa.Limits{Free: 1, Backoff: []time.Duration{time.Hour}}
	f.enrol(user, record("g1"))
	f.enrol(other, record("g1"))
	for _, factor := range []mfa.Factor{mfa.FactorTOTP, mfa.FactorRecovery, mfa.FactorPassword} {
		f.begin(factor, one)
	}
	f.want(mfa.ErrStale, f.Store.Delete(f.ctx(), user, "g2"), "delete another generation")
	f.same(record("g1"), f.load(), "record after a stale deletion")
	f.must(f.Store.Delete(f.ctx(), user, "g1"))
	s, err := f.Store.Load(f.ctx(), user, "")
	f.must(err)
	f.same(mfa.Snapshot{}, s, "snapshot")
	f.want(mfa.ErrStale, f.Store.Delete(f.ctx(), user, "g1"), "delete again")
	s, err = f.Store.Load(f.ctx(), other, "")
	f.must(err)
	if s.Record == nil {
		f.Fatal("another user's enrolment ended")
	}

	// Enrolling anew wins no new guesses at the codes.
	f.enrol(user, record("g2"))
	f.begin(mfa.FactorPassword, one)
	f.locked(mfa.FactorTOTP, one)
	f.locked(mfa.FactorRecovery, one)
}

func resetting(f *fixture) {
	one := mfa.Limits{Free: 1, Backoff: []time.Duration{time.Hour}, HardCap: 1}
	factors := []mfa.Factor{mfa.FactorTOTP, mfa.FactorRecovery, mfa.FactorPassword}
	f.enrol(user, record("g1"))
	for _, factor := range factors {
		f.begin(factor, one)
		f.want(mfa.ErrFactorDisabled, f.refused(factor, one), "begin at a factor that is off")
	}
	f.must(f.Store.Reset(f.ctx(), user))
	s, err := f.Store.Load(f.ctx(), user, "")
	f.must(err)
	f.same(mfa.Snapshot{}, s, "snapshot")
	f.enrol(user, record("g2"))
	for _, factor := range factors {
		f.begin(factor, one)
	}
}
