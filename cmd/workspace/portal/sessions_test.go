package portal_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/cmd/workspace/portal"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
)

// kept is a store of sessions whose time passes at a word.
type kept struct {
	portal.Sessions
	advance func(time.Duration)
}

// stores are the ways to keep sessions. What one does, all do.
func stores() map[string]func(*testing.T) kept {
	return map[string]func(*testing.T) kept{
		"memory": func(*testing.T) kept {
			clock := &fakeClock{now: start}
			return kept{portal.NewMemorySessions(clock.Now), clock.advance}
		},
		"redis": func(t *testing.T) kept {
			node := redistest.Server(t)
			return kept{redisSessions(t, node), func(d time.Duration) { age(t, node, d) }}
		},
	}
}

// redisSessions returns what one replica has of the sessions in database 1.
func redisSessions(t *testing.T, node *redistest.Node) *portal.RedisSessions {
	t.Helper()
	sessions, err := portal.NewRedisSessions("redis://" + node.Addr + "/1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sessions.Close() })
	return sessions
}

// age takes time off what every session still has, as if that had passed.
func age(t *testing.T, node *redistest.Node, by time.Duration) {
	t.Helper()
	node.Do("EVAL", `redis.call('SELECT', 1)
		for _, key in ipairs(redis.call('KEYS', '*')) do
			redis.call('PEXPIRE', key, redis.call('PTTL', key) - ARGV[1])
		end
		return 'OK'`, 0, by.Milliseconds())
}

func TestSessions(t *testing.T) {
	one, other := strings.Repeat("1", 43), strings.Repeat("2", 43)
	tests := map[string]struct {
		do   func(*testing.T, kept)
		find string
		want string
	}{
		"nobody has signed in":            {func(*testing.T, kept) {}, one, ""},
		"an id that no cookie has":        {func(*testing.T, kept) {}, "", ""},
		"started":                         {func(*testing.T, kept) {}, other, "u-2"},
		"just before the end of its time": {func(_ *testing.T, s kept) { s.advance(12*time.Hour - time.Minute) }, other, "u-2"},
		"at the end of its time":          {func(_ *testing.T, s kept) { s.advance(12 * time.Hour) }, other, ""},
		"used, which makes it live no longer": {func(t *testing.T, s kept) {
			s.advance(6 * time.Hour)
			find(t, s, other)
			s.advance(6 * time.Hour)
		}, other, ""},
		"ended":                     {func(t *testing.T, s kept) { end(t, s, other) }, other, ""},
		"ended among others":        {func(t *testing.T, s kept) { end(t, s, "x", other) }, other, ""},
		"ended twice":               {func(t *testing.T, s kept) { end(t, s, other); end(t, s, other) }, other, ""},
		"ended where none was":      {func(t *testing.T, s kept) { end(t, s) }, other, "u-2"},
		"another one was ended":     {func(t *testing.T, s kept) { begin(t, s, one, "u-1"); end(t, s, one) }, other, "u-2"},
		"another one was started":   {func(t *testing.T, s kept) { begin(t, s, one, "u-1") }, other, "u-2"},
		"another one of that user":  {func(t *testing.T, s kept) { begin(t, s, one, "u-2"); end(t, s, other) }, one, "u-2"},
		"started when one was over": {func(t *testing.T, s kept) { s.advance(12 * time.Hour); begin(t, s, one, "u-1") }, one, "u-1"},
	}
	for kind, open := range stores() {
		t.Run(kind, func(t *testing.T) {
			for name, tc := range tests {
				t.Run(name, func(t *testing.T) {
					s := open(t)
					begin(t, s, other, "u-2")
					tc.do(t, s)
					if got := find(t, s, tc.find); got != tc.want {
						t.Errorf("the session is of %q, want %q", got, tc.want)
					}
				})
			}
		})
	}
}

func begin(t *testing.T, s portal.Sessions, id, userID string) {
	t.Helper()
	if err := s.Start(t.Context(), id, userID); err != nil {
		t.Fatal(err)
	}
}

func find(t *testing.T, s portal.Sessions, id string) string {
	t.Helper()
	userID, err := s.Find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return userID
}

func end(t *testing.T, s portal.Sessions, ids ...string) {
	t.Helper()
	if err := s.End(t.Context(), ids...); err != nil {
		t.Fatal(err)
	}
}
