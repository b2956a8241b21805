package redisstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/sidecar/seal"
)

// silent drops events.
type silent struct{}

func (silent) Record(context.Context, mfa.Event) {}

// ringOf parses a document for the realm of most tests.
func ringOf(t *testing.T, doc []byte) *seal.Ring {
	t.Helper()
	r, err := seal.Parse(doc, realm)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// rings are a key ring before and after a promotion.
func rings(t *testing.T) (before, after *seal.Ring) {
	t.Helper()
	doc, err := seal.Generate(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	added, err := seal.Add(doc, rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	promoted, err := seal.Promote(added, 2)
	if err != nil {
		t.Fatal(err)
	}
	return ringOf(t, added), ringOf(t, promoted)
}

func domain(s *redisstore.Store, r *seal.Ring) *mfa.Service {
	return mfa.New(mfa.Config{Store: s, Ring: r, Clock: time.Now, Random: rand.Reader, Events: silent{}})
}

// enrolled enrols users under the ring's primary key, with so many unspent codes.
func enrolled(t *testing.T, s *redisstore.Store, r *seal.Ring, codes int, users ...string) {
	t.Helper()
	for _, name := range users {
		seed, err := r.Seal("seed", []byte(name), []byte("12345678901234567890"))
		if err != nil {
			t.Fatal(err)
		}
		record := mfa.Record{
			Generation: "g1", Seed: seed, ConfirmedAt: time.Unix(1_780_000_000, 0),
			Codes: mfa.Codes{KeyID: r.Primary(), Salt: make([]byte, 16), Digests: map[int][]byte{}},
		}
		for i := range codes {
			record.Codes.Digests[i] = make([]byte, 16)
		}
		if err := s.SavePending(t.Context(), name, "browser", []byte("pending"), time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := s.Enrol(t.Context(), name, "browser", []byte("pending"), nil, record, mfa.Grant{}); err != nil {
			t.Fatal(err)
		}
	}
}

func names(kind string, n int) []string {
	var users []string
	for i := range n {
		users = append(users, fmt.Sprintf("%s-%d", kind, i))
	}
	return users
}

// sweep sweeps and returns what is published after.
func sweep(t *testing.T, s *redisstore.Store, client redis.UniversalClient, r *seal.Ring) (bool, seal.Use) {
	t.Helper()
	swept, err := s.Sweep(t.Context(), r.Primary(), rand.Reader, domain(s, r).Examine)
	if err != nil {
		t.Fatal(err)
	}
	use, err := redisstore.KeyUse(t.Context(), client, prefix, realm)
	if err != nil {
		t.Fatal(err)
	}
	return swept, use
}

// forgetUse makes a sweep due.
func forgetUse(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	if err := client.Del(t.Context(), prefix+":{"+realm+"}:keys").Err(); err != nil {
		t.Fatal(err)
	}
}

var anyTime = cmpopts.IgnoreFields(seal.Use{}, "AsOf")

// sweeping is what every kind of Redis shows: 37 and 5 users under two keys, of whom
// ten have no codes, move to the newer; codes stay.
func sweeping(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	before, after := rings(t)
	s := newStore(t, client, redisstore.Config{Timeout: patient})
	if _, err := redisstore.KeyUse(t.Context(), client, prefix, realm); !errors.Is(err, redisstore.ErrNeverSwept) {
		t.Errorf("KeyUse before any sweep: %v, want ErrNeverSwept", err)
	}
	enrolled(t, s, before, 8, names("old", 27)...)
	enrolled(t, s, before, 0, names("spent", 10)...)
	enrolled(t, s, after, 8, names("new", 5)...)
	for _, neighbour := range []string{realm + "s", "work" + realm} {
		n := newStore(t, client, redisstore.Config{Realm: neighbour, Timeout: patient})
		enrolled(t, n, before, 8, names("neighbour", 3)...)
	}

	started := time.Now()
	_, first := sweep(t, s, client, after)
	want := seal.Use{Primary: 2, Seals: map[uint32]int64{1: 37, 2: 5}, Codes: map[uint32]int64{1: 27, 2: 5}, Moved: 37}
	if diff := cmp.Diff(want, first, anyTime); diff != "" {
		t.Errorf("first sweep (-want +got):\n%s", diff)
	}
	if off := first.AsOf.Sub(started).Abs(); off > time.Minute {
		t.Errorf("asOf is off by %s", off)
	}
	forgetUse(t, client)
	_, second := sweep(t, s, client, after)
	want = seal.Use{Primary: 2, Seals: map[uint32]int64{2: 42}, Codes: map[uint32]int64{1: 27, 2: 5}}
	if diff := cmp.Diff(want, second, anyTime); diff != "" {
		t.Errorf("second sweep (-want +got):\n%s", diff)
	}
	for _, name := range append(names("old", 27), names("new", 5)...) {
		snapshot, err := s.Load(t.Context(), name, "")
		if err != nil {
			t.Fatal(err)
		}
		seed, kid, err := after.Open("seed", []byte(name), snapshot.Record.Seed)
		if err != nil || kid != 2 || string(seed) != "12345678901234567890" {
			t.Errorf("%s: seed %q under key %d, %v", name, seed, kid, err)
		}
	}
}

func TestSweepMovesSeedsAndCounts(t *testing.T) {
	t.Parallel()
	t.Run("server", func(t *testing.T) { t.Parallel(); sweeping(t, redistest.Server(t).Client()) })
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		sweeping(t, dial(t, redisstore.Options{URL: "redis+cluster://" + redistest.Cluster(t)[0].Addr}))
	})
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		_, _, client := mini(t)
		client.FlushAll(t.Context())
		sweeping(t, client)
	})
}

func TestSweepNeverMovesToAnOlderKey(t *testing.T) {
	t.Parallel()
	before, after := rings(t)
	s, _, client := mini(t)
	enrolled(t, s, after, 8, "alice")
	if swept, use := sweep(t, s, client, before); !swept || use.Moved != 0 || use.Seals[2] != 1 {
		t.Errorf("swept %t: %+v", swept, use)
	}
	if swept, _ := sweep(t, s, client, after); !swept {
		t.Error("a newer ring does not make a sweep due")
	}
	if swept, use := sweep(t, s, client, before); swept || use.Primary != 2 {
		t.Errorf("an older ring swept after a newer: %t, %+v", swept, use)
	}
}

func TestSweepIsDueByTheStoresClock(t *testing.T) {
	t.Parallel()
	before, after := rings(t)
	s, m, client := mini(t)
	now := time.Now()
	at := func(d time.Duration) { m.SetTime(now.Add(d)) }
	at(0)
	enrolled(t, s, before, 8, "alice")
	for _, c := range []struct {
		at   time.Duration
		want bool
	}{
		{0, true},                                     // never swept; moves the seed
		{14 * time.Second, false},                     // too soon
		{15 * time.Second, true},                      // looks whether the seed has stayed moved
		{2 * time.Minute, false},                      // nothing moved: at rest
		{time.Hour + 14*time.Second, false},           // still
		{time.Hour + 15*time.Second, true},            // an hour old
		{30 * time.Minute, true},                      // a count of the future says nothing
		{30*time.Minute + 10*time.Millisecond, false}, // at rest again
	} {
		at(c.at)
		if swept, _ := sweep(t, s, client, after); swept != c.want {
			t.Errorf("at %s: swept %t, want %t", c.at, swept, c.want)
		}
	}
}

func TestSweepReplacesAnUnreadableCount(t *testing.T) {
	t.Parallel()
	_, after := rings(t)
	s, _, client := mini(t)
	if err := client.Set(t.Context(), prefix+":{"+realm+"}:keys", "{}", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := redisstore.KeyUse(t.Context(), client, prefix, realm); err == nil {
		t.Error("an unreadable count was read")
	}
	if swept, _ := sweep(t, s, client, after); !swept {
		t.Error("an unreadable count was left")
	}
}

func TestOneSidecarSweepsAtATime(t *testing.T) {
	t.Parallel()
	before, _ := rings(t)
	s, _, client := mini(t)
	enrolled(t, s, before, 8, "alice", "bob")
	other := 0
	swept, err := s.Sweep(t.Context(), 1, rand.Reader, func(ctx context.Context, _ string, _ *seal.Use) error {
		other++
		swept, err := s.Sweep(ctx, 1, rand.Reader, func(context.Context, string, *seal.Use) error { return nil })
		if swept || err != nil {
			t.Errorf("another swept meanwhile: %t, %v", swept, err)
		}
		return nil
	})
	if !swept || err != nil || other != 2 {
		t.Errorf("Sweep = %t, %v, and looked at %d users", swept, err, other)
	}
	if n := client.Exists(t.Context(), prefix+":{"+realm+"}:sweep").Val(); n != 0 {
		t.Error("the turn was kept after the sweep")
	}
}

func TestSweepWithoutItsTurnPublishesNothing(t *testing.T) {
	t.Parallel()
	before, _ := rings(t)
	s, _, client := mini(t)
	enrolled(t, s, before, 8, "alice")
	swept, err := s.Sweep(t.Context(), 1, rand.Reader, func(ctx context.Context, _ string, _ *seal.Use) error {
		return client.Set(ctx, prefix+":{"+realm+"}:sweep", "another", time.Minute).Err()
	})
	if swept || err == nil {
		t.Errorf("Sweep = %t, %v", swept, err)
	}
	if got := client.Get(t.Context(), prefix+":{"+realm+"}:sweep").Val(); got != "another" {
		t.Errorf("the turn of another is now %q", got)
	}
	if _, err := redisstore.KeyUse(t.Context(), client, prefix, realm); !errors.Is(err, redisstore.ErrNeverSwept) {
		t.Errorf("KeyUse: %v, want ErrNeverSwept", err)
	}
}

func TestSweepOfWhatItCannotRead(t *testing.T) {
	t.Parallel()
	before, after := rings(t)
	s, _, client := mini(t)
	enrolled(t, s, before, 8, "alice", "bob", "carol", "dave")
	tag := func(name string) string { return prefix + ":{" + realm + ":" + name + "}:u" }
	alice := client.HGet(t.Context(), tag("alice"), "s").Val()
	for name, do := range map[string]*redis.IntCmd{
		"a seed that is none":          client.HSet(t.Context(), tag("alice"), "s", "short"),
		"a record without its version": client.HDel(t.Context(), tag("bob"), "v"),
		"another user's seed":          client.HSet(t.Context(), tag("carol"), "s", alice),
		"a key that is not ours":       client.HSet(t.Context(), prefix+":{"+realm+":d:x}:u", "v", "1"),
	} {
		if err := do.Err(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	_, use := sweep(t, s, client, after)
	want := seal.Use{
		Primary: 2, Seals: map[uint32]int64{1: 2}, Codes: map[uint32]int64{1: 3}, Moved: 1, Unreadable: 3,
	}
	if diff := cmp.Diff(want, use, anyTime); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !use.Needs(1) || !use.Needs(9) {
		t.Error("with unreadable records, a version counts as unused")
	}
}

func TestSweepOfALostStoreCountsNothing(t *testing.T) {
	t.Parallel()
	before, _ := rings(t)
	s, _, client := mini(t)
	enrolled(t, s, before, 8, "alice")
	s.SetEpoch("another")
	client.HDel(t.Context(), prefix+":{"+realm+":alice}:u", "v")
	swept, err := s.Sweep(t.Context(), 1, rand.Reader, domain(s, before).Examine)
	if swept || !errors.Is(err, mfa.ErrStoreLost) {
		t.Errorf("Sweep = %t, %v; want ErrStoreLost", swept, err)
	}
}

func TestRealmsAreToldApart(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"server", "cluster"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var client redis.UniversalClient
			if kind == "cluster" {
				client = dial(t, redisstore.Options{URL: "redis+cluster://" + redistest.Cluster(t)[0].Addr})
			} else {
				client = redistest.Server(t).Client()
			}
			before, _ := rings(t)
			want := map[string]int64{"a/b": 9, "a/bc": 2, "aa/b": 3, "a/b.c": 1, "b/a": 4}
			for realm, n := range want {
				s := newStore(t, client, redisstore.Config{Realm: realm, Timeout: patient})
				enrolled(t, s, before, 1, names("u", int(n))...)
			}
			s := newStore(t, client, redisstore.Config{Realm: "a/b", Timeout: patient})
			if err := s.SavePending(t.Context(), "new", "browser", []byte("x"), time.Minute); err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{
				prefix + ":{a}:policy:b", "x" + prefix + ":{a/b:u}:u", prefix + "x:{a/b:u}:u", prefix + ":{a/b", prefix + ":{x}:u",
			} {
				if err := client.Set(t.Context(), key, "x", 0).Err(); err != nil {
					t.Fatal(err)
				}
			}
			counted := func(want map[string]int64) {
				t.Helper()
				got, err := redisstore.CountEnrolled(t.Context(), client, prefix)
				if diff := cmp.Diff(want, got); err != nil || diff != "" {
					t.Errorf("CountEnrolled: %v (-want +got):\n%s", err, diff)
				}
			}
			counted(want)
			// Nine users and one pending secret, and the epoch.
			if n, err := redisstore.Purge(t.Context(), client, prefix, "a/b"); n != 11 || err != nil {
				t.Errorf("Purge = %d, %v; want 11", n, err)
			}
			delete(want, "a/b")
			counted(want)
			if n, err := redisstore.Purge(t.Context(), client, prefix, "a/b"); n != 0 || err != nil {
				t.Errorf("a second Purge = %d, %v", n, err)
			}
			if n := client.Exists(t.Context(), prefix+":{a}:policy:b").Val(); n != 1 {
				t.Error("the purge took a policy along")
			}
			if _, err := s.Load(t.Context(), "u-0", ""); !errors.Is(err, mfa.ErrStoreLost) {
				t.Errorf("after a purge a sidecar says %v, want ErrStoreLost", err)
			}
		})
	}
}

func TestPurgeRefusesWhatIsNoRealm(t *testing.T) {
	t.Parallel()
	_, _, client := mini(t)
	for _, realm := range []string{"", "a", "a/b/c", "*/*", "a/b]", "a/{b}", "a/b:c"} {
		if n, err := redisstore.Purge(t.Context(), client, prefix, realm); err == nil {
			t.Errorf("purged %d keys of %q", n, realm)
		}
	}
}

func TestWalkNoticesARestart(t *testing.T) {
	t.Parallel()
	before, _ := rings(t)
	node := redistest.Server(t)
	client := dial(t, redisstore.Options{URL: "redis://" + node.Addr})
	s := newStore(t, client, redisstore.Config{Timeout: patient})
	enrolled(t, s, before, 1, "alice")
	swept, err := s.Sweep(t.Context(), 1, rand.Reader, func(ctx context.Context, _ string, _ *seal.Use) error {
		turn := client.Get(ctx, prefix+":{"+realm+"}:sweep").Val()
		node.Kill()
		node.Restart()
		// With the turn still held, only the server's identity can tell.
		return node.Client().Set(ctx, prefix+":{"+realm+"}:sweep", turn, time.Minute).Err()
	})
	if swept || err == nil || !strings.Contains(err.Error(), "servers of redis changed") {
		t.Errorf("Sweep across a restart = %t, %v", swept, err)
	}
}

func TestAUserOfTheRealmSweeps(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	before, after := rings(t)
	rules := slices.Concat([]any{"ACL", "SETUSER", "tenant", "reset", ">secret"}, anys(redisstore.ACL(prefix, realm)))
	node.Do(rules...)
	client := dial(t, redisstore.Options{URL: "redis://tenant:secret@" + node.Addr})
	s := newStore(t, client, redisstore.Config{Timeout: patient})
	enrolled(t, s, before, 1, "alice")
	if swept, use := sweep(t, s, client, after); !swept || use.Moved != 1 {
		t.Errorf("Sweep = %t, %+v", swept, use)
	}
}

func anys(texts []string) []any {
	var out []any
	for _, s := range texts {
		out = append(out, s)
	}
	return out
}
