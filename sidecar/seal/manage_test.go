package seal_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/seal"
)

// Values recorded from the key file of TestDerivedKeysAreFixed.
const (
	derivedName = "a1IZTDC-ztqBWMNtjuh0KRxW"
	derivedMAC  = "afEvc+pE6D3qYkrepv6KHXbhKHKbkj2zJMlT7Ehuwrk="
)

var made = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func versions(t *testing.T, doc []byte) []seal.Version {
	t.Helper()
	v, err := seal.Versions(doc)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func derive(t *testing.T, doc []byte, namespace string) []byte {
	t.Helper()
	derived, err := seal.Derive(doc, namespace)
	if err != nil {
		t.Fatal(err)
	}
	return derived
}

func TestDeriveKeepsVersionsAndChangesKeys(t *testing.T) {
	t.Parallel()
	master := file(t, 1, "1 retired 2", "2 active 3", "5 primary 4")
	doc := derive(t, master, "acme")
	if diff := cmp.Diff(versions(t, master), versions(t, doc)); diff != "" {
		t.Errorf("versions (-master +derived):\n%s", diff)
	}
	for _, b := range []byte{1, 2, 3, 4} {
		if bytes.Contains(doc, []byte(key(b))) {
			t.Errorf("the derived document holds key %d of the master", b)
		}
	}
	if n := bytes.Count(doc, []byte(`"key"`)); n != 2 {
		t.Errorf("the derived document has %d keys, want those of the two usable versions", n)
	}
	if !bytes.Equal(doc, derive(t, master, "acme")) {
		t.Error("deriving twice gives two documents")
	}
}

// TestDerivedKeysAreFixed fails where a derivation changes, which would lose every
// enrolment.
func TestDerivedKeysAreFixed(t *testing.T) {
	t.Parallel()
	r := parse(t, derive(t, file(t, 1, "1 primary 2"), "acme"), "acme/portal")
	mac, err := r.MAC("recovery-pepper", 1, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	got := []string{r.Name("user", "alice"), base64.StdEncoding.EncodeToString(mac)}
	want := []string{derivedName, derivedMAC}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("derived values (-recorded +now):\n%s", diff)
	}
}

func TestDeriveTellsNamespacesAndVersionsApart(t *testing.T) {
	t.Parallel()
	one, two := file(t, 1, "1 primary 2"), file(t, 1, "2 primary 2")
	names, macs := map[string]bool{}, map[string]bool{}
	rings := [][]byte{derive(t, one, "acme"), derive(t, one, "acm"), derive(t, one, "acme-2"), derive(t, two, "acme"), one}
	for i, doc := range rings {
		r := parse(t, doc, "acme/portal")
		mac, err := r.MAC("m", r.Primary(), []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if macs[string(mac)] {
			t.Errorf("ring %d has a key of another", i)
		}
		macs[string(mac)] = true
		names[r.Name("user", "alice")] = true
	}
	// The index does not rotate: the ring with another id names alike.
	if len(names) != len(rings)-1 {
		t.Errorf("%d names of %d rings, want one less", len(names), len(rings))
	}
}

func TestDeriveRefuses(t *testing.T) {
	t.Parallel()
	good := file(t, 1, "1 primary 2")
	for name, namespace := range map[string]string{"no namespace": "", "a realm": "acme/portal"} {
		if doc, err := seal.Derive(good, namespace); err == nil {
			t.Errorf("%s: derived %d bytes", name, len(doc))
		}
	}
	if _, err := seal.Derive([]byte("{}"), "acme"); err == nil {
		t.Error("derived from no ring")
	}
}

func TestRotationOfADocument(t *testing.T) {
	t.Parallel()
	doc := file(t, 1, "1 primary 2")
	blob, err := parse(t, doc, realm).Seal("seed", nil, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	later := made.Add(1500 * time.Millisecond)
	step := func(what string, next []byte, err error, want ...seal.Version) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if diff := cmp.Diff(want, versions(t, next)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		doc = next
	}
	one := func(s seal.Status) seal.Version { return seal.Version{ID: 1, Status: s, Created: made} }
	two := func(s seal.Status) seal.Version {
		return seal.Version{ID: 2, Status: s, Created: made.Add(time.Second)}
	}
	next, err := seal.Add(doc, rand.Reader, later)
	step("add", next, err, one(seal.Primary), two(seal.Active))
	next, err = seal.Promote(doc, 2)
	step("promote", next, err, one(seal.Active), two(seal.Primary))
	next, err = seal.Promote(doc, 2)
	step("promote again", next, err, one(seal.Active), two(seal.Primary))
	if got, kid, err := parse(t, doc, realm).Open("seed", nil, blob); err != nil || string(got) != "x" || kid != 1 {
		t.Errorf("Open after promotion = %q, %d, %v", got, kid, err)
	}
	next, err = seal.Retire(doc, 1)
	step("retire", next, err, one(seal.Retired), two(seal.Primary))
	next, err = seal.Retire(doc, 1)
	step("retire again", next, err, one(seal.Retired), two(seal.Primary))
	if bytes.Contains(doc, []byte(key(2))) {
		t.Error("a retired key is still in the document")
	}
	if _, _, err := parse(t, doc, realm).Open("seed", nil, blob); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("Open after retirement: %v, want ErrUnknownKey", err)
	}
	next, err = seal.Add(doc, rand.Reader, later)
	if err != nil || versions(t, next)[2].ID != 3 {
		t.Errorf("the id after 1 (retired) and 2 is not 3: %v, %v", versions(t, next), err)
	}
}

func TestDocumentsRefuse(t *testing.T) {
	t.Parallel()
	doc := file(t, 1, "1 retired 2", "2 active 3", "3 primary 4", "4 active 5")
	for name, do := range map[string]func() ([]byte, error){
		"retiring the primary":        func() ([]byte, error) { return seal.Retire(doc, 3) },
		"retiring what is not there":  func() ([]byte, error) { return seal.Retire(doc, 9) },
		"promoting the retired":       func() ([]byte, error) { return seal.Promote(doc, 1) },
		"promoting an older key":      func() ([]byte, error) { return seal.Promote(doc, 2) },
		"promoting what is not there": func() ([]byte, error) { return seal.Promote(doc, 9) },
		"adding without randomness":   func() ([]byte, error) { return seal.Add(doc, strings.NewReader("short"), made) },
		"adding zeros":                func() ([]byte, error) { return seal.Add(doc, bytes.NewReader(make([]byte, 32)), made) },
		"adding a key that is there": func() ([]byte, error) {
			return seal.Add(doc, bytes.NewReader(bytes.Repeat([]byte{3}, 32)), made)
		},
		"adding after the last id": func() ([]byte, error) {
			return seal.Add(file(t, 1, "4294967295 primary 2"), rand.Reader, made)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := do()
			if err == nil || got != nil {
				t.Fatalf("gave %d bytes, %v", len(got), err)
			}
			for b := range byte(6) {
				if strings.Contains(err.Error(), key(b)[:10]) {
					t.Errorf("the error quotes a key: %v", err)
				}
			}
		})
	}
}

func TestKeyID(t *testing.T) {
	t.Parallel()
	blob, err := parse(t, file(t, 1, "7 primary 2"), realm).Seal("seed", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := seal.KeyID(blob); !ok || id != 7 {
		t.Errorf("KeyID = %d, %t", id, ok)
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "a cut value": blob[:len(blob)-1], "another version": append([]byte{2}, blob[1:]...),
	} {
		if id, ok := seal.KeyID(b); ok {
			t.Errorf("%s: KeyID = %d", name, id)
		}
	}
}

func TestParseUse(t *testing.T) {
	t.Parallel()
	const good = `{"asOf":"2026-01-02T03:04:05Z","primary":2,"seals":{"1":37,"2":5},"codes":{"1":12},"moved":3}`
	use, err := seal.ParseUse([]byte(good))
	want := seal.Use{
		AsOf: made, Primary: 2, Seals: map[uint32]int64{1: 37, 2: 5}, Codes: map[uint32]int64{1: 12}, Moved: 3,
	}
	if diff := cmp.Diff(want, use); err != nil || diff != "" {
		t.Errorf("ParseUse: %v (-want +got):\n%s", err, diff)
	}
	for name, doc := range map[string]string{
		"nothing":            "",
		"null":               "null",
		"no time":            strings.Replace(good, `"asOf":"2026-01-02T03:04:05Z",`, "", 1),
		"no primary":         strings.Replace(good, `"primary":2,`, "", 1),
		"no seals":           strings.Replace(good, `"seals":{"1":37,"2":5},`, "", 1),
		"null codes":         strings.Replace(good, `{"1":12}`, "null", 1),
		"a negative count":   strings.Replace(good, "37", "-37", 1),
		"a negative move":    strings.Replace(good, `"moved":3`, `"moved":-3`, 1),
		"an id beyond bits":  strings.Replace(good, `"1":37`, `"4294967296":37`, 1),
		"an unknown field":   strings.Replace(good, "moved", "lost", 1),
		"text after the end": good + "{}",
		"too much":           good + strings.Repeat(" ", 1<<16),
	} {
		if use, err := seal.ParseUse([]byte(doc)); err == nil {
			t.Errorf("%s: parsed to %+v", name, use)
		}
	}
}

func FuzzDocument(f *testing.F) {
	random := bytes.Repeat([]byte{9}, 32)
	f.Add([]byte(`{"index":"`+key(1)+`","keys":[{"id":1,"status":"primary","created":"2026-01-02T03:04:05Z","key":"`+key(2)+`"}]}`), "acme")
	f.Add([]byte(`{"index":"`+key(1)+`","keys":[{"id":3,"status":"retired","created":"2026-01-02T03:04:05Z"}]}`), "")
	f.Fuzz(func(t *testing.T, doc []byte, namespace string) {
		before, err := seal.Versions(doc)
		if err != nil {
			if _, err := seal.Parse(doc, realm); err == nil {
				t.Error("Parse takes what Versions refuses")
			}
			return
		}
		if derived, err := seal.Derive(doc, namespace); err == nil {
			if got := versions(t, derived); !slices.EqualFunc(before, got, func(a, b seal.Version) bool {
				return a.ID == b.ID && a.Status == b.Status && a.Created.Equal(b.Created)
			}) {
				t.Errorf("derived versions %v of %v", got, before)
			}
		}
		added, err := seal.Add(doc, bytes.NewReader(random), made)
		if err != nil {
			return
		}
		if got := versions(t, added); len(got) != len(before)+1 || got[len(before)].Status != seal.Active {
			t.Errorf("added versions %v to %v", got, before)
		}
	})
}

func FuzzParseUse(f *testing.F) {
	f.Add([]byte(`{"asOf":"2026-01-02T03:04:05Z","primary":2,"seals":{"1":37},"codes":{}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		use, err := seal.ParseUse(doc)
		if err == nil && (use.Primary == 0 || use.AsOf.IsZero() || use.Seals == nil || use.Codes == nil) {
			t.Errorf("parsed to %+v", use)
		}
	})
}
