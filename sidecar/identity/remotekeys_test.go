package identity_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/identity"
)

// keyServer is a key server behind a transport of its own.
type keyServer struct {
	mu      sync.Mutex
	answers roundTrip
	fetches int
}

func (s *keyServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.fetches++
	answers := s.answers
	s.mu.Unlock()
	return answers(r)
}

func (s *keyServer) set(answers roundTrip) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = answers
}

func (s *keyServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches
}

func serving(document string) roundTrip {
	return func(*http.Request) (*http.Response, error) { return response(http.StatusOK, document), nil }
}

func newRemoteJWT(t *testing.T, s *keyServer, now func() time.Time, observer identity.Observer) *identity.JWT {
	t.Helper()
	source, err := identity.NewJWT(
		jwtConfig(func(cfg *policy.JWTIdentity) { cfg.JWKS.URL = "https://idp.example/keys" }),
		identity.JWTOptions{Clock: now, Transport: s, Observer: observer},
	)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func kindOf(ctx context.Context, source identity.Source, token string) identity.Identity {
	id := source.Identify(ctx, request("Authorization", "Bearer "+token))
	return identity.Identity{Kind: id.Kind, Reason: id.Reason}
}

func response(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

func failing(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }

// longLived is a token that outlasts every test, from midnight 2000 on, where
// synctest's time begins.
func longLived(t *testing.T, key string) string {
	t.Helper()
	return sign(t, jose.ES256, keys()[key], claims(t, "exp", 4_000_000_000), kid(key))
}

func TestRemoteKeys(t *testing.T) {
	user := identity.Identity{Kind: identity.Authenticated}
	nobody := identity.Identity{Kind: identity.Anonymous}
	noKeys := identity.Identity{Reason: identity.ReasonKeys}
	// run gives each case its own server, source and time.
	run := func(name string, test func(t *testing.T, s *keyServer, expect func(token string, want identity.Identity, fetches int))) {
		t.Run(name, func(t *testing.T) {
			keys() // outside the bubble
			synctest.Test(t, func(t *testing.T) {
				s := &keyServer{answers: serving(keySet(t, public("p256")...))}
				source := newRemoteJWT(t, s, time.Now, nil)
				test(t, s, func(token string, want identity.Identity, fetches int) {
					t.Helper()
					got := kindOf(t.Context(), source, token)
					synctest.Wait()
					if got.Kind != want.Kind || got.Reason != want.Reason || s.count() != fetches {
						t.Fatalf("got %+v after %d fetches, want %+v after %d", got, s.count(), want, fetches)
					}
				})
			})
		})
	}

	run("are fetched once and kept", func(t *testing.T, _ *keyServer, expect func(string, identity.Identity, int)) {
		expect(longLived(t, "p256"), user, 1)
		time.Sleep(time.Minute)
		expect(longLived(t, "p256"), user, 1)
	})
	run("are refreshed before they are stale, and nobody waits", func(t *testing.T, s *keyServer, expect func(string, identity.Identity, int)) {
		expect(longLived(t, "p256"), user, 1)
		time.Sleep(4 * time.Minute)
		expect(longLived(t, "p256"), user, 2)
		s.set(failing)
		time.Sleep(4 * time.Minute)
		expect(longLived(t, "p256"), user, 3)
		time.Sleep(29 * time.Second)
		expect(longLived(t, "p256"), user, 3)
		time.Sleep(time.Second)
		expect(longLived(t, "p256"), user, 4)
	})
	run("that were withdrawn are gone after five minutes", func(t *testing.T, s *keyServer, expect func(string, identity.Identity, int)) {
		expect(longLived(t, "p256"), user, 1)
		s.set(serving(keySet(t, public("p384")...)))
		time.Sleep(5 * time.Minute)
		expect(longLived(t, "p256"), nobody, 2)
	})
	run("that cannot be fetched leave nothing known", func(t *testing.T, s *keyServer, expect func(string, identity.Identity, int)) {
		s.set(failing)
		expect(longLived(t, "p256"), noKeys, 1)
		expect(longLived(t, "p256"), noKeys, 1) // not again within a second
		time.Sleep(time.Second)
		expect(longLived(t, "p256"), noKeys, 2)
		s.set(serving(keySet(t, public("p256")...)))
		time.Sleep(time.Second)
		expect(longLived(t, "p256"), user, 3)
	})
	run("that became stale leave nothing known", func(t *testing.T, s *keyServer, expect func(string, identity.Identity, int)) {
		expect(longLived(t, "p256"), user, 1)
		s.set(failing)
		time.Sleep(5 * time.Minute)
		expect(longLived(t, "p256"), noKeys, 2)
	})
	run("that are unknown are asked for at most every 30 s", func(t *testing.T, s *keyServer, expect func(string, identity.Identity, int)) {
		expect(longLived(t, "p256"), user, 1)
		s.set(serving(keySet(t, public("p256", "foreign")...)))
		expect(longLived(t, "foreign"), user, 2) // a key that was just added
		unknown := sign(t, jose.ES256, keys()["p256"], claims(t), kid("unknown"))
		expect(unknown, nobody, 2)
		time.Sleep(29 * time.Second)
		expect(unknown, nobody, 2)
		time.Sleep(time.Second)
		expect(unknown, nobody, 3)
	})
	run("that are unknown while the server fails leave nothing known", func(t *testing.T, s *keyServer, expect func(string, identity.Identity, int)) {
		expect(longLived(t, "p256"), user, 1)
		s.set(failing)
		expect(longLived(t, "foreign"), noKeys, 2)
		expect(longLived(t, "foreign"), noKeys, 2)
		expect(longLived(t, "p256"), user, 2)
	})
	run("that are private or symmetric are not used", func(t *testing.T, s *keyServer, expect func(string, identity.Identity, int)) {
		s.set(serving(keySet(t, jose.JSONWebKey{Key: keys()["p256"], KeyID: "p256"}, public("rsa")[0])))
		expect(longLived(t, "p256"), nobody, 1)
	})
	run("are not taken from a redirect", func(t *testing.T, s *keyServer, expect func(string, identity.Identity, int)) {
		s.set(func(*http.Request) (*http.Response, error) {
			moved := response(http.StatusFound, keySet(t, public("p256")...))
			moved.Header.Set("Location", "https://evil.example/keys")
			return moved, nil
		})
		expect(longLived(t, "p256"), noKeys, 1)
	})
	run("of more than 1 MiB are not read", func(t *testing.T, s *keyServer, expect func(string, identity.Identity, int)) {
		read := 0
		s.set(func(*http.Request) (*http.Response, error) { return answer(endless{&read}), nil })
		expect(longLived(t, "p256"), noKeys, 1)
		if read > 2<<20 {
			t.Errorf("%d bytes were read", read)
		}
	})
	run("that do not come are waited for no longer than 2 s", func(t *testing.T, s *keyServer, expect func(string, identity.Identity, int)) {
		s.set(func(r *http.Request) (*http.Response, error) { return answer(stuck{r.Context()}), nil })
		before := time.Now()
		expect(longLived(t, "p256"), noKeys, 1)
		if took := time.Since(before); took != 2*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// One fetch serves everyone, and goes on when the request that began it is gone.
func TestRemoteKeysAreFetchedForEveryoneAtOnce(t *testing.T) {
	keys()
	synctest.Test(t, func(t *testing.T) {
		document := keySet(t, public("p256")...)
		token := longLived(t, "p256")
		s := &keyServer{answers: func(r *http.Request) (*http.Response, error) {
			select {
			case <-time.After(time.Second):
				return response(http.StatusOK, document), nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}}
		var events []identity.Event
		source := newRemoteJWT(t, s, time.Now, func(_ context.Context, e identity.Event) { events = append(events, e) })
		leader, hangUp := context.WithCancel(t.Context())
		led := make(chan identity.Identity, 1)
		go func() { led <- kindOf(leader, source, token) }()
		synctest.Wait()
		followed := make(chan identity.Identity, 50)
		for range cap(followed) {
			go func() { followed <- kindOf(t.Context(), source, token) }()
		}
		synctest.Wait()
		hangUp()
		if got := <-led; got.Reason != identity.ReasonKeys {
			t.Errorf("the one who hung up got %+v", got)
		}
		for range cap(followed) {
			if got := <-followed; got.Kind != identity.Authenticated {
				t.Fatalf("a follower got %+v", got)
			}
		}
		if s.count() != 1 || len(events) != 1 || events[0].Err != nil {
			t.Errorf("%d fetches, events %+v", s.count(), events)
		}
	})
}
