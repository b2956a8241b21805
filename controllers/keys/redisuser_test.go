package keys_test

import (
	"crypto/rand"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/controllers/keys"
	"github.com/sallyport/sallyport/sidecar/control"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/sidecar/seal"
)

func passwords(t *testing.T, doc []byte, namespace string) []string {
	t.Helper()
	p, err := keys.Passwords(doc, namespace)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// login returns a client of the user of namespace acme.
func login(t *testing.T, addr, password string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr, Username: "door:acme", Password: password, DisableIdentity: true, MaxRetries: -1})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestPasswordsFollowTheRing(t *testing.T) {
	t.Parallel()
	doc := generate(t)
	one := passwords(t, doc, "acme")
	if len(one) != 1 || len(one[0]) != 43 || !slices.Equal(one, passwords(t, doc, "acme")) {
		t.Fatalf("%d passwords that differ from call to call", len(one))
	}
	if slices.Equal(one, passwords(t, doc, "acm")) {
		t.Error("two namespaces share a password")
	}
	derived, err := seal.Derive(doc, "acme")
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(one, passwords(t, derived, "acme")) {
		t.Error("the namespace's own keys give its password")
	}
	added, err := seal.Add(doc, rand.Reader, start)
	if err != nil {
		t.Fatal(err)
	}
	if both := passwords(t, added, "acme"); len(both) != 2 || both[0] != one[0] {
		t.Error("an added key changes the password before it is promoted")
	}
	promoted, err := seal.Promote(added, 2)
	if err != nil {
		t.Fatal(err)
	}
	if both := passwords(t, promoted, "acme"); len(both) != 2 || both[0] == one[0] || both[1] != one[0] {
		t.Error("after a promotion the old password is not the second of two")
	}
	for _, namespace := range []string{"", "acme/portal"} {
		if _, err := keys.Passwords(doc, namespace); err == nil {
			t.Errorf("a password for %q", namespace)
		}
	}
}

func TestUserReachesItsNamespaceAlone(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	admin := node.Client()
	old, fresh := passwords(t, generate(t), "acme")[0], passwords(t, generate(t), "acme")[0]
	ensure := func(with ...string) {
		t.Helper()
		if err := keys.EnsureUser(t.Context(), admin, "door", "acme", control.ACL("door", "acme"), with); err != nil {
			t.Fatal(err)
		}
	}
	ensure(fresh, old)
	ensure(fresh, old)
	ctx := t.Context()
	for _, password := range []string{fresh, old} {
		c := login(t, node.Addr, password)
		if err := c.Set(ctx, "door:{acme/portal}:probe", "x", 0).Err(); err != nil {
			t.Errorf("its own key: %v", err)
		}
		for name, cmd := range map[string]redis.Cmder{
			"another namespace":          c.Get(ctx, "door:{other/portal}:epoch"),
			"one that begins alike":      c.Get(ctx, "door:{acme-2/portal}:epoch"),
			"another prefix":             c.Get(ctx, "gate:{acme/portal}:epoch"),
			"writing its policy":         c.Set(ctx, "door:{acme}:policy:portal", "x", 0),
			"deleting everything":        c.FlushAll(ctx),
			"listing keys":               c.Keys(ctx, "*"),
			"configuration":              c.ConfigGet(ctx, "*"),
			"other users":                c.ACLList(ctx),
			"forgetting scripts":         c.ScriptFlush(ctx),
			"another namespace's script": c.Eval(ctx, "return redis.call('GET', KEYS[1])", []string{"door:{other/portal}:epoch"}),
		} {
			if !redis.HasErrorPrefix(cmd.Err(), "NOPERM") {
				t.Errorf("%s: %v, want NOPERM", name, cmd.Err())
			}
		}
	}
	ensure(fresh)
	if err := login(t, node.Addr, old).Ping(ctx).Err(); !redis.HasErrorPrefix(err, "WRONGPASS") {
		t.Errorf("the old password after the rotation: %v, want WRONGPASS", err)
	}
	open := login(t, node.Addr, fresh)
	if err := open.Ping(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := keys.DropUser(ctx, admin, "door", "acme"); err != nil {
			t.Fatal(err)
		}
	}
	if err := open.Ping(ctx).Err(); err == nil {
		t.Error("a dropped user goes on")
	}
}

func TestUserIsOnEveryNodeOfACluster(t *testing.T) {
	t.Parallel()
	nodes := redistest.Cluster(t)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nodes[0].Addr}})
	t.Cleanup(func() { _ = client.Close() })
	password := passwords(t, generate(t), "acme")
	if err := keys.EnsureUser(t.Context(), client, "door", "acme", control.ACL("door", "acme"), password); err != nil {
		t.Fatal(err)
	}
	for i, n := range nodes {
		if err := login(t, n.Addr, password[0]).Ping(t.Context()).Err(); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
	}
	if err := keys.DropUser(t.Context(), client, "door", "acme"); err != nil {
		t.Fatal(err)
	}
	for i, n := range nodes {
		if err := login(t, n.Addr, password[0]).Ping(t.Context()).Err(); err == nil {
			t.Errorf("node %d still knows the user", i)
		}
	}
}

func TestEnsureUserRefuses(t *testing.T) {
	t.Parallel()
	client := redistest.Server(t).Client()
	rules := control.ACL("door", "acme")
	for name, do := range map[string]func() error{
		"no password": func() error { return keys.EnsureUser(t.Context(), client, "door", "acme", rules, nil) },
		"no rules":    func() error { return keys.EnsureUser(t.Context(), client, "door", "acme", nil, []string{"x"}) },
		"an open door": func() error {
			return keys.EnsureUser(t.Context(), client, "door", "acme", append(rules, "nopass"), []string{"x"})
		},
		"a wrong rule": func() error {
			return keys.EnsureUser(t.Context(), client, "door", "acme", append(rules, "+nosuch"), []string{"x"})
		},
	} {
		if err := do(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
