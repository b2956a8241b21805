package storetest

import (
	"time"

	"github.com/sallyport/sallyport/sidecar/mfa"
)

func steps(f *fixture) {
	f.enrol(user, record("g1"))
	for range five.Free {
		f.begin(mfa.FactorTOTP, five)
	}
	f.must(f.Store.CommitTOTP(f.ctx(), user, "g1", 58_000_005, grant("sign-in-1")))
	f.same("value of sign-in-1", f.signIn("sign-in-1"), "granted sign-in")
	want := record("g1")
	want.LastStep = 58_000_005
	f.same(want, f.load(), "record")
	for _, step := range []int64{58_000_005, 58_000_004, 58_000_000, 0} {
		err := f.Store.CommitTOTP(f.ctx(), user, "g1", step, grant("sign-in-2"))
		f.want(mfa.ErrReplayed, err, "commit a step again")
	}
	f.want(mfa.ErrStale, f.Store.CommitTOTP(f.ctx(), user, "g2", 58_000_006, grant("sign-in-2")), "commit stale")
	f.want(mfa.ErrStale, f.Store.CommitTOTP(f.ctx(), other, "g1", 58_000_006, grant("sign-in-2")), "commit unenrolled")
	f.same(want, f.load(), "record after refused commits")
	f.same("", f.signIn("sign-in-2"), "sign-in of a refused commit")

	// The success cleared the failures, and each refused commit counts.
	for range five.Free {
		f.begin(mfa.FactorTOTP, five)
		err := f.Store.CommitTOTP(f.ctx(), user, "g1", 58_000_005, mfa.Grant{})
		f.want(mfa.ErrReplayed, err, "commit a step again")
	}
	f.locked(mfa.FactorTOTP, five)
	f.must(f.Store.CommitTOTP(f.ctx(), user, "g1", 58_000_006, mfa.Grant{}))
	f.begin(mfa.FactorTOTP, five)
}

func stepInParallel(f *fixture) {
	f.enrol(user, record("g1"))
	const n = 200
	wins := f.parallel(n, mfa.ErrReplayed, func(i int) error {
		return f.Store.CommitTOTP(f.ctx(), user, "g1", 58_000_001, grant(name("sign-in", i)))
	})
	f.same(1, wins, "commits of one step")
	signIns := 0
	for i := range n {
		if f.signIn(name("sign-in", i)) != "" {
			signIns++
		}
	}
	f.same(1, signIns, "sign-ins of one step")
}

func stepsInParallel(f *fixture) {
	f.enrol(user, record("g1"))
	wins := f.parallel(60, mfa.ErrReplayed, func(i int) error {
		return f.Store.CommitTOTP(f.ctx(), user, "g1", int64(58_000_001+i*7%60), mfa.Grant{})
	})
	if wins < 1 {
		f.Error("no commit won")
	}
	f.same(int64(58_000_060), f.load().LastStep, "last step")
}

func codes(f *fixture) {
	f.enrol(user, record("g1"))
	for range five.Free {
		f.begin(mfa.FactorRecovery, five)
	}
	left, err := f.Store.SpendCode(f.ctx(), user, "g1", 3, grant("sign-in-1"))
	f.must(err)
	f.same(7, left, "codes left")
	f.same("value of sign-in-1", f.signIn("sign-in-1"), "granted sign-in")
	want := record("g1")
	delete(want.Codes.Digests, 3)
	f.same(want, f.load(), "record")
	f.begin(mfa.FactorRecovery, five)

	for index, generation := range map[int]string{3: "g1", 8: "g1", 98: "g1"} {
		_, err = f.Store.SpendCode(f.ctx(), user, generation, index, grant("sign-in-2"))
		f.want(mfa.ErrSpent, err, "spend what is not there")
	}
	_, err = f.Store.SpendCode(f.ctx(), user, "g2", 4, grant("sign-in-2"))
	f.want(mfa.ErrStale, err, "spend a code of another generation")
	_, err = f.Store.SpendCode(f.ctx(), other, "g1", 4, grant("sign-in-2"))
	f.want(mfa.ErrStale, err, "spend a code of an unenrolled user")
	f.same(want, f.load(), "record after refused spendings")
	f.same("", f.signIn("sign-in-2"), "sign-in of a refused spending")

	for i, index := range []int{0, 1, 2, 4, 5, 6, 7} {
		left, err = f.Store.SpendCode(f.ctx(), user, "g1", index, mfa.Grant{})
		f.must(err)
		f.same(6-i, left, "codes left")
	}
	f.same(0, len(f.load().Codes.Digests), "digests left")
}

func codeInParallel(f *fixture) {
	f.enrol(user, record("g1"))
	wins := f.parallel(200, mfa.ErrSpent, func(i int) error {
		_, err := f.Store.SpendCode(f.ctx(), user, "g1", 2, grant(name("sign-in", i)))
		return err
	})
	f.same(1, wins, "spendings of one code")
	f.same(7, len(f.load().Codes.Digests), "digests left")
}

func codeRestores(f *fixture) {
	f.enrol(user, record("g1"))
	limits := mfa.Limits{Free: 5, Backoff: []time.Duration{time.Millisecond}, HardCap: 2}
	f.begin(mfa.FactorTOTP, limits)
	f.begin(mfa.FactorTOTP, limits)
	f.begin(mfa.FactorPassword, limits)
	f.begin(mfa.FactorPassword, limits)
	f.want(mfa.ErrFactorDisabled, f.refused(mfa.FactorTOTP, limits), "begin beyond the cap")
	f.begin(mfa.FactorRecovery, limits)
	_, err := f.Store.SpendCode(f.ctx(), user, "g1", 0, mfa.Grant{})
	f.must(err)
	f.begin(mfa.FactorTOTP, limits)
	f.begin(mfa.FactorTOTP, limits)
	f.want(mfa.ErrFactorDisabled, f.refused(mfa.FactorPassword, limits), "begin at the password gate")

	// A wait goes too.
	f.must(f.Store.Reset(f.ctx(), user))
	f.enrol(user, record("g2"))
	for range five.Free {
		f.begin(mfa.FactorTOTP, five)
	}
	f.locked(mfa.FactorTOTP, five)
	_, err = f.Store.SpendCode(f.ctx(), user, "g2", 0, mfa.Grant{})
	f.must(err)
	for range five.Free {
		f.begin(mfa.FactorTOTP, five)
	}
	f.locked(mfa.FactorTOTP, five)
}
