package mfa_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/argon2"

	"github.com/sallyport/sallyport/sidecar/mfa"
)

// What the store keeps of a recovery code, worked out here once more: without the key
// ring nothing can be tried, and with it every try costs what the product promises.
func TestRecoveryCodesAreKeptByASlowHash(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.User("u-1", "alice")
	_, codes := f.enrol(t, alice)
	snapshot, err := f.Load(t.Context(), alice, "")
	if err != nil {
		t.Fatal(err)
	}
	kept := snapshot.Record.Codes
	if len(kept.Salt) != 16 || len(kept.Digests) != len(codes) {
		t.Fatalf("a salt of %d bytes and %d digests of %d codes", len(kept.Salt), len(kept.Digests), len(codes))
	}
	for i, shown := range codes {
		code := strings.ReplaceAll(shown, "-", "")
		peppered, err := ring(t, f.doc).MAC("recovery-pepper", kept.KeyID, []byte(alice.Key), []byte(code))
		if err != nil {
			t.Fatal(err)
		}
		// OWASP ASVS 5.0: argon2id with 12 MiB, three passes, one lane.
		if want := argon2.IDKey(peppered, kept.Salt, 3, 12<<10, 1, 16); !bytes.Equal(kept.Digests[i], want) {
			t.Errorf("recovery code %d is not kept as argon2id of its HMAC", i)
		}
	}
}

// meeting has everybody begin one after the other, and lets nobody go on before all have.
type meeting struct {
	mfa.Store

	one      sync.Mutex
	expected sync.WaitGroup
}

func (m *meeting) Begin(ctx context.Context, user string, f mfa.Factor, l mfa.Limits) (mfa.Record, error) {
	m.one.Lock()
	record, err := m.Store.Begin(ctx, user, f, l)
	m.one.Unlock()
	m.expected.Done()
	m.expected.Wait()
	return record, err
}

// Two codes are hashed at once and sixteen wait; who comes beyond that is told so.
func TestHashingIsBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	costly := f.Hasher
	f.Hasher = mfa.NewCheapHasher()
	people := make([]mfa.User, 60)
	for i := range people {
		people[i] = f.User(fmt.Sprintf("u-%d", i), "")
		f.enrol(t, people[i])
	}
	crowd := &meeting{Store: f.Store}
	crowd.expected.Add(len(people))
	f.Hasher, f.Store = costly, crowd

	answers := make([]error, len(people))
	var all sync.WaitGroup
	for i, u := range people {
		all.Go(func() { _, answers[i] = f.VerifyRecovery(t.Context(), u, "AAAA-AAAA", grant("k")) })
	}
	all.Wait()
	busy := 0
	for i, err := range answers {
		switch {
		case errors.Is(err, mfa.ErrBusy):
			busy++
		case !errors.Is(err, mfa.ErrWrongCode):
			t.Errorf("user %d: %v", i, err)
		}
	}
	if busy == 0 || busy > len(people)-18 {
		t.Errorf("%d of %d at once were told to come again", busy, len(people))
	}
}

// How long an answer takes must not tell whether somebody has recovery codes left. What
// makes it long is the hash, and the hash is made in 12 MiB of memory, which is easier
// to count than time. Not parallel: others take memory too.
func TestAWrongRecoveryCodeCostsAHashWhateverIsLeft(t *testing.T) {
	const hash = 12 << 20
	f := newFixture(t)
	alice := f.User("u-1", "alice")
	_, codes := f.enrol(t, alice)
	for left := len(codes); left >= 0; left-- {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := f.VerifyRecovery(t.Context(), alice, "AAAA-AAAA", grant("k"))
		runtime.ReadMemStats(&after)
		if !errors.Is(err, mfa.ErrWrongCode) {
			t.Fatalf("with %d codes left: %v", left, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took < hash || took > 2*hash {
			t.Errorf("with %d codes left a wrong one took %d KiB, want one hash of %d", left, took>>10, hash>>10)
		}
		if left > 0 {
			if _, err := f.VerifyRecovery(t.Context(), alice, codes[left-1], grant("k")); err != nil {
				t.Fatalf("spend a code of %d: %v", left, err)
			}
		}
	}
}
