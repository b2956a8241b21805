package redisstore_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/sidecar/redisstore/storetest"
)

// The names that most tests use.
const (
	prefix = "door"
	realm  = "shop/staff"
	user   = "user-1"
)

// patient is a timeout for tests that put more on a server than it can do in the
// time a sign-in has.
const patient = 15 * time.Second

func TestStoreOnTheEmbeddedServer(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		m := redistest.Mini(t)
		now := time.Now()
		m.SetTime(now)
		client := redis.NewClient(&redis.Options{Addr: m.Addr()})
		t.Cleanup(func() { _ = client.Close() })
		b := backend(t, client, client, realm)
		b.Advance = func(d time.Duration) {
			now = now.Add(d)
			m.SetTime(now)
			m.FastForward(d)
		}
		return b
	})
}

// TestStoreOnAServer also shows that the rules of ACL are enough.
func TestStoreOnAServer(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	admin := node.Client()
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		realm := realmOf(t)
		name := confined(t, realm, node)
		client := dial(t, redisstore.Options{
			URL:         "redis://" + name + ":secret@" + node.Addr,
			ReadTimeout: patient, WriteTimeout: patient,
		})
		return backend(t, client, admin, realm)
	})
}

// TestStoreOnACluster shows it of a cluster.
func TestStoreOnACluster(t *testing.T) {
	t.Parallel()
	nodes := redistest.Cluster(t)
	admin := dial(t, redisstore.Options{URL: "redis+cluster://" + nodes[0].Addr})
	var used sync.Map
	t.Run("suite", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) storetest.Backend {
			realm := realmOf(t)
			key := prefix + ":{" + realm + ":" + user + "}:u"
			used.Store(admin.ClusterKeySlot(t.Context(), key).Val()*3/16384, true)
			client := dial(t, redisstore.Options{
				URL:         "redis+cluster://" + confined(t, realm, nodes...) + ":secret@" + nodes[1].Addr + "," + nodes[2].Addr,
				ReadTimeout: patient, WriteTimeout: patient,
			})
			return backend(t, client, admin, realm)
		})
	})
	for i := range int64(3) {
		if _, ok := used.Load(i); !ok {
			t.Errorf("no case had its user on node %d", i)
		}
	}
}

// confined makes a Redis user of the realm, with the password "secret".
func confined(t *testing.T, realm string, nodes ...*redistest.Node) string {
	t.Helper()
	name := strings.ReplaceAll(realm, "/", "-")
	command := []any{"ACL", "SETUSER", name, "reset", ">secret"}
	for _, rule := range redisstore.ACL(prefix, realm) {
		command = append(command, rule)
	}
	for _, n := range nodes {
		n.Do(command...)
	}
	return name
}

// realmOf returns a realm of the test's own.
func realmOf(t *testing.T) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(t.Name()))
	return fmt.Sprintf("shop/realm-%x", h.Sum64())
}

// backend returns a store with an epoch on the client; admin sees all its keys.
func backend(t *testing.T, client, admin redis.UniversalClient, realm string) storetest.Backend {
	t.Helper()
	store := newStore(t, client, redisstore.Config{Realm: realm, Timeout: patient})
	return storetest.Backend{
		Store: store,
		Lose: func() {
			each(t, admin, realm, func(node *redis.Client, key string) {
				if err := node.Del(t.Context(), key).Err(); err != nil {
					t.Error(err)
				}
			})
		},
		Dump: func() string { return dump(t, admin, realm) },
	}
}

// newStore fills in what a test leaves out of the Config, the epoch too.
func newStore(t *testing.T, client redis.UniversalClient, c redisstore.Config) *redisstore.Store {
	t.Helper()
	if c.Prefix == "" {
		c.Prefix = prefix
	}
	if c.Realm == "" {
		c.Realm = realm
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Epoch == "" {
		epoch, err := redisstore.EnsureEpoch(t.Context(), client, c.Prefix, c.Realm, "", rand.Reader, stamp)
		if err != nil {
			t.Fatal(err)
		}
		c.Epoch = epoch
	}
	s, err := redisstore.New(client, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func dial(t *testing.T, o redisstore.Options) redis.UniversalClient {
	t.Helper()
	client, err := redisstore.Dial(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// each calls do for every key of the realm, with the node that holds it.
func each(t *testing.T, client redis.UniversalClient, realm string, do func(node *redis.Client, key string)) {
	t.Helper()
	var mu sync.Mutex
	scan := func(ctx context.Context, node *redis.Client) error {
		keys := node.Scan(ctx, 0, prefix+":{"+realm+"[:}]*", 1000).Iterator()
		for keys.Next(ctx) {
			mu.Lock()
			do(node, keys.Val())
			mu.Unlock()
		}
		return keys.Err()
	}
	var err error
	switch c := client.(type) {
	case *redis.ClusterClient:
		err = c.ForEachMaster(t.Context(), scan)
	case *redis.Client:
		err = scan(t.Context(), c)
	}
	if err != nil {
		t.Error(err)
	}
}

// dump returns every key of the realm with its value.
func dump(t *testing.T, client redis.UniversalClient, realm string) string {
	t.Helper()
	var b strings.Builder
	each(t, client, realm, func(node *redis.Client, key string) {
		ctx := t.Context()
		kind, err := node.Type(ctx, key).Result()
		if err != nil {
			t.Error(err)
		}
		var value any
		if kind == "hash" {
			value, err = node.HGetAll(ctx, key).Result()
		} else {
			value, err = node.Get(ctx, key).Result()
		}
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(&b, "%s %v\n", key, value)
	})
	return b.String()
}

// enrol enrols the user with eight codes in the generation "g1".
func enrol(t *testing.T, s mfa.Store) mfa.Record {
	t.Helper()
	r := mfa.Record{
		Generation:  "g1",
		Seed:        make([]byte, 53),
		ConfirmedAt: time.Unix(1_780_000_000, 0).UTC(),
		LastStep:    59_000_000,
		Codes:       mfa.Codes{KeyID: 1, Salt: make([]byte, 16), Digests: map[int][]byte{}},
	}
	for i := range 8 {
		r.Codes.Digests[i] = make([]byte, 32)
	}
	if err := s.SavePending(t.Context(), user, "browser", []byte("pending"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := s.Enrol(t.Context(), user, "browser", []byte("pending"), nil, r, mfa.Grant{}); err != nil {
		t.Fatal(err)
	}
	return r
}

// mini returns a store on an embedded server, and a client of it.
func mini(t *testing.T) (*redisstore.Store, *miniredis.Miniredis, *redis.Client) {
	t.Helper()
	m := redistest.Mini(t)
	client := redis.NewClient(&redis.Options{Addr: m.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	return newStore(t, client, redisstore.Config{}), m, client
}
