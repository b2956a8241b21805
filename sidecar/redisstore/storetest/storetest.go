// Package storetest is the suite that every mfa.Store passes. It knows a store
// by its methods alone.
//
// It may import sidecar/mfa and sidecar/seal. It must never skip a case that the
// store under test can be put to.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/mfa"
)

// Backend is a fresh store, with what the suite does to it from outside.
type Backend struct {
	Store mfa.Store
	// Lose takes everything out of the store, its epoch too.
	Lose func()
	// Dump returns everything the store keeps, names and values.
	Dump func() string
	// Advance moves the store's clock, by up to months; nil where it is a real
	// one. Cases that only a moved clock can show do without a real one.
	Advance func(d time.Duration)
}

// Run puts the store that open returns to every case, each on a store of its own.
func Run(t *testing.T, open func(t *testing.T) Backend) {
	t.Helper()
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := &fixture{T: t, Backend: open(t)}
			if c.clock && f.Advance == nil {
				return
			}
			c.run(f)
		})
	}
}

type testCase struct {
	name string
	run  func(*fixture)
	// clock marks what only a store shows whose clock can be moved.
	clock bool
}

func cases() []testCase {
	return []testCase{
		{name: "a user nobody knows is not enrolled", run: unknownUser},
		{name: "a pending secret is kept for its browser session", run: pendingSecret},
		{name: "a pending secret expires", run: pendingExpires},
		{name: "enrolling turns the pending secret into a record", run: enrolling},
		{name: "enrolling compares the pending secret", run: enrollingCompares},
		{name: "of parallel enrolments one wins", run: enrollingInParallel},
		{name: "a ticket is the user's and the newest", run: ticket},
		{name: "a ticket expires", run: ticketExpires},
		{name: "enrolling spends the ticket", run: enrollingByTicket},
		{name: "of parallel enrolments by one ticket one wins, for ever", run: ticketInParallel},
		{name: "a record without codes is read back", run: recordWithoutCodes},
		{name: "replacing codes changes codes and generation", run: replacingCodes},
		{name: "resealing compares the sealed seed", run: resealing},
		{name: "deleting ends one generation", run: deleting},
		{name: "resetting ends everything", run: resetting},

		{name: "nobody begins without an enrolment", run: beginUnenrolled},
		{name: "waits follow the free failures", run: waits},
		{name: "a zero limit is none", run: noLimits},
		{name: "of parallel attempts only the free ones pass", run: beginInParallel},
		{name: "factors are counted apart", run: factorsApart},
		{name: "consecutive failures switch a factor off", run: hardCap},
		{name: "failures switch a factor off in spite of successes", run: rollingCap},
		{name: "an attempt in flight may still succeed at the cap", run: successAtTheCap},
		{name: "failures are forgotten after their window", run: window, clock: true},
		{name: "an attempt that ends a day later is taken back", run: midnight, clock: true},
		{name: "a factor stays off for ever", run: staysOff, clock: true},
		{name: "refunding takes an attempt back", run: refunding},
		{name: "a caller who hangs up is counted", run: hangUp},

		{name: "a time step is accepted once and in order", run: steps},
		{name: "of parallel commits of one step one wins", run: stepInParallel},
		{name: "of parallel commits the latest step stands", run: stepsInParallel},
		{name: "a recovery code is spent once", run: codes},
		{name: "of parallel spendings of one code one wins", run: codeInParallel},
		{name: "a recovery code restores the other factor", run: codeRestores},

		{name: "a grant stores and replaces a sign-in", run: grants},
		{name: "a failed commit grants nothing", run: failedGrants},
		{name: "a sign-in is updated only where it exists", run: updating},
		{name: "a sign-in expires", run: signInExpires},
		{name: "a sign-in ends", run: ending},

		{name: "a lost store is never an empty one", run: lost},
		{name: "nothing readable is kept", run: dump},
	}
}

// fixture is what a case works with.
type fixture struct {
	*testing.T
	Backend
}

// The names of the suite's user, browser sessions and sign-ins.
const (
	user    = "user-1"
	other   = "user-2"
	browser = "browser-1"
)

// record returns a record of the generation with eight codes.
func record(generation string) mfa.Record {
	return mfa.Record{
		Generation:  generation,
		Seed:        bytes.Repeat([]byte{0x00, 0xff, '\n'}, 17),
		ConfirmedAt: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		LastStep:    58_000_000,
		Codes:       codeSet(1, 8),
	}
}

func codeSet(kid uint32, n int) mfa.Codes {
	c := mfa.Codes{KeyID: kid, Salt: bytes.Repeat([]byte{'s'}, 16), Digests: map[int][]byte{}}
	for i := range n {
		c.Digests[i] = fmt.Appendf(nil, "digest %10d of set %10d", i, kid)
	}
	return c
}

func grant(key string) mfa.Grant {
	return mfa.Grant{Key: key, Value: []byte("value of " + key), TTL: time.Hour}
}

// ctx is the context of most calls.
func (f *fixture) ctx() context.Context { return f.Context() }

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) want(want, got error, doing string) {
	f.Helper()
	if !errors.Is(got, want) {
		f.Fatalf("%s: %v; want %v", doing, got, want)
	}
}

// enrol enrols a user through a pending secret.
func (f *fixture) enrol(who string, r mfa.Record) {
	f.Helper()
	f.must(f.Store.SavePending(f.ctx(), who, browser, []byte("pending"), time.Minute))
	f.must(f.Store.Enrol(f.ctx(), who, browser, []byte("pending"), nil, r, mfa.Grant{}))
}

// load reads the user's record and fails if there is none.
func (f *fixture) load() mfa.Record {
	f.Helper()
	s, err := f.Store.Load(f.ctx(), user, "")
	f.must(err)
	if s.Record == nil {
		f.Fatal("the user is not enrolled")
	}
	return *s.Record
}

// signIn reads a sign-in, "" for none.
func (f *fixture) signIn(key string) string {
	f.Helper()
	s, err := f.Store.Load(f.ctx(), user, key)
	f.must(err)
	return string(s.SignIn)
}

func (f *fixture) same(want, got any, what string) {
	f.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		f.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// begin begins an attempt that must be let through.
func (f *fixture) begin(factor mfa.Factor, limits mfa.Limits) {
	f.Helper()
	if _, err := f.Store.Begin(f.ctx(), user, factor, limits); err != nil {
		f.Fatalf("begin at %s: %v", factor, err)
	}
}

// refused begins an attempt that must be refused.
func (f *fixture) refused(factor mfa.Factor, limits mfa.Limits) error {
	f.Helper()
	r, err := f.Store.Begin(f.ctx(), user, factor, limits)
	if err == nil {
		f.Fatalf("begin at %s: let through", factor)
	}
	if r.Generation != "" || r.Seed != nil {
		f.Fatalf("begin at %s: refused, and returned a record", factor)
	}
	return err
}

// locked begins an attempt that must be told to wait, and returns how long.
func (f *fixture) locked(factor mfa.Factor, limits mfa.Limits) time.Duration {
	f.Helper()
	err := f.refused(factor, limits)
	l, ok := errors.AsType[*mfa.LockedError](err)
	if !ok {
		f.Fatalf("begin at %s: %v; want a LockedError", factor, err)
	}
	return l.RetryAfter
}

// eventually waits until done, moving the clock if it can be moved.
func (f *fixture) eventually(what string, done func() bool) {
	f.Helper()
	for range 2000 {
		if done() {
			return
		}
		if f.Advance != nil {
			f.Advance(5 * time.Millisecond)
		} else {
			time.Sleep(5 * time.Millisecond)
		}
	}
	f.Fatalf("%s: never", what)
}

// parallel runs n calls at once and returns how many returned nil. The others
// must return want.
func (f *fixture) parallel(n int, want error, do func(i int) error) int {
	f.Helper()
	var wins atomic.Int64
	var group sync.WaitGroup
	gate := make(chan struct{})
	for i := range n {
		group.Go(func() {
			<-gate
			switch err := do(i); {
			case err == nil:
				wins.Add(1)
			case !errors.Is(err, want):
				f.Errorf("call %d: %v; want %v", i, err, want)
			}
		})
	}
	close(gate)
	group.Wait()
	return int(wins.Load())
}

func name(prefix string, i int) string { return fmt.Sprintf("%s-%d", prefix, i) }
