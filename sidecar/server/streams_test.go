package server_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sallyport/sallyport/test/stack"
)

// streaming makes the office serve a WebSocket that echoes at /ws and an endless
// stream of events at /events. Neither ever ends by itself.
func (o *office) streaming(w http.ResponseWriter, r *http.Request) bool {
	switch r.URL.Path {
	case "/ws":
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return true
		}
		defer func() { _ = conn.CloseNow() }()
		for {
			kind, message, err := conn.Read(context.WithoutCancel(r.Context()))
			if err != nil || conn.Write(context.WithoutCancel(r.Context()), kind, message) != nil {
				return true
			}
		}
	case "/events":
		w.Header().Set("Content-Type", "text/event-stream")
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, "data: tick\n\n")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
		return true
	}
	return false
}

// stream is a WebSocket or a stream of events that is open.
type stream struct {
	ws     *websocket.Conn
	events io.ReadCloser
	// ended is closed when the stream is over.
	ended chan struct{}
}

// open opens a stream from the person's browser.
func (p *person) open(t *testing.T, path string) *stream {
	t.Helper()
	s := &stream{ended: make(chan struct{})}
	if strings.HasPrefix(path, "/ws") {
		conn, _, err := websocket.Dial(t.Context(), p.Base+path, &websocket.DialOptions{HTTPClient: p.Client})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.CloseNow() })
		s.ws = conn
		if err := s.echo(t, "hello"); err != nil {
			t.Fatal(err)
		}
		go func() {
			defer close(s.ended)
			for err := error(nil); err == nil; {
				_, _, err = conn.Read(context.WithoutCancel(t.Context()))
			}
		}()
		return s
	}
	r := p.Request(http.MethodGet, path, nil)
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Sec-Fetch-Mode", "cors")
	response, err := p.Client.Do(r)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v, %v", path, response, err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	s.events = response.Body
	if _, err := io.ReadFull(s.events, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.ended)
		_, _ = io.Copy(io.Discard, s.events)
	}()
	return s
}

// echo sends a message and waits until it comes back. Only before the stream is
// left to itself.
func (s *stream) echo(t *testing.T, message string) error {
	t.Helper()
	if err := s.ws.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
		return err
	}
	_, got, err := s.ws.Read(t.Context())
	if err == nil && string(got) != message {
		err = errors.New("the echo is " + string(got))
	}
	return err
}

func (s *stream) wantEnd(t *testing.T, when string) {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s, a stream stays open", when)
	}
}

func (s *stream) wantOpen(t *testing.T, when string) {
	t.Helper()
	select {
	case <-s.ended:
		t.Errorf("%s, a stream is cut", when)
	default:
	}
}

// awaitCuts waits until so many streams were cut, but not for ever.
func (w *world) awaitCuts(ctx context.Context, n int) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for strings.Count(w.Sidecars[0].Log.String(), `"event":"stream.cut"`) < n && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
}

func TestStreamsNeedTheFactor(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	w.office.behave(w.office.streaming)
	late := w.enrolled("alice").again()
	w.office.requests()
	_, response, err := websocket.Dial(t.Context(), late.Base+"/ws", &websocket.DialOptions{HTTPClient: late.Client})
	if err == nil || response.StatusCode != http.StatusUnauthorized {
		t.Errorf("a WebSocket without the factor: %v, %v", response, err)
	}
	wantProblemCode(t, late.Fetch(http.MethodGet, "/events", nil), "mfa_challenge_required")
	if seen := w.office.requests(); len(seen) > 0 {
		t.Errorf("these reached the app: %+v", seen)
	}
	late.verify()
	late.open(t, "/ws")
	late.open(t, "/events")
}

// Whatever takes the right to pass away takes open streams with it.
func TestStreamsEndWithTheRightToPass(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		enrolled bool
		do       func(t *testing.T, w *world, p *person)
		decision string
	}{
		{"everyone is required", false, func(_ *testing.T, w *world, _ *person) {
			w.setPolicy(stack.Policy{Everyone: true})
		}, "enrol"},
		{"the user enrols elsewhere", false, func(_ *testing.T, _ *world, p *person) { p.again().enrol() }, "challenge"},
		{"the codes are regenerated elsewhere", true, func(_ *testing.T, _ *world, p *person) {
			other := p.again()
			other.verify()
			other.Submit(other.Get(prefix), "/recovery-codes", nil)
		}, "challenge"},
		{"two-factor is disabled while it is required", true, func(t *testing.T, w *world, p *person) {
			w.awaitPolicy(func() { w.setPolicy(stack.Policy{Everyone: true}) })
			off := p.Submit(p.Get(prefix), "/disable", map[string]string{"password": p.name + "-demo"})
			wantStatus(t, off, http.StatusOK)
		}, "enrol"},
		// The verification is over before the app has heard of the sign-out. However long
		// the app then takes, the streams do not wait for it.
		{"the user signs out", true, func(_ *testing.T, w *world, p *person) {
			w.office.behave(func(rw http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/logout" {
					w.awaitCuts(r.Context(), 2)
				}
				return w.office.streaming(rw, r)
			})
			p.SignOut()
		}, "challenge"},
		{"the app ends the session by itself", true, func(_ *testing.T, w *world, p *person) {
			w.office.drop(p.Cookie("session"))
		}, "sign_in"},
		{"the app hands the session to another user", false, func(_ *testing.T, w *world, p *person) {
			w.office.adopt(p.Cookie("session"), "bob")
		}, "sign_in"},
		{"the verification is too old", true, func(_ *testing.T, w *world, _ *person) { w.clock.Advance(25 * time.Hour) }, "challenge"},
		{"the identity source is away for good", true, func(_ *testing.T, w *world, _ *person) {
			w.office.behave(json200("[]"))
		}, "refuse"},
		{"Redis is away for good", true, func(_ *testing.T, w *world, _ *person) { w.Redis.Close() }, "refuse"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := startOffice(t, stack.Options{Recheck: 100 * time.Millisecond})
			w.office.behave(w.office.streaming)
			p := w.signedIn("alice")
			if tc.enrolled {
				p = w.enrolled("alice")
			}
			bystander := w.signedIn("nobody-in-particular")
			streams := []*stream{p.open(t, "/ws"), p.open(t, "/events")}
			other := bystander.open(t, "/ws")
			tc.do(t, w, p)
			for _, s := range streams {
				s.wantEnd(t, tc.name)
			}
			if tc.decision == "challenge" {
				other.wantOpen(t, tc.name)
			}
			w.Eventually("the cuts are told", func() bool {
				return len(audits(t, w.Sidecars[0], "stream.cut")) >= 2
			})
			told := audits(t, w.Sidecars[0], "stream.cut")[0]
			if told["decision"] != tc.decision || told["user"] == "" {
				t.Errorf("the cut is told as %v", told)
			}
			if w.Sidecars[0].Metric(t, "sallyport_streams_cut_total") < 2 {
				t.Error("the cuts are not counted")
			}
		})
	}
}

// A stream outlives what does not concern it, and a moment's doubt.
func TestStreamsOutliveTheRest(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Recheck: 100 * time.Millisecond})
	w.office.behave(w.office.streaming)
	p := w.enrolled("alice")
	streams := []*stream{p.open(t, "/ws"), p.open(t, "/events")}
	other := p.again()
	other.SignOut()
	w.awaitPolicy(func() { w.setPolicy(stack.Policy{Everyone: true}) })
	p.Get("/my")

	// One doubt, then certainty again.
	doubted := make(chan struct{}, 100)
	w.office.behave(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != whoami {
			return w.office.streaming(rw, r)
		}
		doubted <- struct{}{}
		rw.WriteHeader(http.StatusInternalServerError)
		return true
	})
	<-doubted
	w.office.behave(w.office.streaming)
	asked := w.Sidecars[0].Metric(t, "sallyport_identity_seconds_count")
	w.Eventually("both streams were looked at again, and again", func() bool {
		return w.Sidecars[0].Metric(t, "sallyport_identity_seconds_count") >= asked+8
	})
	for _, s := range streams {
		s.wantOpen(t, "after a moment's doubt")
	}
}
