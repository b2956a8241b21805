package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/test/stack"
)

// complaints counts the log's lines at WARN and above that have a text.
func complaints(s *stack.Sidecar, text string) (n int) {
	for line := range strings.Lines(s.Log.String()) {
		if strings.Contains(line, text) && (strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, `"level":"WARN"`)) {
			n++
		}
	}
	return n
}

// While something is away every request meets it: a line at the first, one each
// minute with their number, and one once nobody meets it any more.
func TestOutageIsLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	idle := stack.Policy{Spec: map[string]any{"session": map[string]any{"idle": "1h"}}}
	visit := func(p *person) { p.Get("/my") }
	for _, tc := range []struct {
		name, says string
		// away makes it so; ask meets it.
		away func(*world, *redistest.Node)
		ask  func(*person)
	}{
		{
			name: "Redis is away", says: "Could not read the state of the second factor", ask: visit,
			away: func(_ *world, redis *redistest.Node) { redis.Kill() },
		},
		{
			name: "a use cannot be noted", says: "Could not update a verified sign-in", ask: visit,
			away: func(w *world, redis *redistest.Node) {
				w.clock.Advance(2 * time.Minute) // each request would note it now
				redis.Do("CONFIG", "SET", "min-replicas-to-write", "1")
			},
		},
		{
			name: "a page cannot be served", says: "Could not serve a two-factor page",
			away: func(_ *world, redis *redistest.Node) { redis.Do("CONFIG", "SET", "min-replicas-to-write", "1") },
			ask: func(p *person) {
				p.Submit(p.Get(prefix), "/disable", map[string]string{"password": "alice-demo"})
			},
		},
		{
			name: "the identity source fails", says: "Could not establish who is signed in", ask: visit,
			away: func(w *world, _ *redistest.Node) { w.office.behave(aborts(true)) },
		},
		{
			name: "the app fails", says: "Could not reach the app", ask: visit,
			away: func(w *world, _ *redistest.Node) { w.office.behave(aborts(false)) },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Server(t)
			w := startOffice(t, stack.Options{RedisURL: "redis://" + redis.Addr, Policy: idle})
			alice, s := w.enrolled("alice"), w.Sidecars[0]
			w.clock.Stop(w.clock.Now())
			tc.away(w, redis)
			met := func(n int) bool { return complaints(s, `"msg":"`+tc.says+`"`) == n }
			for range 25 {
				tc.ask(alice)
			}
			if !met(1) {
				t.Errorf("the first 25 requests wrote not one line:\n%s", s.Log)
			}
			w.clock.Advance(61 * time.Second)
			w.Eventually("the other 24 are counted in one line", func() bool {
				return met(2) && strings.Contains(s.Log.String(), `"requests":24}`)
			})
			w.clock.Advance(61 * time.Second)
			w.Eventually("the end is told", func() bool {
				return strings.Contains(s.Log.String(), `"msg":"No request has met this for a minute","what":"`+tc.says+`"`)
			})
			tc.ask(alice)
			if !met(3) {
				t.Errorf("what begins anew wrote not one line:\n%s", s.Log)
			}
		})
	}
}

// aborts breaks connections off: those of questions who is signed in, or the others.
func aborts(questions bool) func(http.ResponseWriter, *http.Request) bool {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		if (r.URL.Path == whoami) == questions {
			panic(http.ErrAbortHandler)
		}
		return false
	}
}
