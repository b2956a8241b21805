package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/control"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
)

func TestFollowerRefusesAndKeepsTheLastGood(t *testing.T) {
	t.Parallel()
	client := redistest.Server(t).Client()
	own := ring(t, namespace, "1 primary")
	for i, tc := range []struct {
		name string
		bad  func(policyName string) []byte
		want error // nil: any
	}{
		{"nothing", func(string) []byte { return nil }, control.ErrNotPublished},
		{"garbage", func(string) []byte { return []byte("garbage") }, policy.ErrBadMAC},
		{"a flipped bit", func(p string) []byte {
			doc := sealed(t, own, record(p, generation(6)))
			doc[len(doc)-1] ^= 1
			return doc
		}, policy.ErrBadMAC},
		{"a record cut short", func(p string) []byte { return sealed(t, own, record(p, generation(6)))[1:] }, policy.ErrBadMAC},
		{"more than any record", func(string) []byte { return bytes.Repeat([]byte{1}, policy.MaxRecord+1) }, policy.ErrBadMAC},
		{"another key", func(p string) []byte {
			return sealed(t, ring(t, namespace, "2 primary"), record(p, generation(6)))
		}, policy.ErrBadMAC},
		{"another namespace's key", func(p string) []byte {
			return sealed(t, ring(t, "acme-b", "1 primary"), record(p, generation(6)))
		}, policy.ErrBadMAC},
		{"an older generation", func(p string) []byte { return sealed(t, own, record(p, generation(4))) }, policy.ErrOlder},
		{"the same generation from before", func(p string) []byte {
			return sealed(t, own, record(p, func(r *policy.Record) { r.IssuedAt = issued.Add(-1) }))
		}, policy.ErrOlder},
		{"a former policy of the name", func(p string) []byte {
			return sealed(t, own, record(p, generation(9), func(r *policy.Record) { r.UID, r.IssuedAt = "old", issued.Add(-1) }))
		}, policy.ErrOlder},
		{"another realm", func(p string) []byte {
			return sealed(t, own, record(p, generation(6), func(r *policy.Record) { r.Realm = "acme-b/" + p }))
		}, policy.ErrWrongRealm},
		{"another policy", func(string) []byte { return sealed(t, own, record("other", generation(6))) }, policy.ErrWrongPolicy},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			name := fmt.Sprintf("portal-%d", i)
			c := channel(t, client)
			publish(t, c, record(name))
			s := follow(t, c, name, "pod")
			if got := s.next(t).Generation; got != 5 {
				t.Fatalf("generation %d is in force, want 5", got)
			}
			if bad := tc.bad(name); bad == nil {
				client.Del(t.Context(), recordKey(name))
			} else {
				client.Set(t.Context(), recordKey(name), bad, 0)
			}
			err := s.report(t, tc.want)
			b := awaitBeat(t, c, name, "with the fault", func(b control.Heartbeat) bool { return b.Fault != "" })
			if b.Generation != 5 || b.PolicyUID != "uid-1" || b.Fault != err.Error() {
				t.Errorf("the heartbeat says %+v, want generation 5 and %q", b, err)
			}
			if len(s.adopted) > 0 {
				t.Errorf("it was put in force: %+v", <-s.adopted)
			}
			publish(t, c, record(name, generation(6)))
			if got := s.next(t).Generation; got != 6 {
				t.Errorf("generation %d is in force, want 6", got)
			}
			s.told(t, nil)
			awaitBeat(t, c, name, "without a fault", func(b control.Heartbeat) bool { return b.Fault == "" && b.Generation == 6 })
		})
	}
}

// Somebody puts the end of a good record behind something else. Once that is mended
// the good one is obeyed, though the end is the same.
func TestFollowerLooksAgainBehindAnEndItKnows(t *testing.T) {
	t.Parallel()
	client := redistest.Server(t).Client()
	c := channel(t, client)
	s := follow(t, c, "portal", "pod")
	s.told(t, control.ErrNotPublished)
	good := sealed(t, ring(t, namespace, "1 primary"), record("portal"))
	forged := bytes.Clone(good)
	forged[0] ^= 1
	client.Set(t.Context(), recordKey("portal"), forged, 0)
	s.told(t, policy.ErrBadMAC)
	client.Set(t.Context(), recordKey("portal"), good, 0)
	s.next(t)
}

// What was in force is back: nothing is put in force twice, and the fault is over.
func TestFollowerSettlesOnceThePresentRecordIsBack(t *testing.T) {
	t.Parallel()
	client := redistest.Server(t).Client()
	c := channel(t, client)
	publish(t, c, record("portal"))
	s := follow(t, c, "portal", "pod")
	s.next(t)
	client.Set(t.Context(), recordKey("portal"), sealed(t, ring(t, namespace, "1 primary"), record("portal", generation(4))), 0)
	s.told(t, policy.ErrOlder)
	publish(t, c, record("portal"))
	s.told(t, nil)
	if len(s.adopted) > 0 {
		t.Error("the record in force was put in force again")
	}
}

func TestFollowerTellsThatARecordCannotBePutInForce(t *testing.T) {
	t.Parallel()
	c := channel(t, redistest.Server(t).Client())
	unfit := errors.New("unfit")
	publish(t, c, record("portal"))
	s := follow(t, c, "portal", "pod", func(f *control.FollowerConfig) {
		adopt := f.Adopt
		f.Adopt = func(ctx context.Context, r *policy.Record) error {
			if r.Generation == 5 {
				return unfit
			}
			return adopt(ctx, r)
		}
	})
	s.told(t, unfit)
	awaitBeat(t, c, "portal", "of none in force", func(b control.Heartbeat) bool { return b.Generation == 0 && b.Fault == "unfit" })
	publish(t, c, record("portal", generation(6)))
	s.next(t)
}

func TestTwentyFollowersObeyAtOnce(t *testing.T) {
	t.Parallel()
	client := redistest.Server(t).Client()
	c := channel(t, client)
	publish(t, c, record("portal"))
	var sidecars []*sidecar
	for i := range 20 {
		s := follow(t, channel(t, client), "portal", fmt.Sprintf("pod-%02d", i),
			func(f *control.FollowerConfig) { f.Pause = 0 }) // as in production
		s.next(t)
		sidecars = append(sidecars, s)
	}
	var latencies []time.Duration
	for g := int64(6); g < 9; g++ {
		begin := time.Now()
		publish(t, c, record("portal", generation(g)))
		for _, s := range sidecars {
			if got := s.next(t).Generation; got != g {
				t.Errorf("generation %d is in force, want %d", got, g)
			}
			latencies = append(latencies, time.Since(begin))
		}
	}
	slices.Sort(latencies)
	t.Logf("publish to in force: median %s, worst %s", latencies[len(latencies)/2], latencies[len(latencies)-1])
	for i := range sidecars {
		pod := fmt.Sprintf("pod-%02d", i)
		awaitBeat(t, c, "portal", "of "+pod, func(b control.Heartbeat) bool { return b.Pod == pod && b.Generation == 8 })
	}
	beats, err := c.Heartbeats(t.Context(), "portal")
	if err != nil || len(beats) != 20 || !slices.IsSortedFunc(beats, func(a, b control.Heartbeat) int { return strings.Compare(a.Pod, b.Pod) }) {
		t.Errorf("%d heartbeats, %v", len(beats), err)
	}
}

func TestFlushedRedis(t *testing.T) {
	t.Parallel()
	client := redistest.Server(t).Client()
	c := channel(t, client)
	publish(t, c, record("portal"))
	s := follow(t, c, "portal", "pod")
	s.next(t)
	client.FlushAll(t.Context())
	s.told(t, control.ErrNotPublished)
	b := awaitBeat(t, c, "portal", "after the flush", func(b control.Heartbeat) bool { return b.Fault != "" })
	if b.Generation != 5 {
		t.Errorf("generation %d is in force, want 5", b.Generation)
	}
	publish(t, c, record("portal"))
	s.told(t, nil)
}

func TestDeadRedisAndBack(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	client := redis.NewClient(&redis.Options{Addr: node.Addr, DialTimeout: time.Second, MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	c := channel(t, client)
	publish(t, c, record("portal"))
	s := follow(t, c, "portal", "pod")
	s.next(t)
	node.Kill()
	select {
	case err := <-s.reports:
		if err == nil || errors.Is(err, control.ErrNotPublished) {
			t.Errorf("told of %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the loss of Redis was not told")
	}
	node.Restart()
	s.told(t, control.ErrNotPublished)
	publish(t, c, record("portal", generation(6)))
	s.next(t)
}

// A rotation in its steps: the controller adds a version, sidecars get the new ring
// one by one, the controller promotes it and retires the old one.
func TestRotationWhileFollowing(t *testing.T) {
	t.Parallel()
	client := redistest.Server(t).Client()
	controller, early, late := channel(t, client), channel(t, client), channel(t, client)
	publish(t, controller, record("portal"))
	first, second := follow(t, early, "portal", "early"), follow(t, late, "portal", "late")
	first.next(t)
	second.next(t)
	has := func(pod string, primary uint32, known ...uint32) {
		t.Helper()
		awaitBeat(t, controller, "portal", fmt.Sprintf("of %s with primary %d of %v", pod, primary, known), func(b control.Heartbeat) bool {
			return b.Pod == pod && b.Keys.Primary == primary && slices.Equal(b.Keys.Known, known) && b.Fault == ""
		})
	}
	has("early", 1, 1)
	added := ring(t, namespace, "1 primary", "2 active")
	controller.SetRing(added)
	early.SetRing(added)
	has("early", 1, 1, 2)
	has("late", 1, 1)

	// Promoted too early: who lacks the version refuses, and obeys once it has it.
	promoted := ring(t, namespace, "1 active", "2 primary")
	controller.SetRing(promoted)
	early.SetRing(promoted)
	publish(t, controller, record("portal", generation(6)))
	if got := first.next(t).Generation; got != 6 {
		t.Errorf("generation %d, want 6", got)
	}
	second.told(t, policy.ErrBadMAC)
	late.SetRing(promoted)
	if got := second.next(t).Generation; got != 6 {
		t.Errorf("generation %d, want 6", got)
	}
	has("early", 2, 1, 2)
	has("late", 2, 1, 2)

	retired := ring(t, namespace, "1 retired", "2 primary")
	for _, c := range []*control.Channel{controller, early, late} {
		c.SetRing(retired)
	}
	has("late", 2, 2)
	publish(t, controller, record("portal", generation(7)))
	first.next(t)
	second.next(t)
}

func TestFollowingOnACluster(t *testing.T) {
	t.Parallel()
	var addrs []string
	for _, n := range redistest.Cluster(t) {
		addrs = append(addrs, n.Addr)
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
	t.Cleanup(func() { _ = client.Close() })
	c := channel(t, client)
	// Names of several slots, if the hash tag did not hold.
	for _, name := range []string{"portal", "a", "b", "c"} {
		publish(t, c, record(name))
		s := follow(t, c, name, "pod")
		s.next(t)
		publish(t, c, record(name, generation(6)))
		s.next(t)
		awaitBeat(t, c, name, "of generation 6", func(b control.Heartbeat) bool { return b.Generation == 6 })
	}
}

func TestNewFollowerRefusesNamesThatAreNone(t *testing.T) {
	t.Parallel()
	c := channel(t, redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}))
	for name, config := range map[string]control.FollowerConfig{
		"no policy":               {Channel: c, PodUID: "u"},
		"a policy that is a path": {Channel: c, Policy: "a/b", PodUID: "u"},
		"no pod":                  {Channel: c, Policy: "portal"},
		"an endless pod":          {Channel: c, Policy: "portal", PodUID: strings.Repeat("u", 300)},
	} {
		if _, err := control.NewFollower(config); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
