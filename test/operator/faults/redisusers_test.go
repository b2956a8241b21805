package faults_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/test/operator"
)

// TestAStolenRedisPasswordOpensOneNamespace runs the operator with --redis-users, and
// does with one namespace's credentials what a thief would.
func TestAStolenRedisPasswordOpensOneNamespace(t *testing.T) {
	c := operator.Shared(t)
	c.Operator("--redis-users")
	p, other := c.Begin("robbed"), c.Begin("robbed-not")
	_, sidecar := c.Protect(p, "portal-1", operator.App(t))
	alice := c.SignIn(sidecar, "alice")
	alice.Enrol()
	c.SignIn(sidecar, "alice").AwaitLands("challenge")

	document := new(redisstore.Document)
	if err := json.Unmarshal(c.SidecarSecret("robbed").Data[mfav1alpha1.RedisKey], document); err != nil {
		t.Fatal(err)
	}
	if document.Username != "sallyport:robbed" || document.Password == "" {
		t.Fatalf("the namespace's user is %q", document.Username)
	}
	thief := redis.NewClient(&redis.Options{Addr: c.Redis.Addr, Username: document.Username, Password: document.Password})
	t.Cleanup(func() { _ = thief.Close() })
	if err := thief.Get(t.Context(), "sallyport:{robbed/portal}:epoch").Err(); err != nil {
		t.Fatalf("the thief cannot even read what is the namespace's own: %v", err)
	}
	record := "sallyport:{robbed}:policy:portal"
	for _, command := range [][]any{
		{"GET", "sallyport:{robbed-not/portal}:epoch"},
		{"GET", "sallyport:{robbed-not}:policy:portal"},
		{"HGETALL", "sallyport:{robbed-not}:heartbeats:portal"},
		{"SET", "sallyport:{robbed-not/portal}:epoch", "x"},
		{"SET", record, "forged"},
		{"DEL", record},
		{"FLUSHALL"},
		{"KEYS", "*"},
		{"CONFIG", "GET", "*"},
		{"SCRIPT", "FLUSH"},
		{"ACL", "LIST"},
		{"MONITOR"},
	} {
		if err := thief.Do(t.Context(), command...).Err(); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("%v: %v, want NOPERM", command, err)
		}
	}
	// With the namespace's last policy its user goes.
	sidecar.Stop()
	c.Remove(operator.Pod("robbed", "portal-1"), p)
	c.AwaitGone(p)
	operator.Await(t, "the user is gone", func(ctx context.Context) error {
		if err := thief.Ping(ctx).Err(); err == nil {
			return errors.New("it can still ask")
		}
		return nil
	})
	users := fmt.Sprint(c.Redis.Do("ACL", "USERS"))
	if strings.Contains(users, "sallyport:robbed ") || !strings.Contains(users, "sallyport:robbed-not") {
		t.Errorf("users %s", users)
	}
	c.AwaitReady(other)
}
