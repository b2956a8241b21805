package portal_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sallyport/sallyport/cmd/workspace/portal"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
)

// replica starts a portal whose sessions lie in the node.
func replica(t *testing.T, node *redistest.Node) *site {
	t.Helper()
	return newSite(t, func(c *portal.Config) { c.Sessions = redisSessions(t, node) })
}

// at is the same browser, sent to another replica by the proxy in between.
func (b *browser) at(s *site) *browser { return &browser{t: b.t, site: s, http: b.http} }

func TestReplicasShareSignIns(t *testing.T) {
	node := redistest.Server(t)
	one, other := replica(t, node), replica(t, node)

	b := one.browser(t)
	form := b.form("/login", "alice", "alice-demo") // cookies know no port: the jar shows it to both
	b.at(other).post("/login", form).wantRedirect(t, "/my")
	b.get("/my").wantStatus(t, http.StatusOK)
	b.at(other).get("/api/me").wantStatus(t, http.StatusOK)

	id := b.cookie()
	b.post("/logout", nil).wantRedirect(t, "/login")
	for _, s := range []*site{one, other, replica(t, node)} {
		s.browser(t).do(http.MethodGet, "/api/me", "", "Cookie", "session="+id).wantStatus(t, http.StatusUnauthorized)
	}
}

func TestSignInsOutliveReplicas(t *testing.T) {
	node := redistest.Server(t)
	first := replica(t, node)
	b := first.as(t, "alice")
	first.Close()
	b.at(replica(t, node)).get("/api/me").wantStatus(t, http.StatusOK)
}

func TestStreamsEndWithASignOutAtAnotherReplica(t *testing.T) {
	node := redistest.Server(t)
	one, other := replica(t, node), replica(t, node)
	b := one.as(t, "alice")
	chat := b.chat()
	_, clock := b.events()

	b.at(other).post("/logout", nil).wantRedirect(t, "/login")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // about one second, on a busy machine
	defer cancel()
	_, _, err := chat.Read(ctx)
	if got := websocket.CloseStatus(err); got != websocket.StatusPolicyViolation {
		t.Errorf("the chat closed with %v (%v)", got, err)
	}
	if _, err := io.Copy(io.Discard, clock); err != nil {
		t.Errorf("the clock broke off: %v", err)
	}
}

func TestRedisHoldsNoCookies(t *testing.T) {
	node := redistest.Server(t)
	b := replica(t, node).as(t, "alice")
	found := node.Do("EVAL", `redis.call('SELECT', 1)
		local key = redis.call('KEYS', '*')
		return {#key, key[1], redis.call('GET', key[1]), redis.call('TTL', key[1])}`, 0).([]any)
	if found[0] != int64(1) || found[2] != "u-1001" {
		t.Errorf("there is %v, want one key with the id of the user", found)
	}
	if ttl := found[3].(int64); ttl <= 11*3600 || ttl > 12*3600 {
		t.Errorf("it expires in %d s, want 12 hours", ttl)
	}
	sum := sha256.Sum256([]byte(b.cookie()))
	if want := "workspace:session:" + base64.RawURLEncoding.EncodeToString(sum[:]); found[1] != want {
		t.Errorf("the key is %v, want the digest of the cookie: %s", found[1], want)
	}
}

// Whoever asks who is signed in must not hear "nobody" because Redis is out.
func TestNobodyIsSignedOutByAStoreThatDoesNotAnswer(t *testing.T) {
	every := [][2]string{
		{"GET", "/api/me"},
		{"GET", "/my"},
		{"POST", "/logout"},
		{"GET", "/admin"},
		{"GET", "/"},
		{"GET", "/login"},
		{"GET", "/nowhere"},
		{"GET", "/events/clock"},
		{"GET", "/ws/echo-chat"},
		{"PROPFIND", "/dav"},
	}
	for name, tc := range map[string]struct {
		outage func(*redistest.Node)
		ask    [][2]string
	}{
		"gone":   {(*redistest.Node).Kill, every},
		"silent": {(*redistest.Node).Freeze, every[:3]}, // every answer takes its two seconds
	} {
		t.Run(name, func(t *testing.T) {
			node := redistest.Server(t)
			s := replica(t, node)
			b := s.as(t, "alice")
			id := b.cookie()
			tc.outage(node)
			for _, asked := range tc.ask {
				began := time.Now()
				got := b.do(asked[0], asked[1], "")
				if got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.body, "cannot look up who is signed in") {
					t.Errorf("%v answered %d: %s", asked, got.StatusCode, got.body)
				}
				if header := fmt.Sprint(got.Header); strings.Contains(header, "Location") || strings.Contains(header, "Set-Cookie") {
					t.Errorf("%v answered with %s", asked, header)
				}
				if took := time.Since(began); took > 8*time.Second { // two seconds, on a busy machine
					t.Errorf("%v took %v", asked, took)
				}
			}
			b.postJSON("/api/login", `{"username":"alice","password":"alice-demo"}`).wantStatus(t, http.StatusServiceUnavailable)
			s.browser(t).get("/login").wantStatus(t, http.StatusOK) // what a probe asks needs no session
			s.browser(t).get("/healthz").wantStatus(t, http.StatusOK)
			if b.cookie() != id {
				t.Error("the browser lost its cookie")
			}
			if strings.Contains(s.log.String(), id) {
				t.Error("the log has the session's id")
			}
		})
	}
}

func TestStreamsEndWhereTheStoreDoesNotAnswer(t *testing.T) {
	node := redistest.Server(t)
	b := replica(t, node).as(t, "alice")
	chat := b.chat()
	_, clock := b.events()
	node.Kill()
	_, _, err := chat.Read(t.Context())
	if got := websocket.CloseStatus(err); got != websocket.StatusTryAgainLater {
		t.Errorf("the chat closed with %v (%v)", got, err)
	}
	if _, err := io.Copy(io.Discard, clock); err != nil {
		t.Errorf("the clock broke off: %v", err)
	}
}

func TestRedisURLsThatAreNone(t *testing.T) {
	for name, url := range map[string]string{
		"nothing":         "",
		"another scheme":  "https://u:hunter2@redis.example/1",
		"no database":     "redis://u:hunter2@redis.example/hunter2",
		"unknown options": "redis://u:hunter2@redis.example/1?hunter2=1",
		"no port":         "redis://u@redis.example:hunter2/1",
		"badly escaped":   "redis://u:%hunter2@redis.example/1",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := portal.NewRedisSessions(url)
			if err == nil || !strings.Contains(err.Error(), "redis://") {
				t.Fatalf("the error is %v, want one that shows what is expected", err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}
