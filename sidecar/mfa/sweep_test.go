package mfa_test

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/seal"
)

// oneRecord is a store with one enrolment; what Examine does not use panics.
type oneRecord struct {
	mfa.Store
	record *mfa.Record
	load   error
	reseal error
	moved  []byte
}

func (s *oneRecord) Load(context.Context, string, string) (mfa.Snapshot, error) {
	return mfa.Snapshot{Record: s.record}, s.load
}

func (s *oneRecord) Reseal(_ context.Context, _, _ string, _, sealed []byte) error {
	s.moved = sealed
	return s.reseal
}

func TestExamine(t *testing.T) {
	t.Parallel()
	doc, err := seal.Generate(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	before, err := seal.Parse(doc, "shop/staff")
	if err != nil {
		t.Fatal(err)
	}
	if doc, err = seal.Add(doc, rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
	if doc, err = seal.Promote(doc, 2); err != nil {
		t.Fatal(err)
	}
	after, err := seal.Parse(doc, "shop/staff")
	if err != nil {
		t.Fatal(err)
	}
	sealed := func(r *seal.Ring, user string) []byte {
		blob, err := r.Seal("seed", []byte(user), []byte("seed"))
		if err != nil {
			t.Fatal(err)
		}
		return blob
	}
	codes := mfa.Codes{KeyID: 1, Digests: map[int][]byte{0: {1}}}
	type counts = map[uint32]int64
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		store oneRecord
		want  seal.Use
		err   error
		moves bool
	}{
		"an old seed is moved and counts where it was found": {
			store: oneRecord{record: &mfa.Record{Seed: sealed(before, "alice"), Codes: codes}},
			want:  seal.Use{Seals: counts{1: 1}, Codes: counts{1: 1}, Moved: 1}, moves: true,
		},
		"a new seed stays": {
			store: oneRecord{record: &mfa.Record{Seed: sealed(after, "alice")}},
			want:  seal.Use{Seals: counts{2: 1}, Codes: counts{}},
		},
		"a seed that changed meanwhile is left": {
			store: oneRecord{record: &mfa.Record{Seed: sealed(before, "alice")}, reseal: mfa.ErrStale},
			want:  seal.Use{Seals: counts{1: 1}, Codes: counts{}}, moves: true,
		},
		"a store that takes no change ends the sweep": {
			store: oneRecord{record: &mfa.Record{Seed: sealed(before, "alice")}, reseal: boom},
			want:  seal.Use{Seals: counts{1: 1}, Codes: counts{}}, err: boom, moves: true,
		},
		"another user's seed stays and counts": {
			store: oneRecord{record: &mfa.Record{Seed: sealed(before, "bob")}},
			want:  seal.Use{Seals: counts{1: 1}, Codes: counts{}},
		},
		"an enrolment that is gone is none": {want: seal.Use{Seals: counts{}, Codes: counts{}}},
		"a seed that is none is told":       {store: oneRecord{record: &mfa.Record{Seed: []byte("x")}}, want: seal.Use{Seals: counts{}, Codes: counts{}, Unreadable: 1}},
		"a lost store ends the sweep":       {store: oneRecord{load: mfa.ErrStoreLost}, want: seal.Use{Seals: counts{}, Codes: counts{}}, err: mfa.ErrStoreLost},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			events := new(recorder)
			use := seal.Use{Seals: counts{}, Codes: counts{}}
			err := mfa.New(mfa.Config{Store: &c.store, Ring: after, Events: events}).Examine(t.Context(), "alice", &use)
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Errorf("Examine: %v, want %v", err, c.err)
			}
			if diff := cmp.Diff(c.want, use); diff != "" {
				t.Errorf("use (-want +got):\n%s", diff)
			}
			if got := c.store.moved != nil; got != c.moves {
				t.Errorf("moved %t, want %t", got, c.moves)
			}
			if n := len(events.events); int64(n) != c.want.Moved {
				t.Errorf("%d events of %d moves", n, c.want.Moved)
			}
			if c.moves {
				if seed, kid, err := after.Open("seed", []byte("alice"), c.store.moved); err != nil || kid != 2 || string(seed) != "seed" {
					t.Errorf("the moved seed opens to %q under key %d, %v", seed, kid, err)
				}
			}
		})
	}
}
