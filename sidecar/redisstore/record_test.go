package redisstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
)

const (
	recordKey   = prefix + ":{" + realm + ":" + user + "}:u"
	countersKey = prefix + ":{" + realm + ":" + user + "}:f"
	epochKey    = prefix + ":{" + realm + "}:epoch"
)

var limits = mfa.Limits{Free: 2, Backoff: []time.Duration{time.Hour}, HardCap: 50, RollingCap: 100}

// TestUnreadableRecordsAreFaults damages a record in every way that a field
// allows: nobody is unenrolled by that.
func TestUnreadableRecordsAreFaults(t *testing.T) {
	t.Parallel()
	s, _, client := mini(t)
	for name, damage := range map[string]func(ctx context.Context) error{
		"no version":                  func(ctx context.Context) error { return client.HDel(ctx, recordKey, "v").Err() },
		"no generation":               func(ctx context.Context) error { return client.HDel(ctx, recordKey, "g").Err() },
		"no seed":                     func(ctx context.Context) error { return client.HDel(ctx, recordKey, "s").Err() },
		"no confirmation":             func(ctx context.Context) error { return client.HDel(ctx, recordKey, "a").Err() },
		"no step":                     func(ctx context.Context) error { return client.HDel(ctx, recordKey, "t").Err() },
		"no key version":              func(ctx context.Context) error { return client.HDel(ctx, recordKey, "k").Err() },
		"no salt":                     func(ctx context.Context) error { return client.HDel(ctx, recordKey, "n").Err() },
		"a newer version":             set(client, "v", "2"),
		"an empty generation":         set(client, "g", ""),
		"an empty seed":               set(client, "s", ""),
		"a step that is no number":    set(client, "t", "x"),
		"a time that is no number":    set(client, "a", "1.5"),
		"a key version out of range":  set(client, "k", "4294967296"),
		"a negative key version":      set(client, "k", "-1"),
		"an unknown field":            set(client, "z", "x"),
		"an index with a zero before": set(client, "01", strings.Repeat("d", 32)),
		"an index with a sign":        set(client, "+1", strings.Repeat("d", 32)),
		"a negative index":            set(client, "-1", strings.Repeat("d", 32)),
		"an index out of range":       set(client, "99", strings.Repeat("d", 32)),
		"a short digest":              set(client, "3", "d"),
	} {
		t.Run(name, func(t *testing.T) {
			if err := s.Reset(t.Context(), user); err != nil {
				t.Fatal(err)
			}
			enrol(t, s)
			if err := damage(t.Context()); err != nil {
				t.Fatal(err)
			}
			refuse(t, s)
			// An attempt that cannot be judged is taken back.
			if n, err := client.HGet(t.Context(), countersKey, "totp:n").Int(); err != nil || n != 0 {
				t.Errorf("counted failures = %d, %v; want 0", n, err)
			}
		})
	}
	t.Run("another type", func(t *testing.T) {
		if err := client.Del(t.Context(), recordKey).Err(); err != nil {
			t.Fatal(err)
		}
		if err := client.Set(t.Context(), recordKey, "x", 0).Err(); err != nil {
			t.Fatal(err)
		}
		refuse(t, s)
	})
}

func set(client *redis.Client, field, value string) func(context.Context) error {
	return func(ctx context.Context) error { return client.HSet(ctx, recordKey, field, value).Err() }
}

// refuse expects an error that says nothing about the enrolment.
func refuse(t *testing.T, s *redisstore.Store) {
	t.Helper()
	snapshot, err := s.Load(t.Context(), user, "")
	if err == nil || errors.Is(err, mfa.ErrNotEnrolled) || errors.Is(err, mfa.ErrStoreLost) {
		t.Errorf("Load = %v, %v", snapshot, err)
	}
	if _, err := s.Begin(t.Context(), user, mfa.FactorTOTP, limits); err == nil || errors.Is(err, mfa.ErrNotEnrolled) {
		t.Errorf("Begin: %v", err)
	}
}

// TestRecordStaysPacked holds the cost of a user to what was measured.
func TestRecordStaysPacked(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	s := newStore(t, node.Client(), redisstore.Config{})
	enrol(t, s)
	for _, factor := range []mfa.Factor{mfa.FactorTOTP, mfa.FactorRecovery, mfa.FactorPassword} {
		if _, err := s.Begin(t.Context(), user, factor, limits); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{recordKey, countersKey} {
		if got := node.Do("OBJECT", "ENCODING", key); got != "listpack" {
			t.Errorf("%s is encoded as %v", key, got)
		}
	}
	bytes, ok := node.Do("MEMORY", "USAGE", recordKey).(int64)
	if !ok || bytes > 640 {
		t.Errorf("an enrolment takes %d bytes", bytes)
	}
	t.Logf("an enrolment takes %d bytes", bytes)
}

// TestWhatCannotBeStoredIsRefused names the inputs that would make keys or
// records that nobody could read again.
func TestWhatCannotBeStoredIsRefused(t *testing.T) {
	t.Parallel()
	s, m, _ := mini(t)
	good := enrol(t, s)
	before := m.Dump()
	ctx := t.Context()
	grant := mfa.Grant{Key: "sign-in", Value: []byte("x"), TTL: time.Hour}
	with := func(change func(*mfa.Record)) error {
		r := good
		change(&r)
		return s.Enrol(ctx, "other", "browser", []byte("x"), nil, r, mfa.Grant{})
	}
	commit := func(g mfa.Grant) error { return s.CommitTOTP(ctx, user, "g1", good.LastStep+1, g) }
	spend := func(index int) error { _, err := s.SpendCode(ctx, user, "g1", index, mfa.Grant{}); return err }
	begin := func(name string, f mfa.Factor) error { _, err := s.Begin(ctx, name, f, limits); return err }
	load := func(name, signIn string) error { _, err := s.Load(ctx, name, signIn); return err }
	for name, err := range map[string]error{
		"an empty user":                   load("", ""),
		"a user with a brace":             load("a}b", ""),
		"a user with a colon":             load("a:b", ""),
		"a user with a line end":          load("a\nb", ""),
		"a user beyond ASCII":             load("ä", ""),
		"a long user":                     load(strings.Repeat("a", 129), ""),
		"a sign-in with a star":           load(user, "a*"),
		"an empty browser":                s.SavePending(ctx, user, "", []byte("x"), time.Hour),
		"a pending secret for ever":       s.SavePending(ctx, "other", "browser", []byte("x"), 0),
		"an unknown factor":               begin(user, "fingerprint"),
		"a refund of an unknown factor":   s.Refund(ctx, user, "totp:n"),
		"a sign-in for ever":              commit(mfa.Grant{Key: "sign-in", Value: []byte("x")}),
		"a granted sign-in with a brace":  commit(mfa.Grant{Key: "}", Value: []byte("x"), TTL: time.Hour}),
		"a replaced sign-in with a brace": commit(mfa.Grant{Key: "a", TTL: time.Hour, Replaces: "}"}),
		"an update for ever":              s.UpdateSignIn(ctx, user, "a", nil, 0),
		"a negative index":                spend(-1),
		"an index out of range":           spend(99),
		"an empty seed":                   s.Reseal(ctx, user, "g1", good.Seed, nil),
		"no codes at all":                 s.ReplaceCodes(ctx, user, "g1", "g2", mfa.Codes{}, grant),
		"no next generation":              s.ReplaceCodes(ctx, user, "g1", "", good.Codes, grant),
		"a record without a seed":         with(func(r *mfa.Record) { r.Seed = nil }),
		"a record without a generation":   with(func(r *mfa.Record) { r.Generation = "" }),
		"a record before the first step":  with(func(r *mfa.Record) { r.LastStep = -1 }),
		"a code without a digest":         with(func(r *mfa.Record) { r.Codes.Digests = map[int][]byte{0: nil} }),
		"a code out of range":             with(func(r *mfa.Record) { r.Codes.Digests = map[int][]byte{99: good.Seed} }),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if after := m.Dump(); after != before {
		t.Errorf("something was stored:\n%s\nwas:\n%s", after, before)
	}
}

// TestRepeatedScriptsRecogniseTheirWork plays a client that lost an answer and
// sends its script again.
func TestRepeatedScriptsRecogniseTheirWork(t *testing.T) {
	t.Parallel()
	s, _, _ := mini(t)
	ctx := t.Context()
	r := enrol(t, s)
	grant := func(key string) mfa.Grant { return mfa.Grant{Key: key, Value: []byte(key), TTL: time.Hour} }
	for range 3 {
		if err := s.Enrol(ctx, user, "browser", []byte("pending"), nil, r, grant("a")); err != nil {
			t.Fatalf("Enrol: %v", err)
		}
		if err := s.CommitTOTP(ctx, user, "g1", r.LastStep+1, grant("b")); err != nil {
			t.Fatalf("CommitTOTP: %v", err)
		}
		if left, err := s.SpendCode(ctx, user, "g1", 0, grant("c")); err != nil || left != 7 {
			t.Fatalf("SpendCode = %d, %v", left, err)
		}
		if err := s.Reseal(ctx, user, "g1", r.Seed, []byte("new")); err != nil {
			t.Fatalf("Reseal: %v", err)
		}
	}
	// The same step with a grant of its own is another attempt.
	if err := s.CommitTOTP(ctx, user, "g1", r.LastStep+1, grant("d")); !errors.Is(err, mfa.ErrReplayed) {
		t.Errorf("CommitTOTP for another sign-in: %v", err)
	}
	if err := s.CommitTOTP(ctx, user, "g1", r.LastStep, grant("b")); !errors.Is(err, mfa.ErrReplayed) {
		t.Errorf("CommitTOTP of an older step: %v", err)
	}
	if err := s.CommitTOTP(ctx, user, "g1", r.LastStep+1, mfa.Grant{}); !errors.Is(err, mfa.ErrReplayed) {
		t.Errorf("CommitTOTP for no sign-in: %v", err)
	}
	if _, err := s.SpendCode(ctx, user, "g1", 0, grant("d")); !errors.Is(err, mfa.ErrSpent) {
		t.Errorf("SpendCode for another sign-in: %v", err)
	}
	for range 2 {
		if err := s.ReplaceCodes(ctx, user, "g1", "g2", r.Codes, grant("e")); err != nil {
			t.Fatalf("ReplaceCodes: %v", err)
		}
	}
}

// TestScriptsSurviveTheServersForgetting flushes the server's script cache.
func TestScriptsSurviveTheServersForgetting(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	s := newStore(t, node.Client(), redisstore.Config{})
	want := enrol(t, s)
	node.Do("SCRIPT", "FLUSH")
	snapshot, err := s.Load(t.Context(), user, "")
	if err != nil || snapshot.Record == nil {
		t.Fatalf("Load = %v, %v", snapshot, err)
	}
	node.Do("SCRIPT", "FLUSH")
	if err := s.CommitTOTP(t.Context(), user, "g1", want.LastStep+1, mfa.Grant{}); err != nil {
		t.Error(err)
	}
}

func TestNewRefusesNamesThatBreakKeys(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = client.Close() })
	for name, c := range map[string]redisstore.Config{
		"no prefix":            {Realm: realm, Clock: time.Now},
		"a prefix with braces": {Prefix: "{a}", Realm: realm, Clock: time.Now},
		"no realm":             {Prefix: prefix, Clock: time.Now},
		"a realm with a colon": {Prefix: prefix, Realm: "a:b", Clock: time.Now},
		"a realm with a brace": {Prefix: prefix, Realm: "a}b", Clock: time.Now},
		"no clock":             {Prefix: prefix, Realm: realm},
	} {
		if _, err := redisstore.New(client, c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
