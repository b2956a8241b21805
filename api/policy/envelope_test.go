package policy_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/api/policy"
)

var issued = time.Date(2026, 10, 1, 12, 0, 0, 123456789, time.UTC)

func testKey(fill byte) []byte { return bytes.Repeat([]byte{fill}, 32) }

func testRecord() *policy.Record {
	r := baseRules()
	r.RequireForAdmins = true
	r.SetDefaults("portal")
	return &policy.Record{
		Realm: "acme/portal", Policy: "portal", UID: "0c5b6f9e", Generation: 7, IssuedAt: issued,
		Epoch: "q83vEjRWeJA.stamp", Rules: *r,
	}
}

func mustSeal(t testing.TB, r *policy.Record, key []byte) []byte {
	t.Helper()
	doc, err := policy.Seal(r, key)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// sealRaw seals frames as another program with the key might: strings behind
// their length, numbers as they are.
func sealRaw(key []byte, parts ...any) []byte {
	var body []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			body = binary.BigEndian.AppendUint64(body, uint64(len(p)))
			body = append(body, p...)
		default:
			var err error
			if body, err = binary.Append(body, binary.BigEndian, p); err != nil {
				panic(err)
			}
		}
	}
	h := hmac.New(sha256.New, key)
	h.Write(body)
	return h.Sum(body)
}

func TestRecordRoundTrip(t *testing.T) {
	jwt := testRecord()
	asJWT(&jwt.Rules).JWKS = policy.JWKS{Inline: `{"keys":[{"kty":"OKP","x":"a<b>&c"}]}`}
	jwt.Rules.SetDefaults("portal")
	headers := testRecord()
	asHeaders(&headers.Rules)
	headers.Rules.Exempt = []policy.Exemption{{Prefix: "/static/", Methods: []string{"GET"}}}
	headers.Rules.SetDefaults("portal")
	for name, want := range map[string]*policy.Record{"endpoint": testRecord(), "jwt": jwt, "headers": headers} {
		t.Run(name, func(t *testing.T) {
			got, err := policy.Open(mustSeal(t, want, testKey(1)), testKey(1), "acme")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
		})
	}
}

// The format is what sidecars of other versions read: a change here needs a new
// label.
func TestRecordGolden(t *testing.T) {
	got := hex.Dump(mustSeal(t, testRecord(), testKey(1)))
	path := filepath.Join("testdata", "record.golden.hex")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(readTestdata(t, "record.golden.hex")), got); diff != "" {
		t.Errorf("sealed record (-want +got):\n%s", diff)
	}
}

func TestSealRefuses(t *testing.T) {
	for name, mutate := range map[string]func(*policy.Record){
		"no realm":                func(r *policy.Record) { r.Realm = "" },
		"a realm of no workspace": func(r *policy.Record) { r.Realm = "acme" },
		"another workspace":       func(r *policy.Record) { r.Realm = "acme/other" },
		"an endless epoch":        func(r *policy.Record) { r.Epoch = strings.Repeat("e", 257) },
		"no policy":               func(r *policy.Record) { r.Policy = "" },
		"a negative generation":   func(r *policy.Record) { r.Generation = -1 },
		"no time":                 func(r *policy.Record) { r.IssuedAt = time.Time{} },
		"a time before 1970":      func(r *policy.Record) { r.IssuedAt = time.Unix(-1, 0) },
		"a time beyond 2262":      func(r *policy.Record) { r.IssuedAt = time.Date(2600, 1, 1, 0, 0, 0, 0, time.UTC) },
		"invalid rules":           func(r *policy.Record) { r.Rules.Workspace = "W" },
		"rules without default":   func(r *policy.Record) { r.Rules = *baseRules() },
	} {
		t.Run(name, func(t *testing.T) {
			r := testRecord()
			mutate(r)
			if doc, err := policy.Seal(r, testKey(1)); err == nil || doc != nil {
				t.Errorf("Seal gives %d bytes and %v, want an error alone", len(doc), err)
			}
		})
	}
}

func TestKeysAreOf32Bytes(t *testing.T) {
	doc := mustSeal(t, testRecord(), testKey(1))
	for _, key := range [][]byte{nil, {}, testKey(1)[:31], append(testKey(1), 1)} {
		if _, err := policy.Seal(testRecord(), key); !errors.Is(err, policy.ErrKeySize) {
			t.Errorf("Seal with %d bytes: %v, want ErrKeySize", len(key), err)
		}
		if _, err := policy.Open(doc, key, "acme"); !errors.Is(err, policy.ErrKeySize) {
			t.Errorf("Open with %d bytes: %v, want ErrKeySize", len(key), err)
		}
	}
}

// Every single bit is under the MAC.
func TestOpenRefusesEveryFlippedBit(t *testing.T) {
	doc := mustSeal(t, testRecord(), testKey(1))
	for i := range doc {
		for bit := range 8 {
			forged := bytes.Clone(doc)
			forged[i] ^= 1 << bit
			if r, err := policy.Open(forged, testKey(1), "acme"); r != nil || !errors.Is(err, policy.ErrBadMAC) {
				t.Fatalf("byte %d, bit %d flipped: %v, %v, want ErrBadMAC", i, bit, r, err)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	const label, realm, epoch = "sallyport/policy/v2", "acme/portal", "q83v.stamp"
	key := testKey(1)
	doc := mustSeal(t, testRecord(), key)
	rules := mustJSON(t, testRecord().Rules)
	now := issued.UnixNano()
	for _, tc := range []struct {
		name string
		doc  []byte
		want error // nil: any error that is none of the sentinels
	}{
		{"nothing", nil, policy.ErrBadMAC},
		{"less than a MAC", doc[:31], policy.ErrBadMAC},
		{"a record cut short", doc[:len(doc)-1], policy.ErrBadMAC},
		{"a record with something behind", append(bytes.Clone(doc), 0), policy.ErrBadMAC},
		{"another key's record", mustSeal(t, testRecord(), testKey(2)), policy.ErrBadMAC},
		{"nonsense is not even read", append(bytes.Repeat([]byte{0xff}, 100), make([]byte, 32)...), policy.ErrBadMAC},
		{"more than any record", make([]byte, 1<<20), policy.ErrBadMAC},
		{"another workspace than the rules name", sealRaw(key, label, "acme/other", "portal", "", int64(1), now, epoch, rules), policy.ErrWrongRealm},
		{"another namespace", sealRaw(key, label, "other/portal", "portal", "", int64(1), now, epoch, rules), policy.ErrWrongRealm},
		{"a namespace that begins alike", sealRaw(key, label, "acme-b/portal", "portal", "", int64(1), now, epoch, rules), policy.ErrWrongRealm},
		{"a namespace alone", sealRaw(key, label, "acme", "portal", "", int64(1), now, epoch, rules), policy.ErrWrongRealm},
		{"no realm", sealRaw(key, label, "", "portal", "", int64(1), now, epoch, rules), policy.ErrWrongRealm},
		{"an empty document", sealRaw(key), nil},
		{"another purpose", sealRaw(key, "sallyport/heartbeat/v1", realm, "portal", "", int64(1), now, epoch, rules), nil},
		{"another version", sealRaw(key, "sallyport/policy/v1", realm, "portal", "", int64(1), now, epoch, rules), nil},
		{"a field too few", sealRaw(key, label, realm, "portal", int64(1), now, epoch, rules), nil},
		{"a field too many", sealRaw(key, label, realm, "portal", "", int64(1), now, epoch, rules, "more"), nil},
		{"a negative generation", sealRaw(key, label, realm, "portal", "", int64(-1), now, epoch, rules), nil},
		{"no time", sealRaw(key, label, realm, "portal", "", int64(1), int64(0), epoch, rules), nil},
		{"no epoch", sealRaw(key, label, realm, "portal", "", int64(1), now, rules), nil},
		{"an epoch without end", sealRaw(key, label, realm, "portal", "", int64(1), now, strings.Repeat("e", 257), rules), nil},
		{"rules that are no JSON", sealRaw(key, label, realm, "portal", "", int64(1), now, epoch, "{"), nil},
		{"rules that this version does not know", sealRaw(key, label, realm, "portal", "", int64(1), now,
			strings.Replace(rules, "{", `{"requireForGuests": true,`, 1)), nil},
		{"rules in another case", sealRaw(key, label, realm, "portal", "", int64(1), now,
			strings.Replace(rules, "requireForAdmins", "RequireForAdmins", 1)), nil},
		{"rules with a duplicate", sealRaw(key, label, realm, "portal", "", int64(1), now,
			strings.Replace(rules, "{", `{"requireForAdmins": false,`, 1)), nil},
		{"invalid rules", sealRaw(key, label, realm, "portal", "", int64(1), now, epoch, "{}"), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := policy.Open(tc.doc, key, "acme")
			if err == nil || r != nil {
				t.Fatalf("got %+v, %v, want an error alone", r, err)
			}
			if tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("error is %v, want %v", err, tc.want)
			}
			if tc.want == nil && (errors.Is(err, policy.ErrBadMAC) || errors.Is(err, policy.ErrWrongRealm)) {
				t.Errorf("error is %v, want one about the content", err)
			}
		})
	}
	// The helper speaks the format, or the cases above would prove nothing.
	if _, err := policy.Open(sealRaw(key, label, realm, "portal", "", int64(1), now, epoch, rules), key, "acme"); err != nil {
		t.Errorf("a record by hand is refused: %v", err)
	}
}

func TestSupersedes(t *testing.T) {
	for _, tc := range []struct {
		name   string
		mutate func(*policy.Record)
		want   error
	}{
		{"the same again", func(*policy.Record) {}, nil},
		{"a newer generation", func(r *policy.Record) { r.Generation = 8 }, nil},
		{"a newer generation by a slower clock", func(r *policy.Record) {
			r.Generation, r.IssuedAt = 8, issued.Add(-time.Hour)
		}, nil},
		{"an older generation, issued later", func(r *policy.Record) {
			r.Generation, r.IssuedAt = 6, issued.Add(time.Hour)
		}, policy.ErrOlder},
		{"the same generation, issued later", func(r *policy.Record) { r.IssuedAt = issued.Add(1) }, nil},
		{"the same generation, issued earlier", func(r *policy.Record) { r.IssuedAt = issued.Add(-1) }, policy.ErrOlder},
		{"a policy made anew", func(r *policy.Record) {
			r.UID, r.Generation, r.IssuedAt = "other", 1, issued.Add(1)
		}, nil},
		{"a policy of old, played back", func(r *policy.Record) {
			r.UID, r.Generation, r.IssuedAt = "other", 99, issued.Add(-1)
		}, policy.ErrOlder},
		{"two policies of one moment", func(r *policy.Record) { r.UID = "other" }, policy.ErrOlder},
		{"another policy of the realm", func(r *policy.Record) { r.Policy, r.Generation = "lax", 99 }, policy.ErrWrongPolicy},
		{"the same policy, in another workspace", func(r *policy.Record) { r.Realm, r.Generation = "acme/lax", 99 }, nil},
		{"the same policy, once in another workspace", func(r *policy.Record) { r.Realm, r.Generation = "acme/lax", 6 }, policy.ErrOlder},
		{"another epoch, issued later", func(r *policy.Record) { r.Epoch, r.IssuedAt = "other", issued.Add(1) }, nil},
		{"another epoch, issued earlier", func(r *policy.Record) { r.Epoch, r.IssuedAt = "other", issued.Add(-1) }, policy.ErrOlder},
		{"another namespace", func(r *policy.Record) { r.Realm, r.Generation = "other/portal", 99 }, policy.ErrWrongRealm},
	} {
		t.Run(tc.name, func(t *testing.T) {
			next := testRecord()
			tc.mutate(next)
			if err := next.Supersedes(testRecord()); !errors.Is(err, tc.want) {
				t.Errorf("Supersedes is %v, want %v", err, tc.want)
			}
		})
	}
	if err := testRecord().Supersedes(nil); err != nil {
		t.Errorf("the first record is refused: %v", err)
	}
}

// Without the key nothing opens; with it, no content crashes.
func FuzzOpen(f *testing.F) {
	key := testKey(1)
	doc := mustSeal(f, testRecord(), key)
	f.Add(doc)
	f.Add(doc[:len(doc)-32])
	f.Add(sealRaw(key, "sallyport/policy/v2", "acme/portal", "portal", "", int64(1), int64(1), "", "{}"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if r, err := policy.Open(in, testKey(3), "acme"); err == nil {
			t.Errorf("opened without the key: %+v", r)
		}
		h := hmac.New(sha256.New, key)
		h.Write(in)
		r, err := policy.Open(h.Sum(bytes.Clone(in)), key, "acme")
		if err != nil {
			return
		}
		if r.Realm != "acme/"+r.Rules.Workspace || len(r.Rules.Validate()) > 0 {
			t.Errorf("opened a record that should not be: %+v", r)
		}
	})
}
