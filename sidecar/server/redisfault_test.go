package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/test/stack"
)

// standing is what a request of somebody meets: a status and, of a refusal, the code.
type standing struct {
	status int
	code   string
}

var (
	passing    = standing{http.StatusOK, ""}
	challenged = standing{http.StatusUnauthorized, "mfa_challenge_required"}
	turnedAway = standing{http.StatusServiceUnavailable, "mfa_unavailable"}
	storeLost  = standing{http.StatusServiceUnavailable, "mfa_store_lost"}
)

// refusalIn is how long what is known of a user may stand in for Redis.
const refusalIn = 2 * time.Second

func (p *person) meets(method, path string) standing {
	answer := p.Fetch(method, path, nil)
	got := standing{status: answer.Status}
	if strings.HasPrefix(answer.Header.Get("Content-Type"), "application/problem+json") {
		var doc problem
		if err := json.Unmarshal([]byte(answer.Body), &doc); err == nil {
			got.code = doc.Code
		}
	}
	return got
}

// scene is the product on a real Redis that keeps what it has, and one person of
// each kind in front of it.
type scene struct {
	*world
	*testing.T

	redis *redistest.Node
	link  *link
	// verified has passed the challenge, late has only given the password, free has
	// no two-factor.
	verified, late, free *person
}

func newScene(t *testing.T, impatient bool) *scene {
	t.Helper()
	redis := redistest.Server(t, "--appendonly", "yes", "--appendfsync", "always", "--dir", t.TempDir())
	s := &scene{T: t, redis: redis, link: newLink(t, redis.Addr)}
	s.world = startOffice(t, stack.Options{RedisURL: "redis://" + s.link.addr, Impatient: impatient})
	s.verified, s.free = s.enrolled("alice"), s.signedIn("bob")
	s.late = s.verified.again()
	return s
}

// move sends everybody to another sidecar.
func (s *scene) move(to *stack.Sidecar) {
	for _, p := range []*person{s.verified, s.late, s.free} {
		p.Base = to.URL
	}
	s.Sidecars = []*stack.Sidecar{to}
}

// want proves what everybody meets, and that of those who are turned away nothing
// reaches the app; who is nobody, exempt paths and liveness know no fault of Redis.
func (s *scene) want(when string, verified, late, free standing) {
	s.Helper()
	wants := map[*person]standing{s.verified: verified, s.late: late, s.free: free}
	s.each(wants, func(p *person, want standing) {
		deadline := time.Now().Add(refusalIn)
		for p.meets(http.MethodGet, "/api/tasks") != want && time.Now().Before(deadline) {
			time.Sleep(20 * time.Millisecond)
		}
	})
	s.office.requests()
	s.each(wants, func(p *person, want standing) {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			if got := p.meets(method, "/api/"+p.name+"/tasks"); got != want {
				s.Errorf("%s, %s of %s (verified: %t) meets %v, want %v", when, method, p.name, p == s.verified, got, want)
			}
		}
		page := p.Get("/my")
		switch {
		case want == challenged && page.Status == http.StatusSeeOther && strings.HasPrefix(page.Location(), prefix+"/challenge"):
		case page.Status != want.status:
			s.Errorf("%s, the page of %s is %d, want %v", when, p.name, page.Status, want)
		case want != passing:
			wantUncached(s, page)
		}
	})
	reached := map[string]int{}
	for _, hit := range s.office.requests() {
		reached[hit.User]++
	}
	for p, want := range map[string]int{"alice": 0, "bob": 0} {
		if p == "alice" && verified == passing || p == "bob" && free == passing {
			want = 4
		}
		if reached[p] != want {
			s.Errorf("%s, %d requests of %s reached the app, want %d", when, reached[p], p, want)
		}
	}
	nobody := s.visitor("nobody")
	wantStatus(s, nobody.Get("/news"), http.StatusOK)
	wantStatus(s, s.verified.Get("/healthz"), http.StatusOK)
	for _, hit := range s.office.requests() {
		if hit.User != "" {
			s.Errorf("%s, an exempt path is served to %s", when, hit.User)
		}
	}
	if response, body := ask(s.T, s.Sidecars[0], http.MethodGet, "/healthz"); response.StatusCode != http.StatusOK {
		s.Errorf("%s, the sidecar does not live: %d %s", when, response.StatusCode, body)
	}
}

func (s *scene) each(wants map[*person]standing, f func(*person, standing)) {
	var all sync.WaitGroup
	for p, want := range wants {
		all.Go(func() { f(p, want) })
	}
	all.Wait()
}

// unready waits for what readiness says of the store, "" for that all is well.
func (s *scene) unready(says string) {
	s.Helper()
	s.Eventually("readiness says: "+says, func() bool {
		ready, report := s.Sidecars[0].Ready()
		return ready == (says == "") && strings.Contains(report, says)
	})
}

// changeNothing proves that no code counts, none is accepted, nobody enrols and
// nobody stops being enrolled. It returns the code that was not accepted.
func (s *scene) changeNothing(challenge, card, form *stack.Page) (code string) {
	s.Helper()
	code = s.late.code()
	for _, field := range []map[string]string{
		{"code": code}, {"code": s.late.wrongCode()}, {"recovery_code": s.verified.codes[0]},
	} {
		got := s.late.Submit(challenge, "/challenge", field)
		wantStatus(s, got, http.StatusServiceUnavailable)
		if len(got.Header.Values("Set-Cookie")) > 0 {
			s.Errorf("a refused code sets %q", got.Header.Values("Set-Cookie"))
		}
	}
	wantStatus(s, s.verified.Submit(card, "/disable", map[string]string{"password": "alice-demo"}), http.StatusServiceUnavailable)
	enable := s.free.Submit(form, "/enable", nil)
	wantStatus(s, enable, http.StatusServiceUnavailable)
	if enable.Secret() != "" {
		s.Error("a secret that cannot be kept is shown")
	}
	return code
}

// The rows of what fails closed and what goes on while Redis does not do as it must,
// and that nothing is lost that was acknowledged before.
func TestFaultsOfRedis(t *testing.T) {
	t.Parallel()
	config := func(name, value string) func(*scene) {
		return func(s *scene) { s.redis.Do("CONFIG", "SET", name, value) }
	}
	mode := func(m linkMode) func(*scene) { return func(s *scene) { s.link.set(m) } }
	for _, tc := range []struct {
		name                 string
		begin, end           func(*scene)
		verified, late, free standing
		// says is in readiness, "" where the sidecar stays ready.
		says string
		// reads: who passes, passes; only changes fail.
		reads, impatient bool
	}{
		{
			name: "killed and started again", begin: func(s *scene) { s.redis.Kill() }, end: func(s *scene) { s.redis.Restart() },
			verified: turnedAway, late: turnedAway, free: turnedAway, says: "Redis cannot be used",
		},
		{
			name: "hangs", begin: func(s *scene) { s.redis.Freeze() }, end: func(s *scene) { s.redis.Thaw() }, impatient: true,
			verified: turnedAway, late: turnedAway, free: turnedAway, says: "Redis cannot be used",
		},
		{
			name: "out of reach", begin: mode(linkMode{cut: true}), end: mode(linkMode{}),
			verified: turnedAway, late: turnedAway, free: turnedAway, says: "Redis cannot be used",
		},
		{
			name: "half a second slow", begin: mode(linkMode{delay: 500 * time.Millisecond}), end: mode(linkMode{}), impatient: true,
			verified: turnedAway, late: turnedAway, free: turnedAway, says: "Redis cannot be used",
		},
		{
			name: "a little slow", begin: mode(linkMode{delay: 50 * time.Millisecond}), end: mode(linkMode{}),
			verified: passing, late: challenged, free: passing,
		},
		{
			name:  "a primary that became a replica",
			begin: func(s *scene) { s.redis.Do("REPLICAOF", "127.0.0.1", "1") },
			end:   func(s *scene) { s.redis.Do("REPLICAOF", "NO", "ONE") },
			// It has the data, and they may be read.
			verified: passing, late: challenged, free: passing, says: "redis takes no changes: READONLY", reads: true,
		},
		{
			name:  "a primary without its replicas",
			begin: config("min-replicas-to-write", "1"), end: config("min-replicas-to-write", "0"),
			verified: passing, late: challenged, free: passing, says: "redis takes no changes: NOREPLICAS", reads: true,
		},
		{
			name:  "full, with noeviction",
			begin: config("maxmemory", "1"), end: config("maxmemory", "0"),
			verified: passing, late: challenged, free: passing, says: "redis takes no changes: OOM", reads: true,
		},
		{
			// What is there is true; it is the sidecar that must not be relied upon.
			name:  "a policy that evicts",
			begin: config("maxmemory-policy", "allkeys-lru"), end: config("maxmemory-policy", "noeviction"),
			verified: passing, late: challenged, free: passing, says: "redis may evict keys",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, tc.impatient)
			for range 4 {
				wantStatus(t, s.late.try("code", s.late.wrongCode()), http.StatusUnprocessableEntity)
			}
			challenge, card, form := s.late.Visit("/my"), s.verified.Get(prefix), s.free.Get(prefix)
			s.want("before", passing, challenged, passing)

			tc.begin(s)
			s.want("meanwhile", tc.verified, tc.late, tc.free)
			s.unready(tc.says)
			unaccepted := ""
			if tc.reads {
				unaccepted = s.changeNothing(challenge, card, form)
			}
			s.want("later", tc.verified, tc.late, tc.free)
			tc.end(s)

			s.unready("")
			s.Eventually("requests pass again", func() bool { return s.verified.meets(http.MethodGet, "/my") == passing })
			s.want("afterwards", passing, challenged, passing)
			s.nothingIsLost(unaccepted)
		})
	}
}

// nothingIsLost proves that the four wrong codes of before count still, that all
// recovery codes are left, and that a code that was not accepted is good, once.
func (s *scene) nothingIsLost(unaccepted string) {
	s.Helper()
	if got := s.verified.status(); got.State != "enabled" || !got.Verified || got.RecoveryCodesRemaining != 8 {
		s.Errorf("afterwards alice is %+v", got)
	}
	code := unaccepted
	if code == "" {
		code = s.late.code()
	}
	wantStatus(s, s.late.try("code", s.late.wrongCode()), http.StatusUnprocessableEntity)
	wantWait(s.T, s.late.try("code", code))
	s.late.wantPasses(false, "after five wrong codes")
	wantLocation(s, s.late.try("recovery_code", s.verified.codes[0]), "/")
	wantLocation(s, s.late.again().try("code", code), "/")
	wantStatus(s, s.late.again().try("code", code), http.StatusUnprocessableEntity)
	s.free.enrol()
}

// Whatever answers in Redis's place, nobody passes by it, and nobody is sent to the
// enrolment pages; nor by an answer of Redis's that was meant for somebody else.
func TestAnswersThatAreNotRedis(t *testing.T) {
	t.Parallel()
	s := newScene(t, true)
	s.link.set(linkMode{keep: asksForUser})
	wantStatus(t, s.free.Get("/my"), http.StatusOK)
	s.link.mu.Lock()
	unenrolled := s.link.overheard
	s.link.mu.Unlock()
	if len(unenrolled) == 0 {
		t.Fatal("the answer about somebody without two-factor was not overheard")
	}
	for name, answer := range map[string]func([]byte) []byte{
		"an HTTP server":        always("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
		"OK to everything":      always("+OK\r\n"),
		"nil to everything":     always("$-1\r\n"),
		"nothing in everything": always("*0\r\n"),
		"a null":                always("_\r\n"),
		"a number":              always(":1\r\n"),
		"an odd error":          always("-ERR what\r\n"),
		"bytes of no protocol":  always("\x00\xff\x16\x03\x01 what\r\n\r\n"),
		"an unending line":      always("+" + strings.Repeat("x", 60<<10)),
		"half an answer":        always("*2\r\n*0\r\n"),
		"an empty record":       always("*2\r\n*0\r\n$-1\r\n$-1\r\n"),
	} {
		s.link.set(linkMode{answer: answer})
		s.want(name, turnedAway, turnedAway, turnedAway)
		s.unready("Redis cannot be used")
		s.link.set(linkMode{})
		s.unready("")
	}
	// The same bytes that let bob pass, for alice's questions.
	s.link.set(linkMode{answer: func(request []byte) []byte {
		if !asksForUser(request) {
			return nil
		}
		return unenrolled
	}})
	for _, p := range []*person{s.verified, s.late} {
		s.Eventually("an answer about bob is none about alice", func() bool {
			return p.meets(http.MethodGet, "/my") == turnedAway
		})
	}
	s.want("an answer about bob", turnedAway, turnedAway, passing)
	s.link.set(linkMode{})
	s.want("afterwards", passing, challenged, passing)
}

func always(answer string) func([]byte) []byte { return func([]byte) []byte { return []byte(answer) } }

// A Redis that is lost stays lost for everybody until the data are back.
func TestFlushedRedis(t *testing.T) {
	t.Parallel()
	s := newScene(t, false)
	const epochKey = "sallyport:{acme/portal}:epoch"
	keep := map[string]any{}
	for _, key := range s.redis.Do("KEYS", "*").([]any) {
		keep[fmt.Sprint(key)] = s.redis.Do("DUMP", key)
	}
	s.redis.Do("FLUSHALL")
	s.want("flushed", storeLost, storeLost, storeLost)
	s.unready("not the one that held the enrolments")
	s.redis.Do("SET", epochKey, "of-another-store")
	s.want("with another epoch", storeLost, storeLost, storeLost)
	s.redis.Do("DEL", epochKey)
	for key, value := range keep {
		s.redis.Do("RESTORE", key, 0, value, "REPLACE")
	}
	s.unready("")
	s.want("restored", passing, challenged, passing)
	wantLocation(t, s.late.try("code", s.late.code()), "/")
}
