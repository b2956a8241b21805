package redisstore_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
)

// everything calls each method of the store and returns the errors by name.
func everything(ctx context.Context, s *redisstore.Store, step int64) map[string]error {
	_, load := s.Load(ctx, user, "sign-in")
	_, begin := s.Begin(ctx, user, mfa.FactorTOTP, limits)
	_, pending := s.LoadPending(ctx, user, "browser")
	_, spend := s.SpendCode(ctx, user, "g1", 0, mfa.Grant{})
	return map[string]error{
		"Load": load, "Begin": begin, "LoadPending": pending, "SpendCode": spend,
		"SavePending":  s.SavePending(ctx, "user-2", "browser", []byte("x"), time.Minute),
		"CommitTOTP":   s.CommitTOTP(ctx, user, "g1", step, mfa.Grant{}),
		"Refund":       s.Refund(ctx, user, mfa.FactorTOTP),
		"UpdateSignIn": s.UpdateSignIn(ctx, user, "sign-in", []byte("x"), time.Minute),
		"EndSignIn":    s.EndSignIn(ctx, user, "sign-in"),
		"DropPending":  s.DropPending(ctx, user, "browser"),
		"Delete":       s.Delete(ctx, user, "g0"),
	}
}

// unavailable expects of every error that it says "cannot tell", and none of what
// would let somebody through or send them to the enrolment pages.
func unavailable(t *testing.T, results map[string]error) {
	t.Helper()
	for name, err := range results {
		if err == nil {
			t.Errorf("%s worked", name)
		}
		for _, verdict := range []error{
			mfa.ErrNotEnrolled, mfa.ErrNoPending, mfa.ErrStale, mfa.ErrReplayed, mfa.ErrSpent, mfa.ErrStoreLost,
		} {
			if errors.Is(err, verdict) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestDeadServerIsAnErrorAtOnceAndComesBackLost(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	client := dial(t, redisstore.Options{URL: "redis://" + node.Addr})
	s := newStore(t, client, redisstore.Config{})
	enrol(t, s)
	node.Kill()
	begin := time.Now()
	results := everything(t.Context(), s, 59_000_001)
	if took := time.Since(begin) / time.Duration(len(results)); took > 1500*time.Millisecond {
		t.Errorf("a call took %s", took)
	}
	unavailable(t, results)
	if h := s.Check(t.Context()); h.Err == nil || errors.Is(h.Err, mfa.ErrStoreLost) {
		t.Errorf("Check = %+v", h)
	}

	node.Restart()
	// It kept nothing: whoever was enrolled must not be taken for unenrolled. A
	// client that failed often looks for the server once a second.
	await(t, "the store is found, and lost", func() bool {
		snapshot, err := s.Load(t.Context(), user, "")
		if err == nil {
			t.Fatalf("Load = %v", snapshot)
		}
		return errors.Is(err, mfa.ErrStoreLost)
	})
	if h := s.Check(t.Context()); !errors.Is(h.Err, mfa.ErrStoreLost) {
		t.Errorf("Check = %+v", h)
	}
}

func TestHangingServerIsAnErrorInTime(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	client := dial(t, redisstore.Options{URL: "redis://" + node.Addr})
	s := newStore(t, client, redisstore.Config{})
	enrol(t, s)
	node.Freeze()
	for name, call := range map[string]func() error{
		"Load":       func() error { _, err := s.Load(t.Context(), user, ""); return err },
		"Begin":      func() error { _, err := s.Begin(t.Context(), user, mfa.FactorTOTP, limits); return err },
		"CommitTOTP": func() error { return s.CommitTOTP(t.Context(), user, "g1", 59_000_001, mfa.Grant{}) },
	} {
		begin := time.Now()
		err := call()
		if took := time.Since(begin); took > 1500*time.Millisecond {
			t.Errorf("%s took %s", name, took)
		}
		unavailable(t, map[string]error{name: err})
	}
	node.Thaw()
	if snapshot, err := s.Load(t.Context(), user, ""); err != nil || snapshot.Record == nil {
		t.Errorf("Load of the thawed server = %v, %v", snapshot, err)
	}
}

func TestReplicaIsReadOnly(t *testing.T) {
	t.Parallel()
	primary := redistest.Server(t, "--repl-diskless-sync-delay", "0")
	writable := newStore(t, primary.Client(), redisstore.Config{})
	want := enrol(t, writable)
	replica := redistest.Replica(t, primary)
	epoch, err := replica.Client().Get(t.Context(), epochKey).Result()
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t, dial(t, redisstore.Options{URL: "redis://" + replica.Addr}), redisstore.Config{Epoch: epoch})

	snapshot, err := s.Load(t.Context(), user, "")
	if err != nil || snapshot.Record == nil || snapshot.Record.LastStep != want.LastStep {
		t.Errorf("Load = %v, %v", snapshot, err)
	}
	if _, err := s.Begin(t.Context(), user, mfa.FactorTOTP, limits); err == nil {
		t.Error("Begin worked")
	}
	unavailable(t, map[string]error{
		"CommitTOTP":  s.CommitTOTP(t.Context(), user, "g1", want.LastStep+1, mfa.Grant{}),
		"SavePending": s.SavePending(t.Context(), "user-2", "browser", []byte("x"), time.Minute),
	})
	if h := s.Check(t.Context()); !errors.Is(h.Err, redisstore.ErrReadOnly) {
		t.Errorf("Check = %+v", h)
	}
	if h := writable.Check(t.Context()); h.Err != nil {
		t.Errorf("Check of the primary = %+v", h)
	}
}

// TestReplicationIsAwaited asks for one replica, with and without one.
func TestReplicationIsAwaited(t *testing.T) {
	t.Parallel()
	primary := redistest.Server(t, "--repl-diskless-sync-delay", "0")
	replica := redistest.Replica(t, primary)
	s := newStore(t, dial(t, redisstore.Options{URL: "redis://" + primary.Addr}),
		redisstore.Config{Replicas: 1, Timeout: patient})
	// A replica is counted from its first acknowledgement on, a second away.
	want := mfa.Record{}
	await(t, "the replica acknowledges", func() bool {
		_ = s.Reset(t.Context(), user)
		_ = s.SavePending(t.Context(), user, "browser", []byte("pending"), time.Minute)
		r := mfa.Record{Generation: "g1", Seed: []byte("x"), Codes: mfa.Codes{Salt: []byte("x")}}
		return s.Enrol(t.Context(), user, "browser", []byte("pending"), nil, r, mfa.Grant{}) == nil
	})
	if err := s.CommitTOTP(t.Context(), user, "g1", 1, mfa.Grant{}); err != nil {
		t.Fatalf("CommitTOTP with a replica: %v", err)
	}
	if step, err := replica.Client().HGet(t.Context(), recordKey, "t").Int(); err != nil || step != 1 {
		t.Errorf("the replica has step %d, %v", step, err)
	}
	replica.Kill()
	unavailable(t, map[string]error{
		"CommitTOTP": s.CommitTOTP(t.Context(), user, "g1", 2, mfa.Grant{}),
	})
	// The step is spent all the same.
	if err := s.CommitTOTP(t.Context(), user, "g1", 2, mfa.Grant{}); err == nil {
		t.Error("the step was accepted twice")
	}
	snapshot, err := s.Load(t.Context(), user, "")
	if err != nil || snapshot.Record.LastStep != 2 {
		t.Errorf("Load = %v, %v; want step 2, not %d", snapshot, err, want.LastStep)
	}
}

// TestReplicationIsAwaitedInACluster shows that WAIT goes where the change went.
// The nodes have no replicas, so asking for one fails and the change stands.
func TestReplicationIsAwaitedInACluster(t *testing.T) {
	t.Parallel()
	nodes := redistest.Cluster(t)
	client := dial(t, redisstore.Options{URL: "redis+cluster://" + nodes[0].Addr})
	s := newStore(t, client, redisstore.Config{Timeout: patient})
	enrol(t, s)
	waiting := newStore(t, client, redisstore.Config{Replicas: 1, Timeout: patient})
	err := waiting.CommitTOTP(t.Context(), user, "g1", 59_000_001, mfa.Grant{})
	if err == nil || !strings.Contains(err.Error(), "0 of 1 replicas") {
		t.Errorf("CommitTOTP: %v", err)
	}
	snapshot, err := s.Load(t.Context(), user, "")
	if err != nil || snapshot.Record.LastStep != 59_000_001 {
		t.Errorf("Load = %v, %v", snapshot, err)
	}
	if h := s.Check(t.Context()); h.Err != nil || h.Policy != "noeviction" {
		t.Errorf("Check = %+v", h)
	}
	// A node that evicts is enough to make a cluster evict.
	nodes[2].Do("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
	if h := s.Check(t.Context()); !errors.Is(h.Err, redisstore.ErrEvicts) || h.Policy != "volatile-ttl" {
		t.Errorf("Check with a node that evicts = %+v", h)
	}
	nodes[0].Do("FLUSHALL")
	nodes[1].Do("FLUSHALL")
	nodes[2].Do("FLUSHALL")
	if snapshot, err := s.Load(t.Context(), user, ""); !errors.Is(err, mfa.ErrStoreLost) {
		t.Errorf("Load after the loss = %v, %v", snapshot, err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	ahead := 42 * time.Second
	s := newStore(t, node.Client(), redisstore.Config{
		Clock: func() time.Time { return time.Now().Add(-ahead) },
	})
	h := s.Check(t.Context())
	if h.Err != nil || h.Policy != "noeviction" {
		t.Errorf("Check = %+v", h)
	}
	if off := (h.Drift - ahead).Abs(); off > 500*time.Millisecond {
		t.Errorf("drift = %s, want about %s", h.Drift, ahead)
	}
	for _, policy := range []string{"allkeys-lru", "volatile-lru", "volatile-ttl"} {
		node.Do("CONFIG", "SET", "maxmemory-policy", policy)
		if h := s.Check(t.Context()); !errors.Is(h.Err, redisstore.ErrEvicts) || h.Policy != policy {
			t.Errorf("Check = %+v", h)
		}
	}
	node.Do("CONFIG", "SET", "maxmemory-policy", "noeviction")
	node.Do("CONFIG", "SET", "min-replicas-to-write", "1")
	if h := s.Check(t.Context()); !errors.Is(h.Err, redisstore.ErrReadOnly) {
		t.Errorf("Check without the replicas it needs = %+v", h)
	}
	node.Do("CONFIG", "SET", "min-replicas-to-write", "0")
	node.Do("CONFIG", "SET", "maxmemory", "1")
	if h := s.Check(t.Context()); !errors.Is(h.Err, redisstore.ErrReadOnly) {
		t.Errorf("Check without memory = %+v", h)
	}
	node.Do("CONFIG", "SET", "maxmemory", "0")
	node.Do("DEL", epochKey)
	h = s.Check(t.Context())
	if !errors.Is(h.Err, mfa.ErrStoreLost) || errors.Is(h.Err, redisstore.ErrReadOnly) {
		t.Errorf("Check without an epoch = %+v", h)
	}

	embedded, _, _ := mini(t)
	if h := embedded.Check(t.Context()); h.Err != nil || h.Policy != "" {
		t.Errorf("Check of the embedded server = %+v", h)
	}
}

// recorder is an Observer.
type recorder struct {
	mu   sync.Mutex
	seen map[string]int
	errs map[string]error
}

func (r *recorder) ObserveRedis(command string, d time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[command]++
	if err != nil {
		r.errs[command] = err
	}
	if d < 0 {
		r.errs[command] = errors.New("negative duration")
	}
}

func TestObserverSeesCommandsAndFaults(t *testing.T) {
	t.Parallel()
	m := redistest.Mini(t)
	client := dial(t, redisstore.Options{URL: "redis://" + m.Addr()})
	r := &recorder{seen: map[string]int{}, errs: map[string]error{}}
	redisstore.Observe(client, r, time.Now)
	s := newStore(t, client, redisstore.Config{})
	r.mu.Lock()
	clear(r.seen)
	r.mu.Unlock()
	for range 3 {
		if _, err := s.Load(t.Context(), user, "absent"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.LoadPending(t.Context(), user, "absent"); !errors.Is(err, mfa.ErrNoPending) {
		t.Fatal(err)
	}
	r.mu.Lock()
	if r.seen["evalsha"] != 3 || r.seen["eval"] != 1 || r.seen["get"] != 2 || len(r.errs) != 0 {
		t.Errorf("seen %v, faults %v", r.seen, r.errs)
	}
	r.mu.Unlock()
	m.SetError("MASTERDOWN no primary")
	_, _ = s.Load(t.Context(), user, "")
	m.Close()
	_, _ = s.Load(t.Context(), user, "")
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.errs["evalsha"] == nil || r.errs["dial"] == nil {
		t.Errorf("faults %v", r.errs)
	}
	for command := range r.seen {
		if strings.ContainsAny(command, ":{} ") {
			t.Errorf("observed %q", command)
		}
	}
}

// await polls until done.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("%s: never", what)
}
