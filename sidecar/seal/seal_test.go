package seal_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/seal"
)

const realm = "shop/staff"

// key returns the base64 of 32 equal bytes.
func key(b byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32))
}

// file writes a key file; each key is "id status byte".
func file(t *testing.T, index byte, keys ...string) []byte {
	t.Helper()
	var entries []string
	for _, k := range keys {
		var id uint32
		var status string
		var b byte
		if _, err := fmt.Sscan(k, &id, &status, &b); err != nil {
			t.Fatalf("key %q: %v", k, err)
		}
		entries = append(entries, fmt.Sprintf(
			`{"id":%d,"status":%q,"created":"2026-01-02T03:04:05Z","key":%q}`, id, status, key(b)))
	}
	return fmt.Appendf(nil, `{"index":%q,"keys":[%s]}`, key(index), strings.Join(entries, ","))
}

func parse(t *testing.T, doc []byte, realm string) *seal.Ring {
	t.Helper()
	r, err := seal.Parse(doc, realm)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestGenerateMakesAKeyFileThatParses(t *testing.T) {
	t.Parallel()
	created := time.Date(2026, 5, 6, 7, 8, 9, 10, time.UTC)
	doc, err := seal.Generate(rand.Reader, created)
	if err != nil {
		t.Fatal(err)
	}
	other, err := seal.Generate(rand.Reader, created)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(doc, other) {
		t.Error("two generated key files are equal")
	}
	r := parse(t, doc, realm)
	if r.Primary() != 1 {
		t.Errorf("primary = %d, want 1", r.Primary())
	}
	var form struct {
		Index string
		Keys  []struct {
			ID      int
			Status  string
			Created string
			Key     string
		}
	}
	if err := json.Unmarshal(doc, &form); err != nil {
		t.Fatal(err)
	}
	if len(form.Keys) != 1 || form.Keys[0].Status != "primary" || form.Keys[0].Created != "2026-05-06T07:08:09Z" {
		t.Errorf("generated %s", doc)
	}
	if form.Index == form.Keys[0].Key {
		t.Error("index and key are equal")
	}
}

func TestGenerateFailsWithoutRandomness(t *testing.T) {
	t.Parallel()
	if _, err := seal.Generate(strings.NewReader("short"), time.Time{}); err == nil {
		t.Error("a short random source made keys")
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	good := string(file(t, 1, "1 primary 2"))
	for name, doc := range map[string]string{
		"nothing":                   "",
		"another format":            "index: x",
		"an array":                  "[]",
		"no keys":                   `{"index":"` + key(1) + `","keys":[]}`,
		"no index":                  strings.Replace(good, `"index":"`+key(1)+`",`, "", 1),
		"null index":                strings.Replace(good, `"`+key(1)+`"`, "null", 1),
		"a short index":             strings.Replace(good, key(1), "AAAA", 1),
		"an index of zeros":         strings.Replace(good, key(1), key(0), 1),
		"an index that is no text":  strings.Replace(good, `"`+key(1)+`"`, "7", 1),
		"a key that is no base64":   strings.Replace(good, key(2), "?"+key(2)[1:], 1),
		"url-safe base64":           strings.Replace(good, key(2), strings.Repeat("_", 43)+"=", 1),
		"a short key":               strings.Replace(good, key(2), "AAAA", 1),
		"a key of zeros":            strings.Replace(good, key(2), key(0), 1),
		"two primary keys":          string(file(t, 1, "1 primary 2", "2 primary 3")),
		"no primary key":            string(file(t, 1, "1 active 2")),
		"only retired keys":         string(file(t, 1, "1 retired 2")),
		"an id used twice":          string(file(t, 1, "1 primary 2", "1 active 3")),
		"an id used by a retired":   string(file(t, 1, "1 primary 2", "1 retired 3")),
		"an id of zero":             string(file(t, 1, "0 primary 2")),
		"a negative id":             strings.Replace(good, `"id":1`, `"id":-1`, 1),
		"an id beyond 32 bits":      strings.Replace(good, `"id":1`, `"id":4294967296`, 1),
		"an unknown status":         string(file(t, 1, "1 primary 2", "2 standby 3")),
		"a key twice":               string(file(t, 1, "1 primary 2", "2 active 2")),
		"the index as a key":        string(file(t, 1, "1 primary 1")),
		"an unknown field":          strings.Replace(good, `"keys"`, `"note":1,"keys"`, 1),
		"an unknown field of a key": strings.Replace(good, `"id"`, `"kid":1,"id"`, 1),
		"a malformed time":          strings.Replace(good, "2026-01-02T03:04:05Z", "yesterday", 1),
		"text after the end":        good + "{}",
		"a cut end":                 good[:len(good)-1],
		"too much":                  good + strings.Repeat(" ", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := seal.Parse([]byte(doc), realm)
			if err == nil {
				t.Fatalf("parsed to %v", r)
			}
			for _, secret := range []string{key(1), key(2), key(3)} {
				if strings.Contains(err.Error(), secret[:10]) {
					t.Errorf("the error quotes a key: %v", err)
				}
			}
		})
	}
}

func TestOpenReturnsWhatWasSealed(t *testing.T) {
	t.Parallel()
	r := parse(t, file(t, 1, "1 active 2", "7 primary 3"), realm)
	for _, plaintext := range []string{"", "x", strings.Repeat("long", 1000)} {
		blob, err := r.Seal("seed", []byte("alice"), []byte(plaintext))
		if err != nil {
			t.Fatal(err)
		}
		if len(plaintext) > 1 && bytes.Contains(blob, []byte(plaintext)) {
			t.Error("the plaintext stands in the blob")
		}
		if blob[0] != 1 || binary.BigEndian.Uint32(blob[1:]) != 7 {
			t.Errorf("header = %x, want version 1 and key 7", blob[:5])
		}
		if got, want := len(blob), len(plaintext)+1+4+12+16; got != want {
			t.Errorf("len = %d, want %d", got, want)
		}
		got, kid, err := r.Open("seed", []byte("alice"), blob)
		if err != nil || kid != 7 || string(got) != plaintext {
			t.Errorf("Open = %q, %d, %v", got, kid, err)
		}
	}
}

func TestSealNeverRepeatsItself(t *testing.T) {
	t.Parallel()
	r := parse(t, file(t, 1, "1 primary 2"), realm)
	seen := map[string]bool{}
	for range 1000 {
		blob, err := r.Seal("seed", nil, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if seen[string(blob[5:17])] {
			t.Fatal("a nonce was used twice")
		}
		seen[string(blob[5:17])] = true
	}
}

func TestOpenRefusesWhatIsNotAuthentic(t *testing.T) {
	t.Parallel()
	doc := file(t, 1, "1 primary 2", "2 active 3", "3 retired 4")
	r := parse(t, doc, realm)
	blob, err := r.Seal("seed", []byte("alice"), []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	with := func(at int, value byte) []byte {
		b := bytes.Clone(blob)
		b[at] = value
		return b
	}
	for name, c := range map[string]struct {
		ring         *seal.Ring
		purpose, aad string
		blob         []byte
		want         error
	}{
		"nothing":               {r, "seed", "alice", nil, seal.ErrCorrupt},
		"a header alone":        {r, "seed", "alice", blob[:5], seal.ErrCorrupt},
		"a cut value":           {r, "seed", "alice", blob[:len(blob)-1], seal.ErrCorrupt},
		"an extended value":     {r, "seed", "alice", append(bytes.Clone(blob), 0), seal.ErrCorrupt},
		"another version":       {r, "seed", "alice", with(0, 2), seal.ErrCorrupt},
		"another known key":     {r, "seed", "alice", with(4, 2), seal.ErrCorrupt},
		"a retired key":         {r, "seed", "alice", with(4, 3), seal.ErrUnknownKey},
		"a key unheard of":      {r, "seed", "alice", with(1, 9), seal.ErrUnknownKey},
		"a changed nonce":       {r, "seed", "alice", with(5, blob[5]^1), seal.ErrCorrupt},
		"a changed ciphertext":  {r, "seed", "alice", with(17, blob[17]^1), seal.ErrCorrupt},
		"another user's data":   {r, "seed", "bob", blob, seal.ErrCorrupt},
		"another purpose":       {r, "pending", "alice", blob, seal.ErrCorrupt},
		"another realm":         {parse(t, doc, "shop/admin"), "seed", "alice", blob, seal.ErrCorrupt},
		"the same id, new key":  {parse(t, file(t, 1, "1 primary 9"), realm), "seed", "alice", blob, seal.ErrCorrupt},
		"a ring without the id": {parse(t, file(t, 1, "9 primary 2"), realm), "seed", "alice", blob, seal.ErrUnknownKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _, err := c.ring.Open(c.purpose, []byte(c.aad), c.blob)
			if !errors.Is(err, c.want) || got != nil {
				t.Errorf("Open = %q, %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestRotationKeepsNamesAndOpensOldValues(t *testing.T) {
	t.Parallel()
	before := parse(t, file(t, 1, "1 primary 2"), realm)
	after := parse(t, file(t, 1, "1 active 2", "2 primary 3"), realm)
	blob, err := before.Seal("seed", nil, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if got, kid, err := after.Open("seed", nil, blob); err != nil || string(got) != "x" || kid != 1 {
		t.Errorf("Open = %q, %d, %v", got, kid, err)
	}
	if after.Primary() != 2 {
		t.Errorf("primary = %d, want 2", after.Primary())
	}
	if before.Name("user", "alice") != after.Name("user", "alice") {
		t.Error("a rotation renamed a user")
	}
	mac, err := before.MAC("sign-in", 1, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := after.Verify("sign-in", 1, mac, []byte("x")); err != nil {
		t.Errorf("Verify: %v", err)
	}
}

func TestNamesDifferInEveryPart(t *testing.T) {
	t.Parallel()
	doc := file(t, 1, "1 primary 2")
	r := parse(t, doc, realm)
	names := map[string]string{
		"the name":         r.Name("user", "alice", "x"),
		"another kind":     r.Name("sign-in", "alice", "x"),
		"another part":     r.Name("user", "bob", "x"),
		"a moved boundary": r.Name("user", "alic", "ex"),
		"one part":         r.Name("user", "alicex"),
		"an empty part":    r.Name("user", "alice", "x", ""),
		"no part":          r.Name("user"),
		"another realm":    parse(t, doc, "shop/admin").Name("user", "alice", "x"),
		"another index":    parse(t, file(t, 9, "1 primary 2"), realm).Name("user", "alice", "x"),
	}
	seen := map[string]string{}
	for what, name := range names {
		if !regexp.MustCompile(`^[A-Za-z0-9_-]{24}$`).MatchString(name) {
			t.Errorf("%s: %q is not 24 URL-safe characters", what, name)
		}
		if other, ok := seen[name]; ok {
			t.Errorf("%s and %s have one name", what, other)
		}
		seen[name] = what
	}
	if again := parse(t, doc, realm).Name("user", "alice", "x"); again != names["the name"] {
		t.Errorf("the name changed from %s to %s", names["the name"], again)
	}
}

func TestVerifyAcceptsOnlyTheSameParts(t *testing.T) {
	t.Parallel()
	r := parse(t, file(t, 1, "1 primary 2", "2 active 3", "3 retired 4"), realm)
	mac, err := r.MAC("sign-in", 1, []byte("alice"), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Verify("sign-in", 1, mac, []byte("alice"), []byte("x")); err != nil {
		t.Errorf("the right MAC: %v", err)
	}
	for name, err := range map[string]error{
		"another purpose":  r.Verify("other", 1, mac, []byte("alice"), []byte("x")),
		"another key":      r.Verify("sign-in", 2, mac, []byte("alice"), []byte("x")),
		"a moved boundary": r.Verify("sign-in", 1, mac, []byte("alicex")),
		"a cut MAC":        r.Verify("sign-in", 1, mac[:31], []byte("alice"), []byte("x")),
		"no MAC":           r.Verify("sign-in", 1, nil, []byte("alice"), []byte("x")),
	} {
		if !errors.Is(err, seal.ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
	for _, kid := range []uint32{0, 3, 9} {
		if _, err := r.MAC("sign-in", kid); !errors.Is(err, seal.ErrUnknownKey) {
			t.Errorf("MAC with key %d: %v, want ErrUnknownKey", kid, err)
		}
		if err := r.Verify("sign-in", kid, mac); !errors.Is(err, seal.ErrUnknownKey) {
			t.Errorf("Verify with key %d: %v, want ErrUnknownKey", kid, err)
		}
	}
}

func TestRetiredKeyMayBeWithoutMaterial(t *testing.T) {
	t.Parallel()
	doc := strings.Replace(string(file(t, 1, "1 primary 2", "2 retired 3")), `,"key":"`+key(3)+`"`, "", 1)
	r := parse(t, []byte(doc), realm)
	if _, err := r.MAC("x", 2); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("the retired key: %v, want ErrUnknownKey", err)
	}
}

func TestRingNeverPrintsItsKeys(t *testing.T) {
	t.Parallel()
	raw := bytes.Repeat([]byte{'K'}, 32)
	doc := fmt.Appendf(nil, `{"index":%q,"keys":[{"id":1,"status":"primary","created":"2026-01-02T03:04:05Z","key":%q}]}`,
		key(1), base64.StdEncoding.EncodeToString(raw))
	r := parse(t, doc, realm)
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%p"} {
		fmt.Fprintf(&out, verb+"\n", r)
		fmt.Fprintf(&out, verb+"\n", struct{ R *seal.Ring }{r})
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("Ring", slog.Any("ring", r))
	slog.New(slog.NewJSONHandler(&out, nil)).Info("Ring", slog.Any("in", map[string]any{"ring": r}))
	for _, leak := range []string{"KKKK", "4b4b", "4B4B", "75 75", "S0tL", "0x4b"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("printed a key (%s):\n%s", leak, out.String())
		}
	}
	if doc, err := json.Marshal(r); err == nil {
		t.Errorf("a ring was encoded to %s", doc)
	}
}

func TestRingIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	doc := file(t, 1, "1 primary 2")
	r := parse(t, doc, realm)
	want := parse(t, doc, realm).Name("user", "alice")
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			for j := range 100 {
				purpose := fmt.Sprint("p", (i+j)%5)
				blob, err := r.Seal(purpose, nil, []byte(purpose))
				if err != nil {
					t.Error(err)
					return
				}
				if got, _, err := r.Open(purpose, nil, blob); err != nil || string(got) != purpose {
					t.Errorf("Open = %q, %v", got, err)
				}
				if got := r.Name("user", "alice"); got != want {
					t.Errorf("Name = %s, want %s", got, want)
				}
			}
		})
	}
	group.Wait()
}

// TestDerivationIsFixed holds the derivation to recorded values: a change would
// lock every user out of what is stored.
func TestDerivationIsFixed(t *testing.T) {
	t.Parallel()
	r := parse(t, file(t, 1, "5 primary 2"), realm)
	mac, err := r.MAC("recovery-pepper", 5, []byte("alice"))
	if err != nil {
		t.Fatal(err)
	}
	blob, err := base64.StdEncoding.DecodeString(sealedOnce)
	if err != nil {
		t.Fatal(err)
	}
	plaintext, _, err := r.Open("seed", []byte("alice"), blob)
	if err != nil {
		t.Errorf("a value sealed before: %v", err)
	}
	got := []string{r.Name("user", "alice"), base64.StdEncoding.EncodeToString(mac), string(plaintext)}
	want := []string{nameOnce, macOnce, "sealed before"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNamesAndMACsAreFixed holds the names and the MACs of parts of every kind and length
// to recorded values: the store knows users and sign-ins by them.
func TestNamesAndMACsAreFixed(t *testing.T) {
	t.Parallel()
	r := parse(t, file(t, 1, "5 primary 2"), realm)
	var got []recorded
	for _, parts := range [][]string{
		nil,
		{""},
		{"alice"},
		{"", "alice"},
		{"alice", ""},
		{"Zoë\x00\xff", "session=s1; theme=dark"},
		{strings.Repeat("block", 13)},
		{strings.Repeat("a", 63), strings.Repeat("b", 64), strings.Repeat("c", 65)},
		{"alice", strings.Repeat("a long Cookie header; ", 1000)},
	} {
		var written [][]byte
		for _, part := range parts {
			written = append(written, []byte(part))
		}
		mac, err := r.MAC("sign-in", 5, written...)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Verify("sign-in", 5, mac, written...); err != nil {
			t.Errorf("Verify(%.40q) = %v", parts, err)
		}
		got = append(got, recorded{Name: r.Name("binding", parts...), MAC: base64.StdEncoding.EncodeToString(mac)})
	}
	if diff := cmp.Diff(recordedOnce, got); diff != "" {
		t.Errorf("(-recorded +now):\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"index":"` + key(1) + `","keys":[{"id":1,"status":"primary","created":"2026-01-02T03:04:05Z","key":"` + key(2) + `"}]}`))
	f.Add([]byte(`{"index":"","keys":[{"id":1,"status":"retired"}]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		r, err := seal.Parse(doc, realm)
		if err != nil {
			return
		}
		blob, err := r.Seal("seed", nil, []byte("x"))
		if err != nil {
			t.Fatalf("an accepted ring cannot seal: %v", err)
		}
		if got, kid, err := r.Open("seed", nil, blob); err != nil || string(got) != "x" || kid != r.Primary() {
			t.Fatalf("Open = %q, %d, %v", got, kid, err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	r, err := seal.Parse([]byte(`{"index":"`+key(1)+`","keys":[{"id":5,"status":"primary","created":"2026-01-02T03:04:05Z","key":"`+key(2)+`"}]}`), realm)
	if err != nil {
		f.Fatal(err)
	}
	// A recorded blob: the processes of one fuzzing run must agree on it.
	blob, err := base64.StdEncoding.DecodeString(sealedOnce)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("alice"), blob)
	f.Add([]byte("bob"), blob)
	f.Add([]byte("alice"), []byte{1, 0, 0, 0, 5})
	f.Add([]byte("lice"), append([]byte{1, 0, 0, 0, 5, 'a'}, blob[5:]...))
	f.Fuzz(func(t *testing.T, aad, b []byte) {
		got, _, err := r.Open("seed", aad, b)
		if (err == nil) != (string(aad) == "alice" && bytes.Equal(b, blob)) {
			t.Fatalf("Open = %q, %v", got, err)
		}
	})
}

func BenchmarkName(b *testing.B) {
	r, err := seal.Parse([]byte(`{"index":"`+key(1)+`","keys":[{"id":1,"status":"primary","created":"2026-01-02T03:04:05Z","key":"`+key(2)+`"}]}`), realm)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r.Name("sign-in", "a-token-of-forty-three-characters-as-browsers")
	}
}
