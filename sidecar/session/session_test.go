package session_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/seal"
	"github.com/sallyport/sallyport/sidecar/session"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newKeeper(t *testing.T) *session.Keeper {
	t.Helper()
	doc, err := seal.Generate(rand.Reader, noon)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := seal.Parse(doc, "acme/portal")
	if err != nil {
		t.Fatal(err)
	}
	return session.NewKeeper(ring, rand.Reader)
}

func TestCounts(t *testing.T) {
	t.Parallel()
	type question struct {
		signIn     session.SignIn
		limits     session.Limits
		now        time.Time
		generation string
		binding    string
	}
	cases := []struct {
		name   string
		mutate func(*question)
		want   bool
	}{
		{"the sign-in it was earned in", func(*question) {}, true},
		{"an older binding of a rolled cookie", func(q *question) { q.signIn = *q.signIn.Follow("new") }, true},
		{"the binding it rolled to", func(q *question) { q.signIn = *q.signIn.Follow("new"); q.binding = "new" }, true},
		{"another sign-in", func(q *question) { q.binding = "other" }, false},
		{"no binding where one was recorded", func(q *question) { q.binding = "" }, false},
		{"a binding where none was recorded", func(q *question) { q.signIn.Bindings = nil }, false},
		{"a source without ids of sign-ins", func(q *question) { q.signIn.Bindings = nil; q.binding = "" }, true},
		{"another generation", func(q *question) { q.generation = "g2" }, false},
		{"a record without a generation", func(q *question) { q.signIn.Generation = ""; q.generation = "" }, false},
		{"just before the maximum age", func(q *question) { q.now = noon.Add(time.Hour - time.Second) }, true},
		{"at the maximum age", func(q *question) { q.now = noon.Add(time.Hour) }, false},
		{"just before it is idle", func(q *question) { q.limits.Idle = time.Minute; q.now = noon.Add(59 * time.Second) }, true},
		{"idle", func(q *question) { q.limits.Idle = time.Minute; q.now = noon.Add(time.Minute) }, false},
		{"used since", func(q *question) {
			q.limits.Idle = time.Minute
			q.signIn = *q.signIn.Used(noon.Add(time.Minute))
			q.now = noon.Add(90 * time.Second)
		}, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			q := question{
				signIn: session.SignIn{
					Generation: "g1", Method: session.MethodTOTP, VerifiedAt: noon, LastSeen: noon, Bindings: []string{"b1"},
				},
				limits: session.Limits{MaxAge: time.Hour}, now: noon, generation: "g1", binding: "b1",
			}
			c.mutate(&q)
			if got := q.signIn.Counts(q.now, q.limits, q.generation, q.binding); got != c.want {
				t.Errorf("Counts() = %v, want %v", got, c.want)
			}
		})
	}
}

func TestFollowForgetsTheOldestBindings(t *testing.T) {
	t.Parallel()
	s := &session.SignIn{Bindings: []string{"first"}}
	for b := range strings.FieldsSeq("a b c d e f g h") {
		s = s.Follow(b)
	}
	if got, want := s.Bindings, strings.Fields("a b c d e f g h"); !cmp.Equal(got, want) {
		t.Errorf("Bindings = %v, want %v", got, want)
	}
}

// Requests share a sign-in, and each may go its own way from there.
func TestASharedSignInIsNeverChanged(t *testing.T) {
	t.Parallel()
	for _, known := range []int{0, 1, 8} {
		bindings := make([]string, known, 16) // with room, into which nobody may write
		shared := session.SignIn{Generation: "g1", LastSeen: noon, Bindings: bindings}
		one, other := shared.Follow("one"), shared.Follow("other")
		shared.Used(noon.Add(time.Minute))
		if got := one.Bindings[len(one.Bindings)-1]; got != "one" {
			t.Errorf("after %d bindings: what followed one follows %s", known, got)
		}
		if got := other.Bindings[len(other.Bindings)-1]; got != "other" {
			t.Errorf("after %d bindings: what followed the other follows %s", known, got)
		}
		want := session.SignIn{Generation: "g1", LastSeen: noon, Bindings: make([]string, known)}
		if diff := cmp.Diff(want, shared); diff != "" {
			t.Errorf("after %d bindings, what is shared (-before +after):\n%s", known, diff)
		}
		if got := bindings[:known+1][known]; got != "" {
			t.Errorf("after %d bindings: %s was written behind what is shared", known, got)
		}
	}
}

func TestRecordIsAuthenticForOneUserAndOneToken(t *testing.T) {
	t.Parallel()
	keeper := newKeeper(t)
	signIn := session.SignIn{
		Generation: "g1", Method: session.MethodRecovery, VerifiedAt: noon, LastSeen: noon, Bindings: []string{"b1"},
	}
	value, err := keeper.Encode("alice", "key", signIn)
	if err != nil {
		t.Fatal(err)
	}
	got, err := keeper.Decode("alice", "key", value)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&signIn, got); diff != "" {
		t.Errorf("the decoded sign-in differs (-want +got):\n%s", diff)
	}
	tampered := []byte(strings.Replace(string(value), `"recovery"`, `"totp"`, 1))
	forged := []struct {
		name      string
		user, key string
		value     []byte
		keeper    *session.Keeper
	}{
		{"another user", "bob", "key", value, keeper},
		{"another token", "alice", "other", value, keeper},
		{"a changed payload", "alice", "key", tampered, keeper},
		{"other keys", "alice", "key", value, newKeeper(t)},
		{"no JSON", "alice", "key", []byte("verified"), keeper},
		{"nothing", "alice", "key", nil, keeper},
		{"no MAC", "alice", "key", []byte(`{"k":1,"p":{"g":"g1","m":"totp"}}`), keeper},
	}
	for _, c := range forged {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got, err := c.keeper.Decode(c.user, c.key, c.value); err == nil {
				t.Errorf("Decode() = %+v, want an error", got)
			}
		})
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	keeper := newKeeper(t)
	seen := map[string]bool{}
	for range 1000 {
		token, err := keeper.NewToken()
		if err != nil {
			t.Fatal(err)
		}
		if !session.WellFormed(token) || seen[token] {
			t.Fatalf("a token is malformed or repeats")
		}
		seen[token] = true
	}
	token, _ := keeper.NewToken()
	for name, malformed := range map[string]string{
		"truncated": token[:len(token)-1], "extended": token + "A", "padded": token + "=", "empty": "",
		"other alphabet": strings.Repeat("+", len(token)), "trailing bits": strings.Repeat("_", len(token)),
	} {
		if session.WellFormed(malformed) {
			t.Errorf("a %s token is taken for well formed", name)
		}
	}
	if keeper.Key(token) == token || strings.Contains(keeper.Key(token), token) {
		t.Error("the stored name gives the token away")
	}
	if keeper.FormToken(token, "enable") == keeper.FormToken(token, "disable") {
		t.Error("form tokens of two actions are the same")
	}
}

// TestNamesInTheStoreAreFixed fails where a name changes: every verified sign-in of the
// store would be lost.
func TestNamesInTheStoreAreFixed(t *testing.T) {
	t.Parallel()
	keeper := fixedKeeper(t)
	got := []string{
		keeper.Key("token"), keeper.Binding("user", "session=s1"), keeper.Binding("user", ""),
		keeper.Browser("token", "binding"), keeper.FormToken("token", "enable"),
	}
	want := []string{
		"tTLiUwKNdY8aL0irNw2J57bG", "h7Mlh585oCka-32XlEBWhw_3", "", "ikxRkhXQNwZJ7Ab6Yo7dhlNi", "6P9ch_3KpTzy86rqRvI48nO2",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-recorded +now):\n%s", diff)
	}
}

// fixedKeeper has the same keys whenever it is asked for.
func fixedKeeper(t testing.TB) *session.Keeper {
	t.Helper()
	key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	ring, err := seal.Parse([]byte(`{"index":"`+key+`","keys":[{"id":1,"status":"primary","created":"2026-01-02T03:04:05Z","key":"`+
		base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{8}, 32))+`"}]}`), "acme/portal")
	if err != nil {
		t.Fatal(err)
	}
	return session.NewKeeper(ring, rand.Reader)
}

// A record is read only for the user and the token that it was written for, and says
// then what was written: whatever else is in the store.
func FuzzDecode(f *testing.F) {
	keeper := fixedKeeper(f) // the processes of one fuzzing run must agree on the keys
	want := session.SignIn{Generation: "g1", Method: session.MethodTOTP, VerifiedAt: noon, LastSeen: noon, Bindings: []string{"b1"}}
	good, err := keeper.Encode("alice", "key", want)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("alice", "key", good)
	f.Add("alicek", "ey", good)
	f.Add("bob", "key", good)
	f.Add("alice", "key", bytes.Replace(good, []byte("totp"), []byte("recovery"), 1))
	f.Add("alice", "key", append([]byte(`{"p":{},`), good[1:]...))
	f.Add("alice", "key", bytes.Replace(good, []byte(`{"k":1`), []byte(`{"k":1,"K":2`), 1))
	f.Add("alice", "key", []byte(`{"k":1,"a":"","p":{"g":"g1"}}`))
	f.Fuzz(func(t *testing.T, user, name string, value []byte) {
		got, err := keeper.Decode(user, name, value)
		if err != nil {
			if got != nil || user == "alice" && name == "key" && bytes.Equal(value, good) {
				t.Fatalf("Decode() = %+v, %v", got, err)
			}
			return
		}
		if user != "alice" || name != "key" || !cmp.Equal(*got, want) {
			t.Fatalf("%q was read for %q and %q as %+v", value, user, name, got)
		}
	})
}
