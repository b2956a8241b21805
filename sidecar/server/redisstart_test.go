package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/sidecar/server"
	"github.com/sallyport/sallyport/test/stack"
)

// reach runs a sidecar that reaches Redis in its own way.
func (s *scene) reach(o redisstore.Options) *stack.Sidecar {
	s.Helper()
	client, err := redisstore.Dial(o)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = client.Close() })
	return s.AddSidecar(func(options *server.Options) { options.Redis = client })
}

// A sidecar whose Redis is not what it must be from the start lives, says what is
// wrong, and lets nobody pass who is signed in.
func TestFaultsOfRedisAtTheStart(t *testing.T) {
	t.Parallel()
	s := newScene(t, false)
	http200 := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(http200.Close)
	gone := redistest.Server(t)
	gone.Kill()
	secured := redistest.TLS(t, "user default on nopass ~* &* +@all")
	locked := redistest.Server(t, "--requirepass", "right")
	wrong := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(wrong, []byte("wrong-canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	replica := redistest.Replica(t, s.redis)
	empty := redistest.Server(t)
	empty.Do("REPLICAOF", "127.0.0.1", "1")
	for _, tc := range []struct {
		name string
		redisstore.Options
		says string
	}{
		{name: "nobody listens", Options: redisstore.Options{URL: "redis://" + gone.Addr}, says: "connection refused"},
		{name: "no Redis listens", Options: redisstore.Options{URL: "redis://" + http200.Listener.Addr().String()}, says: "Redis cannot be used"},
		{name: "a wrong password", Options: redisstore.Options{URL: "redis://" + locked.Addr, PasswordFile: wrong}, says: "WRONGPASS"},
		{name: "no password", Options: redisstore.Options{URL: "redis://" + locked.Addr}, says: "NOAUTH"},
		// Never in the clear where TLS is asked for: it is the real Redis, with the data.
		{name: "TLS is expected, plain is offered", Options: redisstore.Options{URL: "rediss://" + s.redis.Addr}, says: "Redis cannot be used"},
		{name: "plain is expected, TLS is offered", Options: redisstore.Options{URL: "redis://" + secured.Addr}, says: "Redis cannot be used"},
		{
			name:    "a certificate of another authority",
			Options: redisstore.Options{URL: "rediss://" + secured.Addr, CAFile: secured.OtherCAFile}, says: "unknown authority",
		},
		// Of an empty one no epoch can be made; of one with data it cannot be told
		// whether an epoch that nobody expects is the right one.
		{name: "an empty replica", Options: redisstore.Options{URL: "redis://" + empty.Addr}, says: "READONLY"},
		{name: "a replica", Options: redisstore.Options{URL: "redis://" + replica.Addr}, says: "READONLY"},
	} {
		s.move(s.reach(tc.Options))
		s.want(tc.name, turnedAway, turnedAway, turnedAway)
		s.unready(tc.says)
		if log := s.Sidecars[0].Log.String(); strings.Contains(log, "canary") {
			t.Errorf("%s: the log tells the password:\n%s", tc.name, log)
		}
		s.Sidecars[0].Stop(t)
	}
	// The control: the same people, at the same Redis, by a way that is right.
	s.move(s.reach(redisstore.Options{URL: "redis://" + s.redis.Addr}))
	s.unready("")
	s.want("with the right one", passing, challenged, passing)
}

// A password that is changed ends what it opened; the new one is taken from its file
// without a restart.
func TestPasswordOfRedisIsChanged(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t, "--requirepass", "first")
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("not-yet-the-first")
	s := &scene{T: t, redis: redis, world: prepareOffice(t, stack.Options{RedisURL: "redis://" + redis.Addr})}
	s.reach(redisstore.Options{URL: "redis://" + redis.Addr, PasswordFile: file})
	s.verified, s.late, s.free = s.signedIn("alice"), s.signedIn("alice"), s.signedIn("bob")
	s.want("with another password", turnedAway, turnedAway, turnedAway)
	s.unready("WRONGPASS")
	write("first")
	s.unready("")
	s.verified.enrol()
	s.late.secret, s.late.codes = s.verified.secret, s.verified.codes
	s.want("with the right one", passing, challenged, passing)

	admin := redis.Client().Conn()
	defer admin.Close()
	for _, args := range [][]any{
		{"AUTH", "first"}, {"CONFIG", "SET", "requirepass", "second"}, {"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"},
	} {
		if err := admin.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	s.want("after the change", turnedAway, turnedAway, turnedAway)
	s.unready("WRONGPASS")
	write("second")
	s.unready("")
	s.want("with the new one", passing, challenged, passing)
	wantLocation(t, s.late.try("code", s.late.code()), "/")
	if log := s.Sidecars[0].Log.String(); strings.Contains(log, "first") || strings.Contains(log, "second\"") {
		t.Errorf("the log tells a password:\n%s", log)
	}
}
