package keys_test

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/controllers/keys"
	"github.com/sallyport/sallyport/sidecar/seal"
)

var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func generate(t *testing.T) []byte {
	t.Helper()
	doc, err := seal.Generate(rand.Reader, start.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// statuses writes the versions of a document as "1:active 2:primary".
func statuses(t *testing.T, doc []byte) string {
	t.Helper()
	versions, err := seal.Versions(doc)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, v := range versions {
		out = append(out, fmt.Sprintf("%d:%s", v.ID, v.Status))
	}
	return strings.Join(out, " ")
}

func sidecar(name string, primary uint32, known ...uint32) keys.Sidecar {
	return keys.Sidecar{Name: name, Primary: primary, Known: known}
}

// use is a count as of some time after the start.
func use(after time.Duration, primary uint32, seals, codes map[uint32]int64) *seal.Use {
	if seals == nil {
		seals = map[uint32]int64{}
	}
	if codes == nil {
		codes = map[uint32]int64{}
	}
	return &seal.Use{AsOf: start.Add(after), Primary: primary, Seals: seals, Codes: codes}
}

// TestRotation walks one rotation from end to end. After each look the process may
// die: only the ring goes on to the next.
func TestRotation(t *testing.T) {
	t.Parallel()
	type counts = map[uint32]int64
	ring := &keys.Ring{Document: generate(t)}
	for i, c := range []struct {
		requested string
		at        time.Duration
		sidecars  []keys.Sidecar
		realm     *seal.Use
		// what is expected after the look
		keys    string
		changed bool
		phase   keys.Phase
		waiting string
	}{
		{"", 0, nil, nil, "1:primary", false, keys.Idle, ""},
		{"may", 0, nil, nil, "1:primary 2:active", true, keys.Distributing, "key 2 is being delivered"},
		{"may", time.Minute, []keys.Sidecar{sidecar("a/1", 1, 1, 2)}, nil, "1:primary 2:active", false, keys.Distributing, "until 2026-05-01T12:02:00Z"},
		{"may", 3 * time.Minute, []keys.Sidecar{sidecar("a/1", 1, 1, 2), sidecar("b/1", 1, 1)}, nil, "1:primary 2:active", false, keys.Distributing, "1 of 2 sidecars have not said that they know key 2: b/1"},
		{"may", 3 * time.Minute, []keys.Sidecar{sidecar("a/1", 1, 1, 2), sidecar("b/1", 0)}, nil, "1:primary 2:active", false, keys.Distributing, "b/1"},
		{"may", 4 * time.Minute, []keys.Sidecar{sidecar("a/1", 1, 1, 2), sidecar("b/1", 1, 1, 2)}, nil, "1:active 2:primary", true, keys.Promoting, "changing over to key 2"},
		{"may", 5 * time.Minute, []keys.Sidecar{sidecar("a/1", 2, 1, 2), sidecar("b/1", 1, 1, 2)}, nil, "1:active 2:primary", false, keys.Promoting, "1 of 2 sidecars have not said that they seal with key 2: b/1"},
		{"may", 6 * time.Minute, []keys.Sidecar{sidecar("a/1", 2, 1, 2), sidecar("b/1", 2, 1, 2)}, nil, "1:active 2:primary", true, keys.Resealing, "nobody has counted what needs key 1 in a/w"},
		{"may", 7 * time.Minute, []keys.Sidecar{sidecar("a/1", 2, 1, 2)}, use(6*time.Minute, 2, counts{1: 37}, counts{1: 12}), "1:active 2:primary", false, keys.Resealing, "37 sealed secrets still need key 1"},
		{"may", 9 * time.Hour, []keys.Sidecar{sidecar("a/1", 2, 1, 2)}, use(9*time.Hour, 2, counts{2: 37}, counts{1: 12}), "1:active 2:primary", false, keys.Resealing, "12 recovery code sets still need key 1; they go when their users make new codes"},
		{"may", 9 * time.Hour, []keys.Sidecar{sidecar("a/1", 2, 1, 2)}, use(9*time.Hour, 2, counts{2: 37}, counts{2: 12}), "1:active 2:primary", false, keys.Resealing, "run out by 2026-05-02T12:06:01Z"},
		{"may", 25 * time.Hour, []keys.Sidecar{sidecar("a/1", 2, 1, 2)}, use(9*time.Hour, 2, counts{2: 37}, counts{2: 12}), "1:active 2:primary", false, keys.Resealing, "to be counted after 2026-05-02T12:06:01Z, in a/w"},
		{"may", 25 * time.Hour, []keys.Sidecar{sidecar("a/1", 2, 1, 2)}, use(25*time.Hour, 1, counts{2: 37}, counts{2: 12}), "1:active 2:primary", false, keys.Resealing, "to be counted"},
		{"may", 25 * time.Hour, []keys.Sidecar{sidecar("a/1", 2, 1, 2), sidecar("a/2", 0)}, use(25*time.Hour, 2, counts{2: 37}, counts{2: 12}), "1:active 2:primary", false, keys.Promoting, "a/2"},
		{"may", 25 * time.Hour, []keys.Sidecar{sidecar("a/1", 2, 1, 2)}, use(25*time.Hour, 2, counts{2: 37}, counts{2: 12}), "1:retired 2:primary", true, keys.Idle, ""},
		{"may", 25 * time.Hour, []keys.Sidecar{sidecar("a/1", 2, 2)}, nil, "1:retired 2:primary", true, keys.Idle, ""}, // tidies up
		{"may", 26 * time.Hour, []keys.Sidecar{sidecar("a/1", 2, 2)}, nil, "1:retired 2:primary", false, keys.Idle, ""},
		{"june", 30 * time.Hour, []keys.Sidecar{sidecar("a/1", 2, 2)}, nil, "1:retired 2:primary 3:active", true, keys.Distributing, "key 3"},
	} {
		// The process begins anew: whatever was in memory is gone.
		ring = &keys.Ring{Document: ring.Document, Requested: c.requested, Served: ring.Served, Settled: ring.Settled}
		next, progress, err := keys.Next(keys.State{
			Ring: ring, Sidecars: c.sidecars, Realms: map[string]*seal.Use{"a/w": c.realm},
			Linger: 24 * time.Hour, Now: start.Add(c.at),
		}, rand.Reader)
		if err != nil {
			t.Fatalf("look %d: %v", i, err)
		}
		if (next != nil) != c.changed {
			t.Fatalf("look %d: changed %t, want %t (%+v)", i, next != nil, c.changed, progress)
		}
		if next != nil {
			ring = next
		}
		if got := statuses(t, ring.Document); got != c.keys {
			t.Errorf("look %d: keys %s, want %s", i, got, c.keys)
		}
		if progress.Phase != c.phase || !strings.Contains(progress.Waiting, c.waiting) || (c.waiting == "") != (progress.Waiting == "") {
			t.Errorf("look %d: %s, waiting %q; want %s, %q", i, progress.Phase, progress.Waiting, c.phase, c.waiting)
		}
	}
	if ring.Served != "june" {
		t.Errorf("served %q, want june", ring.Served)
	}
}

// resealing is a ring in the middle of a rotation, and a state that lets key 1 go.
func resealing(t *testing.T) keys.State {
	t.Helper()
	doc, err := seal.Add(generate(t), rand.Reader, start.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if doc, err = seal.Promote(doc, 2); err != nil {
		t.Fatal(err)
	}
	return keys.State{
		Ring:     &keys.Ring{Document: doc, Settled: keys.Settled{Primary: 2, At: start}},
		Sidecars: []keys.Sidecar{sidecar("a/1", 2, 1, 2), sidecar("b/1", 2, 1, 2)},
		Realms: map[string]*seal.Use{
			"a/w": use(time.Hour, 2, map[uint32]int64{2: 3}, map[uint32]int64{2: 3}),
			"b/w": use(time.Hour, 2, nil, nil),
		},
		Now: start.Add(2 * time.Hour),
	}
}

func TestNothingIsRetiredTooEarly(t *testing.T) {
	t.Parallel()
	if next, _, err := keys.Next(resealing(t), rand.Reader); err != nil || next == nil || statuses(t, next.Document) != "1:retired 2:primary" {
		t.Fatalf("the state that lets a key go does not: %v", err)
	}
	for name, mutate := range map[string]func(*keys.State){
		"a sidecar is not heard of":         func(s *keys.State) { s.Sidecars[1].Primary = 0 },
		"a sidecar seals with the old key":  func(s *keys.State) { s.Sidecars[1].Primary = 1 },
		"a realm was never counted":         func(s *keys.State) { s.Realms["c/w"] = nil },
		"a realm was counted with old keys": func(s *keys.State) { s.Realms["b/w"].Primary = 1 },
		"a count is of before the linger":   func(s *keys.State) { s.Realms["b/w"].AsOf = start.Add(14 * time.Minute) },
		"a count is of before the change":   func(s *keys.State) { s.Realms["b/w"].AsOf = start.Add(-time.Hour) },
		"one seed needs it":                 func(s *keys.State) { s.Realms["b/w"].Seals[1] = 1 },
		"one set of codes needs it":         func(s *keys.State) { s.Realms["b/w"].Codes[1] = 1 },
		"one record cannot be read":         func(s *keys.State) { s.Realms["b/w"].Unreadable = 1 },
		"sign-ins last longer":              func(s *keys.State) { s.Linger = 3 * time.Hour },
		"nothing is settled":                func(s *keys.State) { s.Ring.Settled = keys.Settled{} },
		"another key is settled":            func(s *keys.State) { s.Ring.Settled.Primary = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := resealing(t)
			mutate(&s)
			next, progress, err := keys.Next(s, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			if next != nil && statuses(t, next.Document) != "1:active 2:primary" {
				t.Errorf("keys %s", statuses(t, next.Document))
			}
			if progress.Waiting == "" || progress.Phase == keys.Idle {
				t.Errorf("progress %+v says nothing of the wait", progress)
			}
		})
	}
}

func TestASidecarThatFallsBackStartsTheWaitAnew(t *testing.T) {
	t.Parallel()
	s := resealing(t)
	s.Sidecars[0].Primary = 1
	next, _, err := keys.Next(s, rand.Reader)
	if err != nil || next == nil || next.Settled != (keys.Settled{}) {
		t.Fatalf("Next = %v, %v; want the settlement undone", next, err)
	}
	s.Ring, s.Sidecars[0].Primary = next, 2
	if next, _, err = keys.Next(s, rand.Reader); err != nil || next == nil || next.Settled.At.Before(s.Now) {
		t.Errorf("Next = %v, %v; want it settled from now on", next, err)
	}
}

func TestARotationCanFollowOneThatWaits(t *testing.T) {
	t.Parallel()
	s := resealing(t)
	s.Realms["a/w"].Codes[1] = 12
	s.Ring.Requested = "again"
	next, progress, err := keys.Next(s, rand.Reader)
	if err != nil || next == nil {
		t.Fatalf("Next = %v, %v", next, err)
	}
	if got := statuses(t, next.Document); got != "1:active 2:primary 3:active" || next.Served != "again" {
		t.Errorf("keys %s, served %q", got, next.Served)
	}
	want := []keys.Version{
		{ID: 1, Status: seal.Active, Created: start.Add(-time.Hour), Codes: 12},
		{ID: 2, Status: seal.Primary, Created: start.Add(-time.Hour), Seals: 3, Codes: 3},
		{ID: 3, Status: seal.Active, Created: s.Now},
	}
	if diff := cmp.Diff(want, progress.Versions); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
}

func TestNextRefusesAnUnreadableRing(t *testing.T) {
	t.Parallel()
	if next, _, err := keys.Next(keys.State{Ring: &keys.Ring{Document: []byte("{}"), Requested: "x"}}, rand.Reader); err == nil {
		t.Errorf("Next = %v", next)
	}
}
