package operator_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/sidecar/control"
	"github.com/sallyport/sallyport/test/operator"
	"github.com/sallyport/sallyport/test/stack"
)

// recordOf is the Redis key of a policy's record.
func recordOf(namespace, name string) string { return "sallyport:{" + namespace + "}:policy:" + name }

// TestChainRefusesForgedRecords has somebody who can write to Redis replace the
// policy's record. A running sidecar obeys what it obeyed, and says so; the operator
// puts the record right.
func TestChainRefusesForgedRecords(t *testing.T) {
	const resync = time.Second
	c := operator.Shared(t)
	controller := c.Operator("--resync", resync.String())
	other := operator.Portal("forged", func(p *mfav1alpha1.MFAPolicy) {
		p.Name, p.Spec.Selector.MatchLabels = "other", map[string]string{"app": "other"}
	})
	p, foreign := operator.Portal("forged"), operator.Portal("foreign")
	c.Create(operator.NewNamespace("forged"), operator.NewNamespace("foreign"), p, other, foreign)
	for _, each := range []*mfav1alpha1.MFAPolicy{p, other, foreign} {
		c.AwaitReady(each)
	}
	_, sidecar := c.Protect(p, "portal-1", operator.App(t))
	c.AwaitReady(p)
	store, key, channel := c.Redis.Client(), recordOf("forged", "portal"), channelOf(t, c, "forged")
	older := read(t, store, key)
	c.RequireForEveryone(p, true)
	c.AwaitReady(p)
	present := read(t, store, key)
	flipped := []byte(present)
	flipped[len(flipped)-1] ^= 1

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	visitor := (&stack.Browser{Base: sidecar.URL, Client: &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}).For(t)
	visitor.SignIn("alice", "alice-demo")
	states := make(chan *mfav1alpha1.MFAPolicy, 1000)
	watchPolicy(t, c, p, func(p *mfav1alpha1.MFAPolicy) { states <- p })

	put := func(value any) func() error {
		return func() error { return store.Set(t.Context(), key, value, 0).Err() }
	}
	for _, tc := range []struct {
		name  string
		forge func() error
		fault string
	}{
		{"a changed MAC is refused", put(flipped), "not authentic"},
		{"a changed byte of the rules is refused", put(strings.Replace(present, `"requireForEveryone":true`, `"requireForEveryone":null`, 1)), "not authentic"},
		{"an older generation, played back, is refused", put(older), "older than the one in force"},
		{"another policy's record is refused", put(read(t, store, recordOf("forged", "other"))), "of another policy"},
		{"another namespace's record is refused", put(read(t, store, recordOf("foreign", "portal"))), "not authentic"},
		{"a removed record changes nothing", func() error { return store.Del(t.Context(), key).Err() }, "not published"},
		{"another kind of value changes nothing", func() error {
			return errors.Join(store.Del(t.Context(), key).Err(), store.RPush(t.Context(), key, "a").Err())
		}, "no policy record"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := c.For(t)
			// The operator stands still, so that it cannot mend what the sidecar is to judge.
			controller.Freeze()
			defer controller.Thaw()
			if err := tc.forge(); err != nil {
				t.Fatal(err)
			}
			stands := fmt.Sprintf("generation %d stays in force", p.Generation)
			operator.Await(t, "readiness tells of it", func(ctx context.Context) error {
				status, body, err := operator.Status(ctx, sidecar.OpsURL+"/readyz")
				if err != nil || status != http.StatusOK || !strings.Contains(body, stands) || !strings.Contains(body, tc.fault) {
					return fmt.Errorf("%d %s %w", status, body, err)
				}
				return nil
			})
			operator.Await(t, "the heartbeat tells of it", func(ctx context.Context) error { return hasFault(ctx, channel, tc.fault) })
			if generation, err := obeys(t.Context(), sidecar); err != nil || generation != p.Generation {
				t.Errorf("it obeys generation %d (%v), want %d", generation, err, p.Generation)
			}
			if page := visitor.For(t).Get("/my"); page.Status != http.StatusSeeOther || !strings.HasPrefix(page.Location(), stack.Prefix) {
				t.Errorf("whoever must enrol is answered %d", page.Status)
			}

			controller.Thaw()
			awaitAttention(t, states, "portal-1", tc.fault)
			awaitMended(t, channel, p)
			c.AwaitReady(p)
		})
	}

	t.Run("the operator mends it within a resync", func(t *testing.T) {
		begin := time.Now()
		if err := put(flipped)(); err != nil {
			t.Fatal(err)
		}
		awaitMended(t, channel, p)
		took := time.Since(begin)
		t.Logf("mended after %s, with a resync of %s", took.Round(time.Millisecond), resync)
		if took > resync+5*time.Second {
			t.Errorf("mended after %s, want within a resync of %s", took, resync)
		}
	})

	// A sidecar that starts cannot know that what it is shown is old. The operator
	// sees what it obeys, and ends that.
	t.Run("a sidecar that starts with an older record is put right", func(t *testing.T) {
		c := c.For(t)
		created := operator.Pod("forged", "portal-2")
		c.Create(created)
		c.Running(created)
		controller.Freeze()
		defer controller.Thaw()
		if err := put(older)(); err != nil {
			t.Fatal(err)
		}
		started := c.RunSidecar(created, "http://127.0.0.1:1")
		awaitGeneration(t, started, p.Generation-1)
		controller.Thaw()
		awaitGeneration(t, started, p.Generation)
		awaitMended(t, channel, p)
		c.AwaitReady(p)
	})
}

func read(t *testing.T, store *redis.Client, key string) string {
	t.Helper()
	value, err := store.Get(t.Context(), key).Result()
	if err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	return value
}

func hasFault(ctx context.Context, channel *control.Channel, fault string) error {
	beats, err := channel.Heartbeats(ctx, "portal")
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(beats, func(b control.Heartbeat) bool { return strings.Contains(b.Fault, fault) }) {
		return fmt.Errorf("heartbeats %+v", beats)
	}
	return nil
}

// awaitAttention waits until a status tells of what a pod's sidecar said.
func awaitAttention(t *testing.T, states <-chan *mfav1alpha1.MFAPolicy, pod, fault string) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		select {
		case p := <-states:
			if p.Status.Pods != nil && slices.ContainsFunc(p.Status.Pods.Attention, func(a mfav1alpha1.PodAttention) bool {
				return a.Name == pod && strings.Contains(a.Reason, fault)
			}) {
				return
			}
		case <-limit:
			t.Fatalf("no status ever told that the sidecar of %s says %q", pod, fault)
		}
	}
}

// awaitMended waits until the policy's own record is published again.
func awaitMended(t *testing.T, channel *control.Channel, p *mfav1alpha1.MFAPolicy) {
	t.Helper()
	operator.Await(t, "the record is put right", func(ctx context.Context) error {
		record, _, err := channel.Published(ctx, p.Name)
		if err != nil {
			return err
		}
		if record.Generation != p.Generation || record.UID != string(p.UID) || !record.Rules.RequireForEveryone {
			return fmt.Errorf("generation %d of %s is published", record.Generation, record.UID)
		}
		return nil
	})
}
