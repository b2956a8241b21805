package storetest

import (
	"errors"
	"time"

	"github.com/sallyport/sallyport/sidecar/mfa"
)

func grants(f *fixture) {
	f.enrol(user, record("g1"))
	f.must(f.Store.CommitTOTP(f.ctx(), user, "g1", 58_000_001, grant("sign-in-1")))
	f.must(f.Store.CommitTOTP(f.ctx(), user, "g1", 58_000_002, grant("sign-in-2")))
	f.same("value of sign-in-1", f.signIn("sign-in-1"), "sign-in of one browser")
	f.same("value of sign-in-2", f.signIn("sign-in-2"), "sign-in of another")

	next := grant("sign-in-3")
	next.Replaces = "sign-in-1"
	f.must(f.Store.CommitTOTP(f.ctx(), user, "g1", 58_000_003, next))
	f.same("value of sign-in-3", f.signIn("sign-in-3"), "new sign-in")
	f.same("", f.signIn("sign-in-1"), "replaced sign-in")
	f.same("value of sign-in-2", f.signIn("sign-in-2"), "sign-in of another browser")

	f.must(f.Store.CommitTOTP(f.ctx(), user, "g1", 58_000_004, mfa.Grant{}))
	f.same(record("g1").Seed, f.load().Seed, "seed after an empty grant")

	again := grant("sign-in-3")
	again.Value = []byte("renewed")
	again.Replaces = again.Key
	_, err := f.Store.SpendCode(f.ctx(), user, "g1", 0, again)
	f.must(err)
	f.same("renewed", f.signIn("sign-in-3"), "sign-in that replaces itself")

	s, err := f.Store.Load(f.ctx(), other, "sign-in-3")
	f.must(err)
	f.same(mfa.Snapshot{}, s, "another user's snapshot with the same sign-in")
}

func failedGrants(f *fixture) {
	f.enrol(user, record("g1"))
	f.must(f.Store.CommitTOTP(f.ctx(), user, "g1", 58_000_001, grant("sign-in-1")))
	bad := grant("sign-in-2")
	bad.Replaces = "sign-in-1"
	_, spend := f.Store.SpendCode(f.ctx(), user, "g0", 0, bad)
	for want, err := range map[error]error{
		mfa.ErrReplayed: f.Store.CommitTOTP(f.ctx(), user, "g1", 58_000_001, bad),
		mfa.ErrStale:    errors.Join(spend, f.Store.ReplaceCodes(f.ctx(), user, "g0", "g2", codeSet(2, 8), bad)),
		mfa.ErrAlreadyEnabled: f.Store.Enrol(f.ctx(), user, browser, []byte("pending"), nil,
			record("g2"), bad),
	} {
		f.want(want, err, "refused change")
	}
	f.same("value of sign-in-1", f.signIn("sign-in-1"), "sign-in that was to be replaced")
	f.same("", f.signIn("sign-in-2"), "sign-in that was to replace it")
}

func updating(f *fixture) {
	f.must(f.Store.UpdateSignIn(f.ctx(), user, "sign-in-1", []byte("x"), time.Hour))
	f.same("", f.signIn("sign-in-1"), "sign-in that never was")
	f.enrol(user, record("g1"))
	f.must(f.Store.CommitTOTP(f.ctx(), user, "g1", 58_000_001, grant("sign-in-1")))
	f.must(f.Store.UpdateSignIn(f.ctx(), user, "sign-in-1", []byte("seen"), 60*time.Millisecond))
	f.eventually("the shortened sign-in expires", func() bool { return f.signIn("sign-in-1") == "" })

	// Of a short-lived sign-in that is prolonged, and one that is stored later,
	// the first survives.
	prolonged := ""
	for i := range 50 {
		short := grant(name("short", i))
		short.TTL = 60 * time.Millisecond
		f.must(f.Store.CommitTOTP(f.ctx(), user, "g1", int64(58_000_002+i), short))
		f.must(f.Store.UpdateSignIn(f.ctx(), user, short.Key, []byte("seen"), time.Hour))
		if f.signIn(short.Key) == "seen" {
			prolonged = short.Key
			break // else this machine took so long that it was gone before
		}
	}
	if prolonged == "" {
		f.Fatal("no sign-in could be prolonged")
	}
	mark := mfa.Grant{Key: "mark", Value: []byte("m"), TTL: 60 * time.Millisecond}
	f.must(f.Store.CommitTOTP(f.ctx(), user, "g1", 58_000_100, mark))
	f.eventually("the later sign-in expires", func() bool { return f.signIn("mark") == "" })
	f.same("seen", f.signIn(prolonged), "prolonged sign-in")
}

func signInExpires(f *fixture) {
	f.enrol(user, record("g1"))
	short := grant("sign-in-1")
	short.TTL = 60 * time.Millisecond
	f.must(f.Store.CommitTOTP(f.ctx(), user, "g1", 58_000_001, short))
	f.eventually("the sign-in expires", func() bool { return f.signIn("sign-in-1") == "" })
	f.same("g1", f.load().Generation, "generation after a sign-in expired")
}

func ending(f *fixture) {
	f.enrol(user, record("g1"))
	f.must(f.Store.CommitTOTP(f.ctx(), user, "g1", 58_000_001, grant("sign-in-1")))
	f.must(f.Store.CommitTOTP(f.ctx(), user, "g1", 58_000_002, grant("sign-in-2")))
	f.must(f.Store.EndSignIn(f.ctx(), other, "sign-in-1"))
	f.same("value of sign-in-1", f.signIn("sign-in-1"), "sign-in after another user's ended")
	f.must(f.Store.EndSignIn(f.ctx(), user, "sign-in-1"))
	f.must(f.Store.EndSignIn(f.ctx(), user, "sign-in-1"))
	f.same("", f.signIn("sign-in-1"), "ended sign-in")
	f.same("value of sign-in-2", f.signIn("sign-in-2"), "other sign-in")
	f.must(f.Store.UpdateSignIn(f.ctx(), user, "sign-in-1", []byte("x"), time.Hour))
	f.same("", f.signIn("sign-in-1"), "sign-in updated after it ended")
}
