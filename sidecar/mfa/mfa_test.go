package mfa_test

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pquerna/otp/totp"
	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/sidecar/seal"
)

// fixture is the domain over a real store, with a clock that tests turn.
type fixture struct {
	*mfa.Service

	now    time.Time
	events recorder
	doc    []byte
}

type recorder struct {
	mu     sync.Mutex
	events []mfa.Event
}

func (r *recorder) Record(_ context.Context, e mfa.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) last() mfa.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[len(r.events)-1]
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{now: time.Date(2026, 3, 1, 12, 0, 10, 0, time.UTC)}
	var err error
	if f.doc, err = seal.Generate(rand.Reader, f.now); err != nil {
		t.Fatal(err)
	}
	client, err := redisstore.Dial(redisstore.Options{URL: "redis://" + redistest.Mini(t).Addr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	f.Service = mfa.New(mfa.Config{
		Store: openStore(t, client), Ring: ring(t, f.doc), Clock: func() time.Time { return f.now }, Random: rand.Reader,
		Events: &f.events, Issuer: "Acme", Regulation: mfa.DefaultRegulation(), Hasher: mfa.NewHasher(),
		ClockSound: func() bool { return true },
	})
	return f
}

func ring(t *testing.T, doc []byte) *seal.Ring {
	t.Helper()
	r, err := seal.Parse(doc, "acme/portal")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// code is what an authenticator app shows for the secret at a time.
func code(t *testing.T, secret mfa.Secret, at time.Time) string {
	t.Helper()
	c, err := totp.GenerateCode(strings.ReplaceAll(secret.Text, " ", ""), at)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func grant(key string) func(string) (mfa.Grant, error) {
	return func(generation string) (mfa.Grant, error) {
		return mfa.Grant{Key: key, Value: []byte(generation), TTL: time.Hour}, nil
	}
}

// enrol enables two-factor for a user and moves on to the next time step.
func (f *fixture) enrol(t *testing.T, u mfa.User) (mfa.Secret, []string) {
	t.Helper()
	secret, err := f.Mint(t.Context(), u, "browser", "")
	if err != nil {
		t.Fatal(err)
	}
	codes, err := f.Confirm(t.Context(), u, "browser", code(t, secret, f.now), grant("first"))
	if err != nil {
		t.Fatal(err)
	}
	f.now = f.now.Add(30 * time.Second)
	return secret, codes
}

func TestEnrolment(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.User("u-1", "alice")

	secret, err := f.Mint(t.Context(), alice, "browser", "")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(secret.Text, " ", ""))
	if err != nil || len(raw) != 20 {
		t.Errorf("the secret has %d bytes (%v), want 20", len(raw), err)
	}
	if snapshot, err := f.Load(t.Context(), alice, ""); err != nil || snapshot.Record != nil {
		t.Errorf("a pending enrolment counts as one: %+v, %v", snapshot.Record, err)
	}
	if _, err := f.Confirm(t.Context(), alice, "another-browser", code(t, secret, f.now), grant("k")); !errors.Is(err, mfa.ErrNoPending) {
		t.Errorf("confirming from another browser: %v, want %v", err, mfa.ErrNoPending)
	}
	if _, err := f.Confirm(t.Context(), alice, "browser", "000000", grant("k")); !errors.Is(err, mfa.ErrWrongCode) {
		t.Errorf("confirming with a wrong code: %v, want %v", err, mfa.ErrWrongCode)
	}
	again, err := f.Pending(t.Context(), alice, "browser")
	if diff := cmp.Diff(secret, again); err != nil || diff != "" {
		t.Errorf("after a wrong code the pending secret is another one (%v):\n%s", err, diff)
	}
	codes, err := f.Confirm(t.Context(), alice, "browser", code(t, secret, f.now), grant("first"))
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(`^[A-HJ-NP-Z2-9]{4}-[A-HJ-NP-Z2-9]{4}$`)
	distinct := map[string]bool{}
	for _, c := range codes {
		if !form.MatchString(c) {
			t.Errorf("recovery code %q has the wrong form", c)
		}
		distinct[c] = true
	}
	if len(distinct) != mfa.RecoveryCodes {
		t.Errorf("%d distinct recovery codes, want %d", len(distinct), mfa.RecoveryCodes)
	}
	snapshot, err := f.Load(t.Context(), alice, "first")
	if err != nil || snapshot.Record == nil || string(snapshot.SignIn) != snapshot.Record.Generation {
		t.Errorf("after confirming: record %+v, sign-in %q, %v", snapshot.Record, snapshot.SignIn, err)
	}
	if _, err := f.Mint(t.Context(), alice, "browser", ""); !errors.Is(err, mfa.ErrAlreadyEnabled) {
		t.Errorf("minting over an enrolment: %v, want %v", err, mfa.ErrAlreadyEnabled)
	}
	if err := f.VerifyTOTP(t.Context(), alice, code(t, secret, f.now), grant("k")); !errors.Is(err, mfa.ErrWrongCode) {
		t.Errorf("signing in with the code that confirmed: %v, want %v", err, mfa.ErrWrongCode)
	}
	if got := f.events.last().Result; got != mfa.ResultReplayed {
		t.Errorf("the event says %q, want %q", got, mfa.ResultReplayed)
	}
}

func TestDiscardForgetsThePendingSecret(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.User("u-1", "alice")
	secret, err := f.Mint(t.Context(), alice, "browser", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Discard(t.Context(), alice, "browser"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Confirm(t.Context(), alice, "browser", code(t, secret, f.now), grant("k")); !errors.Is(err, mfa.ErrNoPending) {
		t.Errorf("confirming a discarded secret: %v, want %v", err, mfa.ErrNoPending)
	}
}

func TestVerifyTOTPWindow(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		offset time.Duration
		want   error
	}{
		"the current step":    {0, nil},
		"one step early":      {-30 * time.Second, nil},
		"one step late":       {30 * time.Second, nil},
		"two steps old":       {-60 * time.Second, mfa.ErrWrongCode},
		"two steps ahead":     {60 * time.Second, mfa.ErrWrongCode},
		"long ago":            {-time.Hour, mfa.ErrWrongCode},
		"a day in the future": {24 * time.Hour, mfa.ErrWrongCode},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			alice := f.User("u-1", "alice")
			secret, _ := f.enrol(t, alice)
			f.now = f.now.Add(10 * time.Minute) // clear of the step that confirmed
			err := f.VerifyTOTP(t.Context(), alice, code(t, secret, f.now.Add(c.offset)), grant("k"))
			if !errors.Is(err, c.want) {
				t.Errorf("VerifyTOTP() = %v, want %v", err, c.want)
			}
		})
	}
}

func TestRecoveryCodes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice, bob := f.User("u-1", "alice"), f.User("u-2", "bob")
	_, codes := f.enrol(t, alice)
	_, bobs := f.enrol(t, bob)

	typed := strings.ToLower(strings.ReplaceAll(codes[0], "-", " "))
	left, err := f.VerifyRecovery(t.Context(), alice, typed, grant("k"))
	if err != nil || left != mfa.RecoveryCodes-1 {
		t.Errorf("VerifyRecovery() = %d, %v; want 7 left", left, err)
	}
	for name, wrong := range map[string]string{
		"spent": codes[0], "another user's": bobs[0], "malformed": "0000-1111", "too long": codes[1] + "A", "empty": "",
	} {
		if _, err := f.VerifyRecovery(t.Context(), alice, wrong, grant("k")); !errors.Is(err, mfa.ErrWrongCode) {
			t.Errorf("a code that is %s: %v, want %v", name, err, mfa.ErrWrongCode)
		}
	}
	if _, err := f.VerifyRecovery(t.Context(), bob, bobs[0], grant("k")); err != nil {
		t.Errorf("Bob's code at Bob's account: %v", err)
	}
}

func TestRegenerateEndsTheOldCodesAndGeneration(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.User("u-1", "alice")
	_, old := f.enrol(t, alice)
	before, err := f.Load(t.Context(), alice, "")
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := f.Regenerate(t.Context(), alice, grant("k"))
	if err != nil {
		t.Fatal(err)
	}
	after, err := f.Load(t.Context(), alice, "")
	if err != nil || after.Record.Generation == before.Record.Generation {
		t.Errorf("the generation did not change (%v)", err)
	}
	if _, err := f.VerifyRecovery(t.Context(), alice, old[3], grant("k")); !errors.Is(err, mfa.ErrWrongCode) {
		t.Errorf("an old code: %v, want %v", err, mfa.ErrWrongCode)
	}
	if _, err := f.VerifyRecovery(t.Context(), alice, fresh[3], grant("k")); err != nil {
		t.Errorf("a fresh code: %v", err)
	}
	if _, err := f.Regenerate(t.Context(), f.User("u-9", "nobody"), grant("k")); !errors.Is(err, mfa.ErrNotEnrolled) {
		t.Errorf("regenerating without an enrolment: %v, want %v", err, mfa.ErrNotEnrolled)
	}
}

func TestFiveFailuresLockOneFactorOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.User("u-1", "alice")
	secret, codes := f.enrol(t, alice)
	for range 5 {
		if err := f.VerifyTOTP(t.Context(), alice, "000000", grant("k")); !errors.Is(err, mfa.ErrWrongCode) {
			t.Fatalf("a free failure: %v, want %v", err, mfa.ErrWrongCode)
		}
	}
	var locked *mfa.LockedError
	err := f.VerifyTOTP(t.Context(), alice, code(t, secret, f.now), grant("k"))
	if !errors.As(err, &locked) || locked.RetryAfter <= 0 || locked.RetryAfter > 30*time.Second {
		t.Errorf("the sixth attempt, with the right code: %v, want a wait of up to 30 s", err)
	}
	if _, err := f.VerifyRecovery(t.Context(), alice, codes[0], grant("k")); err != nil {
		t.Errorf("a recovery code while codes are locked: %v", err)
	}
}

func TestDisable(t *testing.T) {
	t.Parallel()
	unavailable := errors.New("the app is away")
	f := newFixture(t)
	alice := f.User("u-1", "alice")
	f.enrol(t, alice)
	check := func(verdict error) func(context.Context) error {
		return func(context.Context) error { return verdict }
	}
	for range 10 {
		if err := f.Disable(t.Context(), alice, check(unavailable)); !errors.Is(err, unavailable) {
			t.Fatalf("an app that is away: %v, and it must cost no attempt", err)
		}
	}
	if err := f.Disable(t.Context(), alice, check(mfa.ErrWrongPassword)); !errors.Is(err, mfa.ErrWrongPassword) {
		t.Errorf("a wrong password: %v", err)
	}
	if snapshot, err := f.Load(t.Context(), alice, ""); err != nil || snapshot.Record == nil {
		t.Fatalf("two-factor is gone after a wrong password (%v)", err)
	}
	if err := f.Disable(t.Context(), alice, check(nil)); err != nil {
		t.Errorf("the right password: %v", err)
	}
	if snapshot, err := f.Load(t.Context(), alice, ""); err != nil || snapshot.Record != nil {
		t.Errorf("two-factor is still there (%v)", err)
	}
	if err := f.Disable(t.Context(), alice, check(nil)); !errors.Is(err, mfa.ErrNotEnrolled) {
		t.Errorf("disabling twice: %v, want %v", err, mfa.ErrNotEnrolled)
	}
}

func TestPasswordGateLocksAfterFiveWrongPasswords(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.User("u-1", "alice")
	f.enrol(t, alice)
	asked := 0
	wrong := func(context.Context) error { asked++; return mfa.ErrWrongPassword }
	for range 5 {
		_ = f.Disable(t.Context(), alice, wrong)
	}
	var locked *mfa.LockedError
	if err := f.Disable(t.Context(), alice, wrong); !errors.As(err, &locked) || asked != 5 {
		t.Errorf("the sixth attempt: %v after asking the app %d times, want a lock after 5", err, asked)
	}
}

func TestDisableWithCode(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.User("u-1", "alice")
	secret, _ := f.enrol(t, alice)
	if err := f.DisableWithCode(t.Context(), alice, "000000"); !errors.Is(err, mfa.ErrWrongCode) {
		t.Errorf("a wrong code: %v", err)
	}
	if err := f.DisableWithCode(t.Context(), alice, code(t, secret, f.now)); err != nil {
		t.Errorf("the current code: %v", err)
	}
	if snapshot, err := f.Load(t.Context(), alice, ""); err != nil || snapshot.Record != nil {
		t.Errorf("two-factor is still there (%v)", err)
	}
}

func openStore(t *testing.T, client redis.UniversalClient) mfa.Store {
	t.Helper()
	epoch, err := redisstore.EnsureEpoch(t.Context(), client, "sallyport", "acme/portal", "", rand.Reader, strings.ToUpper)
	if err != nil {
		t.Fatal(err)
	}
	store, err := redisstore.New(client, redisstore.Config{
		Prefix: "sallyport", Realm: "acme/portal", Epoch: epoch, Clock: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return store
}
