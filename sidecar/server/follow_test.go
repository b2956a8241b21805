package server_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/control"
	"github.com/sallyport/sallyport/sidecar/policyfile"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/seal"
	"github.com/sallyport/sallyport/sidecar/server"
	"github.com/sallyport/sallyport/test/stack"
)

// controller publishes policies to the sidecars of a world, as a controller does.
type controller struct {
	*control.Channel

	w     *world
	redis redis.UniversalClient
	epoch string
	// issued counts the records, so that each is later than the one before.
	issued int
}

func (w *world) controller() *controller {
	w.t.Helper()
	client := w.DialRedis()
	return &controller{w: w, redis: client, Channel: control.New(control.Config{
		Client: client, Prefix: "sallyport", Namespace: "acme", Ring: w.ringOf(w.Keys(), "acme"), Clock: time.Now,
	})}
}

func (w *world) ringOf(doc []byte, realm string) *seal.Ring {
	w.t.Helper()
	r, err := seal.Parse(doc, realm)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// found makes the epoch of the realm's store and remembers it.
func (c *controller) found() {
	c.w.t.Helper()
	stamp := func(v string) string { return c.w.ringOf(c.w.Keys(), "acme/portal").Name("epoch", v) }
	epoch, err := redisstore.EnsureEpoch(c.w.t.Context(), c.redis, "sallyport", "acme/portal", "", rand.Reader, stamp)
	if err != nil {
		c.w.t.Fatal(err)
	}
	c.epoch = epoch
}

// publish publishes the office's policy with changes, as a generation.
func (c *controller) publish(generation int64, p stack.Policy) {
	c.w.t.Helper()
	c.w.setPolicy(p)
	m, err := policyfile.Load(c.w.PolicyFile())
	if err != nil {
		c.w.t.Fatal(err)
	}
	c.issued++
	if err := c.Publish(c.w.t.Context(), &policy.Record{
		Realm: "acme/portal", Policy: "portal", UID: "uid", Generation: generation, Epoch: c.epoch,
		IssuedAt: time.Unix(1_800_000_000, int64(c.issued)), Rules: m.Rules,
	}); err != nil {
		c.w.t.Fatal(err)
	}
}

// await waits until n heartbeats say what is wanted.
func (c *controller) await(n int, what string, good func(control.Heartbeat) bool) {
	c.w.t.Helper()
	c.w.Eventually(fmt.Sprintf("%d heartbeats say %s", n, what), func() bool {
		beats, err := c.Heartbeats(c.w.t.Context(), "portal")
		if err != nil {
			return false
		}
		found := 0
		for _, b := range beats {
			if good(b) {
				found++
			}
		}
		return found == n
	})
}

func (c *controller) obeyed(n int, generation int64) {
	c.w.t.Helper()
	c.await(n, fmt.Sprint("generation ", generation), func(b control.Heartbeat) bool {
		return b.Generation == generation && b.Fault == ""
	})
}

// follows makes a sidecar take its policy from the controller.
func follows(pod string, adjust ...func(*server.Options)) func(*server.Options) {
	return func(o *server.Options) {
		o.PolicyFile = ""
		o.Follow = &server.Follow{Namespace: "acme", Policy: "portal", Pod: pod, PodUID: "uid-of-" + pod}
		for _, f := range adjust {
			f(o)
		}
	}
}

// wantOK fails the test unless the checks of readiness hold. A clock that was moved
// for the next code is not among them.
func wantOK(t *testing.T, s *stack.Sidecar, checks ...string) {
	t.Helper()
	_, report := s.Ready()
	for _, check := range checks {
		if !strings.Contains(report, fmt.Sprintf(`"name":%q,"ok":true`, check)) {
			t.Errorf("%s does not hold: %s", check, report)
		}
	}
}

func TestWithoutAPolicyNothingPasses(t *testing.T) {
	t.Parallel()
	w := prepareOffice(t, stack.Options{})
	c := w.controller()
	s := w.AddSidecar(follows("pod"))
	shut := func() {
		t.Helper()
		nobody := w.visitor("nobody")
		for _, path := range []string{"/", "/healthz", "/login", prefix, prefix + "/assets/x.css"} {
			wantStatus(t, nobody.Get(path), http.StatusServiceUnavailable)
			answer := nobody.Fetch(http.MethodPost, path, nil)
			wantStatus(t, answer, http.StatusServiceUnavailable)
			wantProblemCode(t, answer, "mfa_unavailable")
			wantUncached(t, answer)
		}
		if seen := w.office.requests(); len(seen) > 0 || w.Hits.Load() > 0 {
			t.Errorf("these reached the app: %+v", seen)
		}
	}
	shut()
	w.Eventually("readiness says why", func() bool {
		ready, report := s.Ready()
		return !ready && strings.Contains(report, "no policy is in force, nothing passes: the policy is not published")
	})
	shut()
	if response, body := ask(t, s, "GET", "/healthz"); response.StatusCode != http.StatusOK {
		t.Errorf("/healthz answers %d: %s", response.StatusCode, body)
	}
	c.await(1, "that there is no policy", func(b control.Heartbeat) bool {
		return b.Generation == 0 && b.Pod == "pod" && b.PodUID == "uid-of-pod" && b.Version == "test" &&
			b.Fault == "the policy is not published"
	})

	// A policy whose store nobody knows opens nothing, and makes no epoch.
	c.publish(1, stack.Policy{})
	c.obeyed(1, 1)
	w.Eventually("readiness says what is missing", func() bool {
		ready, report := s.Ready()
		return !ready && strings.Contains(report, "does not say which store held the enrolments")
	})
	alice := w.signedIn("alice")
	wantRefused(t, alice, "mfa_unavailable", true)
	wantPublicOpen(t, alice)
	if w.Redis.Exists("sallyport:{acme/portal}:epoch") {
		t.Error("the sidecar made an epoch")
	}

	c.found()
	c.publish(1, stack.Policy{})
	w.WaitReady(s)
	alice.wantPasses(true, "once the store is known")
	alice.enrol()
	alice.wantPasses(true, "once enrolled")
	s.Stop(t)
	if beats, err := c.Heartbeats(t.Context(), "portal"); err != nil || len(beats) > 0 {
		t.Errorf("heartbeats of a sidecar that ended: %+v, %v", beats, err)
	}
}

func TestPublishedLeversMoveWithoutARestart(t *testing.T) {
	t.Parallel()
	w := prepareOffice(t, stack.Options{})
	c := w.controller()
	c.found()
	c.publish(1, stack.Policy{})
	for _, pod := range []string{"a", "b"} {
		w.WaitReady(w.AddSidecar(follows(pod)))
	}
	enrolled, alice, adam := w.enrolled("bob"), w.signedIn("alice"), w.signedIn("adam")
	for generation, tc := range []struct {
		policy      stack.Policy
		alice, adam bool
	}{
		{stack.Policy{Everyone: true}, false, false},
		{stack.Policy{Admins: true}, true, false},
		{stack.Policy{}, true, true},
		{stack.Policy{Everyone: true, Admins: true}, false, false},
	} {
		c.publish(int64(generation)+2, tc.policy)
		c.obeyed(2, int64(generation)+2)
		for _, s := range w.Sidecars {
			when := fmt.Sprintf("under %+v", tc.policy)
			alice.at(s).wantPasses(tc.alice, when)
			adam.at(s).wantPasses(tc.adam, when)
			enrolled.at(s).wantPasses(true, when)
			if got := s.Metric(t, "sallyport_policy_generation"); got != float64(generation+2) {
				t.Errorf("the metric says generation %v, want %d", got, generation+2)
			}
		}
	}

	// An older record, played back by somebody who can write to Redis.
	const key = "sallyport:{acme}:policy:portal"
	present, err := w.Redis.Get(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Redis.Set(key, "forged"); err != nil {
		t.Fatal(err)
	}
	c.await(2, "that the record is not authentic", func(b control.Heartbeat) bool {
		return b.Generation == 5 && strings.Contains(b.Fault, "not authentic")
	})
	alice.wantPasses(false, "with a forged record")
	wantOK(t, w.Sidecars[0], "policy")
	if _, report := w.Sidecars[0].Ready(); !strings.Contains(report, "generation 5 stays in force; it is not what is published: policy record is not authentic") {
		t.Errorf("/readyz says %s", report)
	}
	if err := w.Redis.Set(key, present); err != nil {
		t.Fatal(err)
	}
	c.obeyed(2, 5)
	if _, report := w.Sidecars[0].Ready(); strings.Contains(report, "not authentic") {
		t.Errorf("once mended, /readyz says %s", report)
	}
}

// The last good policy outlives the store, and opens nothing: the epoch is gone.
func TestStoreLostWhileFollowing(t *testing.T) {
	t.Parallel()
	w := prepareOffice(t, stack.Options{})
	c := w.controller()
	c.found()
	c.publish(1, stack.Policy{Admins: true})
	s := w.AddSidecar(follows("pod"))
	w.WaitReady(s)
	alice, bob := w.enrolled("alice"), w.signedIn("bob")

	w.Redis.FlushAll()
	lost := func() {
		t.Helper()
		for _, p := range []*person{alice, bob, w.signedIn("carol")} {
			wantRefused(t, p, "mfa_store_lost", false)
		}
		wantPublicOpen(t, alice)
		if w.Redis.Exists("sallyport:{acme/portal}:epoch") {
			t.Error("the epoch was made anew")
		}
	}
	lost()
	c.await(1, "that the record is gone", func(b control.Heartbeat) bool {
		return b.Generation == 1 && b.Fault == control.ErrNotPublished.Error()
	})
	c.publish(1, stack.Policy{Admins: true})
	c.obeyed(1, 1)
	lost() // the policy is back, the enrolments are not

	// An administrator accepts the loss: the next record has another epoch.
	c.found()
	ready, _ := s.Ready()
	if ready {
		t.Error("a store with an epoch that nobody told of is ready")
	}
	c.publish(1, stack.Policy{Admins: true})
	w.Eventually("the store is believed", func() bool {
		_, report := s.Ready()
		return strings.Contains(report, `"name":"store","ok":true`)
	})
	bob.wantPasses(true, "once the loss is accepted")
	alice.wantPasses(true, "once the loss is accepted, not enrolled any more")
	if got := alice.status(); got.State != "not-configured" || got.Verified {
		t.Errorf("alice is %+v", got)
	}
	w.signedIn("adam").wantPasses(false, "once the loss is accepted")
}

func TestProbesAreOnTheOperationsPort(t *testing.T) {
	t.Parallel()
	w := prepareOffice(t, stack.Options{})
	s := w.AddSidecar(func(o *server.Options) {
		o.Probes = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(rw, "probed "+r.URL.Path) })
	})
	if response, body := ask(t, s, "GET", "/probe/app/live"); response.StatusCode != http.StatusOK || body != "probed /probe/app/live" {
		t.Errorf("%d %q", response.StatusCode, body)
	}
}

func TestPolicyComesFromOneSource(t *testing.T) {
	t.Parallel()
	w := prepareOffice(t, stack.Options{})
	for name, adjust := range map[string]func(*server.Options){
		"from none":                  func(o *server.Options) { o.PolicyFile = "" },
		"from both":                  func(o *server.Options) { o.Follow = &server.Follow{Namespace: "a", Policy: "b", PodUID: "c"} },
		"followed, with epoch file":  follows("pod", func(o *server.Options) { o.EpochFile = "x" }),
		"followed, without a pod":    follows("pod", func(o *server.Options) { o.Follow.PodUID = "" }),
		"followed, without a policy": follows("pod", func(o *server.Options) { o.Follow.Policy = "" }),
	} {
		o := server.Options{PolicyFile: w.PolicyFile(), Keys: w.Keys(), Redis: w.DialRedis(), KeyPrefix: "sallyport", Clock: time.Now}
		adjust(&o)
		if _, err := server.New(o); err == nil {
			t.Errorf("%s: it starts", name)
		}
	}
}
