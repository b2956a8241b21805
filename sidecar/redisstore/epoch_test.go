package redisstore_test

import (
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
)

// ensurer returns an empty embedded server and EnsureEpoch on it.
func ensurer(t *testing.T) (*miniredis.Miniredis, func(expected string) (string, error)) {
	t.Helper()
	m := redistest.Mini(t)
	client := dial(t, redisstore.Options{URL: "redis://" + m.Addr()})
	return m, func(expected string) (string, error) {
		return redisstore.EnsureEpoch(t.Context(), client, prefix, realm, expected, rand.Reader, stamp)
	}
}

func TestEnsureEpochMakesOne(t *testing.T) {
	t.Parallel()
	m, ensure := ensurer(t)
	made := map[string]bool{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			epoch, err := ensure("")
			mu.Lock()
			defer mu.Unlock()
			made[epoch] = true
			value, mark, _ := strings.Cut(epoch, ".")
			if err != nil || len(value) != 22 || mark != stamp(value) {
				t.Errorf("made %q, %v", epoch, err)
			}
		})
	}
	group.Wait()
	if len(made) != 1 {
		t.Fatalf("%d epochs were made side by side", len(made))
	}
	if epoch, err := ensure(""); err != nil || !made[epoch] {
		t.Errorf("adopted %q, %v", epoch, err)
	}
	if m.TTL(epochKey) != 0 {
		t.Error("the epoch has a lifetime")
	}
}

func TestEnsureEpochNeverMakesAnExpectedOne(t *testing.T) {
	t.Parallel()
	m, ensure := ensurer(t)
	if epoch, err := ensure("of-old." + stamp("of-old")); !errors.Is(err, mfa.ErrStoreLost) || m.Exists(epochKey) {
		t.Fatalf("expected in an empty store: %q, %v", epoch, err)
	}
	epoch, err := ensure("")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ensure(epoch); err != nil || got != epoch {
		t.Errorf("the expected one: %q, %v", got, err)
	}
	if _, err := ensure("another." + stamp("another")); !errors.Is(err, mfa.ErrStoreLost) {
		t.Errorf("another one: %v", err)
	}
	m.FlushAll()
	if _, err := ensure(epoch); !errors.Is(err, mfa.ErrStoreLost) || m.Exists(epochKey) {
		t.Errorf("after the loss: %v", err)
	}
}

func TestEnsureEpochFails(t *testing.T) {
	t.Parallel()
	m, ensure := ensurer(t)
	client := dial(t, redisstore.Options{URL: "redis://" + m.Addr()})
	_, err := redisstore.EnsureEpoch(t.Context(), client, prefix, realm, "", strings.NewReader(""), stamp)
	if err == nil || m.Exists(epochKey) {
		t.Errorf("without randomness: %v", err)
	}
	if _, err := redisstore.EnsureEpoch(t.Context(), client, prefix, "a}b", "", rand.Reader, stamp); err == nil {
		t.Error("a realm with a brace was accepted")
	}
	m.SetError("MASTERDOWN no primary")
	for _, expected := range []string{"", "expected"} {
		if _, err := ensure(expected); err == nil || errors.Is(err, mfa.ErrStoreLost) {
			t.Errorf("with a failing server, expecting %q: %v", expected, err)
		}
	}
}

// TestRecordsOfAnotherEpochAreNotTrusted is the store restored from elsewhere:
// its records are there, and it is not the store.
func TestRecordsOfAnotherEpochAreNotTrusted(t *testing.T) {
	t.Parallel()
	s, m, _ := mini(t)
	enrol(t, s)
	epoch, err := m.Get(epochKey)
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]func() error{
		"Load":  func() error { _, err := s.Load(t.Context(), user, ""); return err },
		"Begin": func() error { _, err := s.Begin(t.Context(), user, mfa.FactorTOTP, limits); return err },
	}
	for name, call := range calls {
		s.SetEpoch(epoch)
		if err := call(); err != nil {
			t.Errorf("%s with its epoch: %v", name, err)
		}
		for _, expected := range []string{"", "another", epoch + "x"} {
			s.SetEpoch(expected)
			if err := call(); !errors.Is(err, mfa.ErrStoreLost) {
				t.Errorf("%s, expecting %q: %v", name, expected, err)
			}
		}
	}
	// Nothing expected and nothing there do not agree.
	s.SetEpoch("")
	if err := m.Set(epochKey, ""); err != nil {
		t.Fatal(err)
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, mfa.ErrStoreLost) {
			t.Errorf("%s with an empty epoch: %v", name, err)
		}
	}
	s.SetEpoch(epoch)
	m.Del(epochKey)
	for name, call := range calls {
		if err := call(); !errors.Is(err, mfa.ErrStoreLost) {
			t.Errorf("%s without an epoch: %v", name, err)
		}
	}
}

// TestFlushOfAServer is the whole accident: FLUSHALL on a real one.
func TestFlushOfAServer(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	s := newStore(t, node.Client(), redisstore.Config{})
	enrol(t, s)
	node.Do("FLUSHALL")
	if snapshot, err := s.Load(t.Context(), user, ""); !errors.Is(err, mfa.ErrStoreLost) {
		t.Errorf("Load = %v, %v", snapshot, err)
	}
	if keys := node.Do("DBSIZE"); keys != int64(0) {
		t.Errorf("%v keys were made in the lost store", keys)
	}
}

// stamp stands in for a key ring's names.
func stamp(value string) string { return "ours-" + value }

func TestEpochOfAnotherKeyRing(t *testing.T) {
	t.Parallel()
	client := dial(t, redisstore.Options{URL: "redis://" + redistest.Mini(t).Addr()})
	theirs := func(value string) string { return "theirs-" + value }
	epoch, err := redisstore.EnsureEpoch(t.Context(), client, prefix, realm, "", rand.Reader, theirs)
	if err != nil {
		t.Fatal(err)
	}
	for name, expected := range map[string]string{"adopted": "", "expected": epoch} {
		if _, err := redisstore.EnsureEpoch(t.Context(), client, prefix, realm, expected, rand.Reader, stamp); !errors.Is(err, redisstore.ErrOtherKeys) {
			t.Errorf("%s: error is %v, want %v", name, err, redisstore.ErrOtherKeys)
		}
	}
}
