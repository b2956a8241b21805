package control_test

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sidecar/control"
	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/sidecar/seal"
)

// confined makes a Redis user of a namespace and returns its URL and the admin's client.
func confined(t *testing.T) (url string, admin *redis.Client) {
	t.Helper()
	node := redistest.Server(t)
	command := []any{"ACL", "SETUSER", "acme", "reset", ">secret"}
	for _, rule := range control.ACL(prefix, namespace) {
		command = append(command, rule)
	}
	node.Do(command...)
	return "redis://acme:secret@" + node.Addr, node.Client()
}

func dial(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	client, err := redisstore.Dial(redisstore.Options{URL: url, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestConfinedUserCanDoASidecarsWork(t *testing.T) {
	t.Parallel()
	url, admin := confined(t)
	client := dial(t, url)
	controller := channel(t, admin)
	publish(t, controller, record("portal"))
	s := follow(t, channel(t, client), "portal", "pod")
	s.next(t)
	awaitBeat(t, controller, "portal", "of the confined", func(b control.Heartbeat) bool { return b.Generation == 5 && b.Fault == "" })
	s.stop()
	if left := admin.HLen(t.Context(), beatsKey).Val(); left != 0 {
		t.Error("the confined user could not take its heartbeat back")
	}
	if len(s.reports) > 0 {
		t.Errorf("told of %v", <-s.reports)
	}

	const user = "user-1"
	for _, realm := range []string{"acme/portal", "acme/other"} {
		stamp := func(v string) string { return "stamped-" + v }
		epoch, err := redisstore.EnsureEpoch(t.Context(), client, prefix, realm, "", rand.Reader, stamp)
		if err != nil {
			t.Fatal(err)
		}
		store, err := redisstore.New(client, redisstore.Config{
			Prefix: prefix, Realm: realm, Epoch: epoch, Clock: time.Now, Timeout: 5 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		limits := mfa.Limits{Free: 2, Backoff: []time.Duration{time.Hour}, HardCap: 50, RollingCap: 100}
		steps := []struct {
			name string
			do   func(context.Context) error
		}{
			{"Check", func(ctx context.Context) error { return store.Check(ctx).Err }},
			{"SavePending", func(ctx context.Context) error {
				return store.SavePending(ctx, user, "browser", []byte("pending"), time.Minute)
			}},
			{"Enrol", func(ctx context.Context) error {
				r := mfa.Record{Generation: "g1", Seed: []byte("x"), Codes: mfa.Codes{Salt: []byte("x"), Digests: map[int][]byte{0: []byte("0123456789abcdef")}}}
				return store.Enrol(ctx, user, "browser", []byte("pending"), nil, r, mfa.Grant{})
			}},
			{"Begin", func(ctx context.Context) error { _, err := store.Begin(ctx, user, mfa.FactorTOTP, limits); return err }},
			{"Refund", func(ctx context.Context) error { return store.Refund(ctx, user, mfa.FactorTOTP) }},
			{"CommitTOTP", func(ctx context.Context) error {
				return store.CommitTOTP(ctx, user, "g1", 59_000_001, mfa.Grant{Key: "sign-in", Value: []byte("v"), TTL: time.Minute})
			}},
			{"Load", func(ctx context.Context) error { _, err := store.Load(ctx, user, "sign-in"); return err }},
			{"UpdateSignIn", func(ctx context.Context) error {
				return store.UpdateSignIn(ctx, user, "sign-in", []byte("w"), time.Minute)
			}},
			{"SpendCode", func(ctx context.Context) error {
				_, err := store.SpendCode(ctx, user, "g1", 0, mfa.Grant{})
				return err
			}},
			{"EndSignIn", func(ctx context.Context) error { return store.EndSignIn(ctx, user, "sign-in") }},
			{"Sweep", func(ctx context.Context) error {
				swept, err := store.Sweep(ctx, 1, rand.Reader, func(context.Context, string, *seal.Use) error { return nil })
				if err == nil && !swept {
					err = errors.New("nothing was swept")
				}
				return err
			}},
			{"Delete", func(ctx context.Context) error { return store.Delete(ctx, user, "g1") }},
		}
		for _, step := range steps {
			if err := step.do(t.Context()); err != nil {
				t.Errorf("%s in %s: %v", step.name, realm, err)
			}
		}
	}
}

func TestConfinedUserCanDoNothingElse(t *testing.T) {
	t.Parallel()
	url, admin := confined(t)
	client := dial(t, url)
	publish(t, channel(t, admin), record("portal"))
	for _, command := range [][]any{
		{"GET", prefix + ":{acme-b}:policy:portal"},
		{"GETRANGE", prefix + ":{acme-b}:policy:portal", 0, -1},
		{"HSET", prefix + ":{acme-b}:heartbeats:portal", "uid", "x"},
		{"HGETALL", prefix + ":{acme-b/portal:user}:u"},
		{"GET", prefix + ":{acme-b/portal}:epoch"},
		{"GET", prefix + ":{acm}:policy:portal"},
		{"GET", prefix + ":{acmee/portal}:epoch"},
		{"GET", "other:{acme/portal}:epoch"},
		{"SET", recordKey("portal"), "forged"},
		{"DEL", recordKey("portal")},
		{"EVAL", "return redis.call('SET', KEYS[1], 'x')", 1, recordKey("portal")},
		{"EVAL", "return redis.call('GET', '" + prefix + ":{acme-b/portal}:epoch')", 0},
		{"EVAL", "return redis.call('FLUSHALL')", 0},
		{"HSCAN", beatsKey, 0},
		{"FLUSHALL"},
		{"FLUSHDB"},
		{"KEYS", "*"},
		{"RANDOMKEY"},
		{"CONFIG", "GET", "*"},
		{"SCRIPT", "FLUSH"},
		{"SCRIPT", "KILL"},
		{"FUNCTION", "FLUSH"},
		{"ACL", "LIST"},
		{"ACL", "SETUSER", "acme", "+@all"},
		{"SHUTDOWN", "NOSAVE"},
		{"MONITOR"},
		{"REPLICAOF", "127.0.0.1", "1"},
		{"CLIENT", "LIST"},
		{"DUMP", recordKey("portal")},
		{"PUBLISH", "any", "x"},
		{"SUBSCRIBE", "any"},
	} {
		// A script is refused in words of its own.
		if err := client.Do(t.Context(), command...).Err(); !redis.HasErrorPrefix(err, "NOPERM") &&
			(err == nil || !strings.Contains(err.Error(), "executing the script can't")) {
			t.Errorf("%v: %v, want NOPERM", command, err)
		}
	}
	if _, _, err := channel(t, admin).Published(t.Context(), "portal"); err != nil {
		t.Errorf("the record is gone: %v", err)
	}
	if err := channel(t, client).Publish(t.Context(), record("portal", generation(6))); err == nil {
		t.Error("the confined user published a policy")
	}
}

// What a store needs, a namespace's user may do.
func TestACLHasWhatAStoreNeeds(t *testing.T) {
	t.Parallel()
	rules := control.ACL(prefix, namespace)
	for _, rule := range redisstore.ACL(prefix, "acme/portal") {
		if strings.HasPrefix(rule, "+") && !slices.Contains(rules, rule) {
			t.Errorf("%s is missing", rule)
		}
	}
}
