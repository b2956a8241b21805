package server_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/test/stack"
)

// How long a verification counts, and how long an answer is remembered.

// session replaces the bounds of a verification.
func session(bounds map[string]any) stack.Policy {
	return stack.Policy{Spec: map[string]any{"session": bounds}}
}

func TestVerificationEndsWithAge(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		policy stack.Policy
		age    time.Duration
	}{
		{"by default", stack.Policy{}, 24 * time.Hour},
		{"as the policy says", session(map[string]any{"maxAge": "1h"}), time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := startOffice(t, stack.Options{Policy: tc.policy})
			alice := w.enrolled("alice")
			for range 4 { // using it does not prolong it
				w.clock.Advance(tc.age/4 - 10*time.Second)
				alice.wantPasses(true, "before")
			}
			w.clock.Advance(time.Minute)
			alice.wantPasses(false, "after")
			alice.verify()
			alice.wantPasses(true, "with another code")
		})
	}
}

func TestUnusedVerificationEnds(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: session(map[string]any{"idle": "10m"})})
	alice := w.enrolled("alice")
	for range 3 { // using it prolongs it
		w.clock.Advance(9 * time.Minute)
		alice.wantPasses(true, "in use")
	}
	w.clock.Advance(10*time.Minute + time.Second)
	alice.wantPasses(false, "unused for too long")
}

// Redis forgets a verification by itself, too.
func TestVerificationExpiresInRedis(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: session(map[string]any{"maxAge": "1h"})})
	alice := w.enrolled("alice")
	w.Redis.FastForward(59 * time.Minute)
	alice.wantPasses(true, "before")
	w.Redis.FastForward(2 * time.Minute)
	w.clock.Advance(time.Second) // what it said before counts for so long
	alice.wantPasses(false, "after")
}

// Regenerating the codes asks for a code first when the last one is long ago, and
// what comes back from there can regenerate.
func TestRegeneratingAsksForARecentCode(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	w.clock.Advance(15 * time.Minute)
	asked := alice.Submit(alice.Get(prefix), "/recovery-codes", nil)
	wantLocation(t, asked, prefix+"/challenge?"+url.Values{"return_to": {prefix}}.Encode())
	page := alice.Follow(asked)
	wantStatus(t, page, http.StatusOK)
	if page.Doc.Find(`[data-testid="challenge-card"]`).Length() == 0 {
		t.Fatalf("no challenge:\n%s", page.Body)
	}
	if left := alice.status().RecoveryCodesRemaining; left != 8 {
		t.Errorf("%d recovery codes are left", left)
	}
	alice.wantPasses(true, "the app is open all the while")
	back := alice.Submit(page, "/challenge", map[string]string{"code": alice.code()})
	wantLocation(t, back, prefix)
	fresh := alice.Submit(alice.Follow(back), "/recovery-codes", nil)
	wantStatus(t, fresh, http.StatusOK)
	wantCodes(t, fresh)
}

// remembering is the office's policy with answers kept for as long as may be.
func remembering() stack.Policy {
	return stack.Policy{Spec: map[string]any{"identity": map[string]any{"type": "Endpoint", "endpoint": map[string]any{
		"path": whoami, "cookies": []string{"session"}, "account": "/name",
	}}}}
}

// Who is nobody is never remembered as such: the first request after a sign-in
// meets the challenge, though the app keeps the session's id.
func TestNobodyIsNotRemembered(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: remembering()})
	w.enrolled("alice")
	for range 3 {
		wantStatus(t, send(t, w.URL(), "GET", "/my", "Cookie: session=kept"), http.StatusOK)
	}
	w.office.adopt("kept", "alice")
	wantStatus(t, send(t, w.URL(), "GET", "/my", "Cookie: session=kept"), http.StatusUnauthorized)
	w.office.adopt("kept", "bob") // the app hands the session to another user: at most 5 s
	w.clock.Advance(5 * time.Second)
	wantStatus(t, send(t, w.URL(), "GET", "/my", "Cookie: session=kept"), http.StatusOK)
}

func TestSignOutIsNotOutlivedByWhatIsRemembered(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: remembering()})
	alice := w.enrolled("alice")
	alice.wantPasses(true, "before")
	cookies := alice.credentials()
	alice.SignOut()
	if hit := w.one("GET", "/my", cookies); hit.User != "" || hit.Header.Get("X-Sallyport-Verified") != "false" {
		t.Errorf("after signing out the app saw %+v", hit)
	}
}

// Two-factor of one realm is nothing to another on the same Redis.
func TestRealmsOnOneRedisAreApart(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	url := "redis://" + redis.Addr
	one := startOffice(t, stack.Options{RedisURL: url})
	alice := one.enrolled("alice")
	two := startOffice(t, stack.Options{RedisURL: url, Policy: stack.Policy{Spec: map[string]any{"workspace": "other"}}})
	two.office.adopt(alice.Cookie("session"), "alice")
	other := alice.at(two.Sidecars[0])
	other.w = two
	if got := other.status(); got.State != "not-configured" || got.Verified {
		t.Errorf("in the other realm: %+v", got)
	}
	alice.wantPasses(true, "in her own")
}
