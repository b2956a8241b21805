package server_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/seal"
	"github.com/sallyport/sallyport/sidecar/server"
	"github.com/sallyport/sallyport/test/stack"
)

// The store and the keys in hands that mean ill, or err.

// ring is the key file as operators see it.
type ring struct {
	Index string    `json:"index"`
	Keys  []ringKey `json:"keys"`
}

type ringKey struct {
	ID      int    `json:"id"`
	Status  string `json:"status"`
	Created string `json:"created"`
	Key     string `json:"key"`
}

// rekeyed is the stack's ring after an edit.
func (w *world) rekeyed(edit func(*ring)) func(*server.Options) {
	w.t.Helper()
	var r ring
	if err := json.Unmarshal(w.Keys(), &r); err != nil {
		w.t.Fatal(err)
	}
	edit(&r)
	doc, err := json.Marshal(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return func(o *server.Options) { o.Keys = doc }
}

func anotherKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	return base64.StdEncoding.EncodeToString(key)
}

// A sidecar that cannot open a seed neither accepts a code nor takes the user for
// one without two-factor.
func TestSeedThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	for name, edit := range map[string]func(*ring){
		"another key under the same id": func(r *ring) { r.Keys[0].Key = anotherKey() },
		"the key is missing":            func(r *ring) { r.Keys[0].ID, r.Keys[0].Key = 2, anotherKey() },
	} {
		t.Run(name, func(t *testing.T) {
			s := w.another(w.rekeyed(edit))
			p := alice.again()
			p.Base = s.URL
			p.wantPasses(false, "with a password alone")
			if got := p.status(); got.State != "enabled" || got.Verified {
				t.Errorf("the status is %+v", got)
			}
			challenge := p.Get(prefix + "/challenge")
			for range 7 { // more than may fail: what cannot be judged is no failure
				answer := p.Submit(challenge, "/challenge", map[string]string{"code": p.code()})
				wantStatus(t, answer, http.StatusServiceUnavailable)
				wantUncached(t, answer)
			}
			p.wantPasses(false, "after right codes")

			verified := &person{Browser: alice.For(t), w: w, name: "alice"}
			verified.Base = s.URL
			verified.wantPasses(false, "with a verification that this ring did not make")
		})
	}
	alice.wantPasses(true, "at the sidecar with the right keys")
	p := alice.again()
	p.verify()
}

// A ring of another installation names users by other names. That must not make
// them all look unenrolled.
func TestRingOfAnotherInstallation(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	foreign, err := seal.Generate(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := w.AddSidecar(func(o *server.Options) { o.Keys = foreign })
	w.Eventually("readiness tells", func() bool {
		ready, report := s.Ready()
		return !ready && strings.Contains(report, "another key ring")
	})
	p := alice.again()
	p.Base = s.URL
	w.office.requests()
	answer := p.Fetch(http.MethodGet, "/my", nil)
	if seen := w.office.requests(); len(seen) > 0 || answer.Status == http.StatusOK {
		t.Errorf("an enrolled user with a password alone reached the app: %d, %+v", answer.Status, seen)
	}
	if page := p.Get(prefix); page.State() == "not-configured" {
		t.Error("an enrolled user is offered to enrol anew")
	}
}

// keysOf returns the user's keys in Redis: those that came with do.
func (w *world) keysOf(do func()) []string {
	before := w.Redis.Keys()
	do()
	return slices.DeleteFunc(w.Redis.Keys(), func(key string) bool { return slices.Contains(before, key) })
}

func keyWith(t *testing.T, keys []string, part string) string {
	t.Helper()
	for _, key := range keys {
		if strings.Contains(key, part) {
			return key
		}
	}
	t.Fatalf("no key with %q among %q", part, keys)
	return ""
}

func TestSignInWrittenIntoRedisByHand(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	var alice, mallory *person
	ofAlice := w.keysOf(func() { alice = w.enrolled("alice") })
	ofMallory := w.keysOf(func() { mallory = w.enrolled("mallory") })
	signIn := keyWith(t, ofMallory, "}:s:")
	value, err := w.Redis.Get(signIn)
	if err != nil {
		t.Fatal(err)
	}
	// Mallory knows alice's password and may write to Redis: his own verification
	// is put where hers would be, for the token that his browser holds.
	tag, _, _ := strings.Cut(keyWith(t, ofAlice, "}:u"), "}")
	_, name, _ := strings.Cut(signIn, "}")
	planted := tag + "}" + name
	victim := w.signedIn("alice")
	cookies := "session=" + victim.Cookie("session") + "; sallyport=" + mallory.Cookie("sallyport")
	genuine, err := w.Redis.Get(keyWith(t, ofAlice, "}:s:"))
	if err != nil {
		t.Fatal(err)
	}
	for what, value := range map[string]string{
		"another user's":                value,
		"another token's":               genuine,
		"with another payload":          strings.Replace(value, `"m":"totp"`, `"m":"recovery"`, 1),
		"with another user's MAC":       spliced(t, value, genuine),
		"no JSON":                       "verified",
		"nothing":                       "",
		"JSON of another kind":          `{"verified":true}`,
		"an empty MAC and a fine claim": `{"k":1,"a":"","p":{"g":"x","m":"totp"}}`,
	} {
		if err := w.Redis.Set(planted, value); err != nil {
			t.Fatal(err)
		}
		before := len(audits(t, w.Sidecars[0], "session.forged"))
		if reaches(w, cookies) {
			t.Errorf("a sign-in record that is %s verified alice", what)
		}
		events := audits(t, w.Sidecars[0], "session.forged")
		if len(events) != before+1 || !strings.Contains(planted, events[len(events)-1]["user"].(string)) {
			t.Errorf("%s: the forgery was not told: %v", what, events[before:])
		}
	}
	// The right record at its right place still counts: the table can tell.
	alice.wantPasses(true, "alice herself")
}

// spliced is the first record with the payload of the second.
func spliced(t *testing.T, a, b string) string {
	t.Helper()
	var one, two map[string]json.RawMessage
	if json.Unmarshal([]byte(a), &one) != nil || json.Unmarshal([]byte(b), &two) != nil {
		t.Fatal("a stored sign-in is not JSON")
	}
	one["p"] = two["p"]
	doc, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

// An enrolment of Mallory's in the place of alice's: her seed is bound to her.
func TestEnrolmentsSwappedInRedis(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	var alice, mallory *person
	ofAlice := keyWith(t, w.keysOf(func() { alice = w.enrolled("alice") }), "}:u")
	ofMallory := keyWith(t, w.keysOf(func() { mallory = w.enrolled("mallory") }), "}:u")
	fields := map[string]string{}
	names, err := w.Redis.HKeys(ofMallory)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		fields[name] = w.Redis.HGet(ofMallory, name)
	}
	w.Redis.Del(ofAlice)
	for name := range maps.Keys(fields) {
		w.Redis.HSet(ofAlice, name, fields[name])
	}
	p := &person{Browser: alice.again().Browser, w: w, name: "alice", secret: mallory.secret}
	challenge := p.Visit("/my")
	wantStatus(t, p.Submit(challenge, "/challenge", map[string]string{"code": p.code()}), http.StatusServiceUnavailable)
	wantStatus(t, p.Submit(challenge, "/challenge", map[string]string{"recovery_code": mallory.codes[0]}),
		http.StatusUnprocessableEntity)
	p.wantPasses(false, "with the seed of another user")
}
