package identity_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/identity"
)

func TestEndpointRemembersUsersBriefly(t *testing.T) {
	a, c := newApp(t, saysJSON(alice)), newClock()
	source := newEndpoint(t, a, c, nil)
	ask := func(want int, headers ...string) {
		t.Helper()
		if got := source.Identify(t.Context(), request(headers...)); got.Kind != identity.Authenticated {
			t.Fatalf("got %+v", got)
		}
		if got := len(a.questions()); got != want {
			t.Fatalf("%d questions so far, want %d", got, want)
		}
	}
	ask(1, "Cookie", "session=s1")
	ask(1, "Cookie", "session=s1")
	ask(1, "Cookie", "session=s1", "User-Agent", "another")
	ask(2, "Cookie", "session=s2")
	ask(3, "Cookie", "session=s1 ")
	ask(4, "Cookie", "session=s1", "Authorization", "x") // the cookie's answer is known
	ask(5, "Cookie", "session=s1", "X-Forwarded-Host", "b.example")
	ask(6, "Cookie", "session=s1", "X-Forwarded-Proto", "https")
	ask(6, "Cookie", "session=s1")
	c.Move(2500 * time.Millisecond)
	ask(6, "Cookie", "session=s1") // past half of it the app is asked meanwhile: package recent
	c.Move(2500 * time.Millisecond)
	ask(7, "Cookie", "session=s1")
	source.Forget(request("Cookie", "session=s1"))
	ask(8, "Cookie", "session=s1")
}

func TestEndpointNeverRemembersNobodyOrFailure(t *testing.T) {
	a := newApp(t, says(401, "text/plain", ""))
	source := newEndpoint(t, a, newClock(), nil)
	r := request("Cookie", "session=s1")
	if got := source.Identify(t.Context(), r).Kind; got != identity.Anonymous {
		t.Fatalf("got %d", got)
	}
	a.setAnswer(says(500, "text/plain", ""))
	if got := source.Identify(t.Context(), r).Kind; got != identity.Indeterminate {
		t.Fatalf("got %d: a nobody was remembered", got)
	}
	a.setAnswer(saysJSON(alice))
	if got := source.Identify(t.Context(), r).Kind; got != identity.Authenticated {
		t.Fatalf("got %d: a failure was remembered", got)
	}
}

func TestEndpointCachesForNoLongerThanAllowed(t *testing.T) {
	for _, tc := range []struct {
		name     string
		cacheFor *policy.Duration
		after    time.Duration
		asks     int
	}{
		{"0s asks every time", &policy.Duration{}, 0, 2},
		{"unset asks every time", nil, 0, 2},
		{"an hour is cut to five seconds", &policy.Duration{Duration: time.Hour}, 5 * time.Second, 2},
		{"an hour is remembered for two", &policy.Duration{Duration: time.Hour}, 2 * time.Second, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, c := newApp(t, saysJSON(alice)), newClock()
			source := newEndpoint(t, a, c, func(cfg *policy.EndpointIdentity) { cfg.CacheFor = tc.cacheFor })
			source.Identify(t.Context(), request("Cookie", "session=s1"))
			c.Move(tc.after)
			source.Identify(t.Context(), request("Cookie", "session=s1"))
			if got := len(a.questions()); got != tc.asks {
				t.Errorf("asked %d times, want %d", got, tc.asks)
			}
		})
	}
}

// An answer that is under way while the session ends must not be remembered after.
func TestEndpointDoesNotRememberAnAnswerOvertakenByForget(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	a := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-release
		saysJSON(alice)(w, r)
	})
	source := newEndpoint(t, a, newClock(), nil)
	done := make(chan identity.Identity)
	go func() { done <- source.Identify(t.Context(), request("Cookie", "session=s1")) }()
	<-asked
	source.Forget(request("Cookie", "session=s1"))
	close(release)
	<-done
	a.setAnswer(says(401, "text/plain", ""))
	if got := source.Identify(t.Context(), request("Cookie", "session=s1")).Kind; got != identity.Anonymous {
		t.Errorf("got %d: the ended session was remembered", got)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// stuck is a body that never ends and never comes.
type stuck struct{ ctx context.Context }

func (s stuck) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}
func (s stuck) Close() error { return nil }

// endless is a body that never ends and always comes.
type endless struct{ read *int }

func (e endless) Read(p []byte) (int, error) {
	*e.read += len(p)
	clear(p)
	return len(p), nil
}
func (e endless) Close() error { return nil }

func TestEndpointBoundsTheQuestion(t *testing.T) {
	read := 0
	for _, tc := range []struct {
		name      string
		transport roundTrip
		want      identity.Reason
		took      time.Duration
	}{
		{"an app that does not answer", func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, fmt.Errorf("wrapped: %w", r.Context().Err())
		}, identity.ReasonTimeout, time.Second},
		{"a body that does not come", func(r *http.Request) (*http.Response, error) {
			return answer(stuck{r.Context()}), nil
		}, identity.ReasonTimeout, time.Second},
		{"a body that does not end", func(*http.Request) (*http.Response, error) {
			return answer(endless{&read}), nil
		}, identity.ReasonAnswer, 0},
		{"an app that is not there", func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: io.ErrUnexpectedEOF}
		}, identity.ReasonUnreachable, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var events []identity.Event
				source, err := identity.NewEndpoint(endpointConfig(), identity.EndpointOptions{
					App: &url.URL{Scheme: "http", Host: "127.0.0.1:1"}, Transport: tc.transport, Clock: time.Now,
					Observer: func(_ context.Context, e identity.Event) { events = append(events, e) },
				})
				if err != nil {
					t.Fatal(err)
				}
				before := time.Now()
				got := source.Identify(t.Context(), request("Cookie", "session=canary"))
				if got.Kind != identity.Indeterminate || got.Reason != tc.want || time.Since(before) != tc.took {
					t.Errorf("got %+v after %s", got, time.Since(before))
				}
				if len(events) != 1 || events[0].Reason != tc.want || events[0].Err == nil {
					t.Fatalf("events: %+v", events)
				}
				if strings.Contains(events[0].Err.Error(), "canary") {
					t.Errorf("a cookie is in the error %q", events[0].Err)
				}
			})
		})
	}
	if read > 128<<10 {
		t.Errorf("%d bytes of an endless answer were read", read)
	}
}

func answer(body io.ReadCloser) *http.Response {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: body,
	}
}
