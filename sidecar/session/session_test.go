package session_test

import (
	"crypto/rand"
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
		{"an older binding of a rolled cookie", func(q *question) { q.signIn.Follow("new") }, true},
		{"the binding it rolled to", func(q *question) { q.signIn.Follow("new"); q.binding = "new" }, true},
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
			q.signIn.LastSeen = noon.Add(time.Minute)
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
	s := session.SignIn{Bindings: []string{"first"}}
	for b := range strings.FieldsSeq("a b c d e f g h") {
		s.Follow(b)
	}
	if got, want := s.Bindings, strings.Fields("a b c d e f g h"); !cmp.Equal(got, want) {
		t.Errorf("Bindings = %v, want %v", got, want)
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
