package docs_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/controllers/keys"
	"github.com/sallyport/sallyport/sidecar/control"
	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/sidecar/seal"
	"github.com/sallyport/sallyport/test/await"
)

// user makes the Redis user that the page has people make, on a server of its own, and
// returns a client that is this user.
func user(t *testing.T, more ...any) redis.UniversalClient {
	t.Helper()
	text := strings.ReplaceAll(read(t, "docs/redis.md"), "\\\n", " ")
	found := regexp.MustCompile(`(?m)^redis-cli (ACL SETUSER sallyport .*)$`).FindStringSubmatch(text)
	if found == nil {
		t.Fatal("docs/redis.md has no redis-cli ACL SETUSER sallyport")
	}
	var command []any
	for word := range strings.FieldsSeq(found[1]) {
		word = strings.Trim(word, "'")
		if strings.HasPrefix(word, ">") {
			word = ">secret"
		}
		command = append(command, word)
	}
	node := redistest.Server(t)
	node.Do(append(command, more...)...)
	client, err := redisstore.Dial(redisstore.Options{
		URL: "redis://sallyport:secret@" + node.Addr + "/1", ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestTheRedisUserOfTheDocumentsCanDoAllThereIs(t *testing.T) {
	t.Parallel()
	const prefix, namespace, realm = "sallyport", "acme", "acme/portal"
	client := user(t, "+acl|setuser", "+acl|deluser")
	document, err := seal.Generate(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := seal.Parse(document, namespace)
	if err != nil {
		t.Fatal(err)
	}
	channel := control.New(control.Config{Client: client, Prefix: prefix, Namespace: namespace, Ring: ring, Clock: time.Now})
	epoch, err := redisstore.EnsureEpoch(t.Context(), client, prefix, realm, "", rand.Reader, func(v string) string { return "of-" + v })
	if err != nil {
		t.Fatal(err)
	}
	store, err := redisstore.New(client, redisstore.Config{Prefix: prefix, Realm: realm, Epoch: epoch, Clock: time.Now, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	rules := policy.Rules{}
	rules.App.Port.Number = 8080
	rules.Identity.Type, rules.Identity.Endpoint = policy.IdentityEndpoint, new(policy.EndpointIdentity)
	rules.SetDefaults("portal")
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"publish", func(ctx context.Context) error {
			return channel.Publish(ctx, &policy.Record{Realm: realm, Policy: "portal", Generation: 1, IssuedAt: time.Now(), Epoch: epoch, Rules: rules})
		}},
		{"read what is published", func(ctx context.Context) error { _, _, err := channel.Published(ctx, "portal"); return err }},
		{"follow", func(ctx context.Context) error { return follow(ctx, t, channel) }},
		{"check", func(ctx context.Context) error { return store.Check(ctx).Err }},
		{"count attempts", func(ctx context.Context) error {
			if _, err := store.Begin(ctx, "user", mfa.FactorTOTP, mfa.Limits{}); !errors.Is(err, mfa.ErrNotEnrolled) {
				return err
			}
			return nil
		}},
		{"sweep", func(ctx context.Context) error {
			_, err := store.Sweep(ctx, 1, rand.Reader, func(context.Context, string, *seal.Use) error { return nil })
			return err
		}},
		{"read the sweep", func(ctx context.Context) error { _, err := redisstore.KeyUse(ctx, client, prefix, realm); return err }},
		{"reset", func(ctx context.Context) error { _, err := store.ResetConfirmedBy(ctx, "user", time.Now()); return err }},
		{"look for a ticket", func(ctx context.Context) error {
			if _, err := store.Ticket(ctx, "user"); !errors.Is(err, mfa.ErrTicket) {
				return err
			}
			return nil
		}},
		{"issue a ticket", func(ctx context.Context) error { return store.SaveTicket(ctx, "user", []byte("ticket"), time.Minute) }},
		{"count", func(ctx context.Context) error { _, err := redisstore.CountEnrolled(ctx, client, prefix); return err }},
		{"keep a user", func(ctx context.Context) error {
			return keys.EnsureUser(ctx, client, prefix, namespace, control.ACL(prefix, namespace), []string{"x"})
		}},
		{"drop a user", func(ctx context.Context) error { return keys.DropUser(ctx, client, prefix, namespace) }},
		{"withdraw", func(ctx context.Context) error { return channel.Withdraw(ctx, "portal") }},
		{"purge", func(ctx context.Context) error { _, err := redisstore.Purge(ctx, client, prefix, realm); return err }},
	} {
		if err := step.do(t.Context()); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
	}
}

// follow has a sidecar follow the policy until the controller has heard of it.
func follow(ctx context.Context, t *testing.T, channel *control.Channel) error {
	t.Helper()
	f, err := control.NewFollower(control.FollowerConfig{
		Channel: channel, Policy: "portal", Pod: "portal-0", PodUID: "uid", Pause: 10 * time.Millisecond,
		Adopt: func(context.Context, *policy.Record) error { return nil }, Report: func(context.Context, error) {},
	})
	if err != nil {
		return err
	}
	following, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { f.Run(following); close(done) }()
	defer func() { stop(); <-done }()
	await.Until(t, 20*time.Second, "the controller hears of the sidecar", func(ctx context.Context) error {
		beats, err := channel.Heartbeats(ctx, "portal")
		if err == nil && (len(beats) != 1 || beats[0].Generation != 1 || beats[0].Fault != "") {
			err = fmt.Errorf("it heard %+v", beats)
		}
		return err
	})
	return nil
}

// What a sidecar without a Redis user of its own needs, the operator's user may do.
func TestTheRedisUserOfTheDocumentsMayWhatASidecarMay(t *testing.T) {
	t.Parallel()
	allowed := strings.FieldsFunc(read(t, "docs/redis.md"), func(r rune) bool { return strings.ContainsRune(" '`\n", r) })
	for _, rule := range control.ACL("sallyport", "acme") {
		if strings.HasPrefix(rule, "+") && !slices.Contains(allowed, rule) {
			t.Errorf("docs/redis.md does not allow %s", rule)
		}
	}
}

func TestTheRedisUserOfTheDocumentsCanDoNothingElse(t *testing.T) {
	t.Parallel()
	client := user(t)
	for _, command := range [][]any{
		{"GET", "other:{acme/portal}:epoch"},
		{"FLUSHALL"},
		{"FLUSHDB"},
		{"KEYS", "*"},
		{"CONFIG", "GET", "*"},
		{"SCRIPT", "FLUSH"},
		{"SHUTDOWN", "NOSAVE"},
		{"MONITOR"},
		{"REPLICAOF", "127.0.0.1", "1"},
		{"ACL", "SETUSER", "sallyport", "+@all"},
		{"ACL", "LIST"},
		{"CLIENT", "LIST"},
		{"SUBSCRIBE", "any"},
	} {
		if err := client.Do(t.Context(), command...).Err(); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("%v: %v, want NOPERM", command, err)
		}
	}
}
