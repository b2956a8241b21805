package portal_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// dial opens the chat and returns the status of the answer, 0 where there is none.
func (s *site) dial(t *testing.T, header http.Header) (*websocket.Conn, int, error) {
	t.Helper()
	conn, res, err := websocket.Dial(t.Context(), strings.Replace(s.URL, "http", "ws", 1)+"/ws/echo-chat",
		&websocket.DialOptions{HTTPHeader: header})
	if res == nil {
		return conn, 0, err
	}
	if res.Body != nil {
		_ = res.Body.Close()
	}
	return conn, res.StatusCode, err
}

func (b *browser) chat() *websocket.Conn {
	b.t.Helper()
	conn, _, err := b.site.dial(b.t, http.Header{"Cookie": {"session=" + b.cookie()}})
	if err != nil {
		b.t.Fatalf("open a WebSocket: %v", err)
	}
	b.t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

func TestEchoChatReturnsMessages(t *testing.T) {
	conn := newSite(t).as(t, "alice").chat()
	for kind, message := range map[websocket.MessageType]string{
		websocket.MessageText: "Grüße", websocket.MessageBinary: strings.Repeat("\x00\xff", 100<<10),
	} {
		if err := conn.Write(t.Context(), kind, []byte(message)); err != nil {
			t.Fatal(err)
		}
		conn.SetReadLimit(1 << 20)
		gotKind, got, err := conn.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if gotKind != kind || string(got) != message {
			t.Errorf("%d bytes of kind %v came back as %d of kind %v", len(message), kind, len(got), gotKind)
		}
	}
}

func TestEchoChatRefusals(t *testing.T) {
	s := newSite(t)
	alice := "session=" + s.as(t, "alice").cookie()
	tests := map[string]struct {
		header http.Header
		want   int
	}{
		"signed out":          {nil, 401},
		"unknown session":     {http.Header{"Cookie": {"session=x"}}, 401},
		"Basic has no end":    {http.Header{"Authorization": {basic("alice", "alice-demo")}}, 401},
		"from another origin": {http.Header{"Cookie": {alice}, "Origin": {"https://elsewhere.example"}}, 403},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			conn, status, err := s.dial(t, tc.header)
			if err == nil {
				_ = conn.CloseNow()
				t.Fatal("the WebSocket was opened")
			}
			if status != tc.want {
				t.Errorf("answered %d (%v), want %d", status, err, tc.want)
			}
		})
	}
}

func TestEchoChatEnds(t *testing.T) {
	tests := map[string]struct {
		end  func(*site, *browser)
		want websocket.StatusCode
	}{
		"with the sign-out": {func(_ *site, b *browser) { b.post("/logout", nil) }, websocket.StatusPolicyViolation},
		"with the portal":   {func(s *site, _ *browser) { s.app.Close() }, websocket.StatusGoingAway},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			b := s.as(t, "alice")
			conn := b.chat()
			tc.end(s, b)
			_, _, err := conn.Read(t.Context())
			if got := websocket.CloseStatus(err); got != tc.want {
				t.Errorf("closed with %v (%v), want %v", got, err, tc.want)
			}
		})
	}
}

func TestEchoChatEndsWhenTheSessionHasExpired(t *testing.T) {
	s := newSite(t)
	conn := s.as(t, "alice").chat()
	s.clock.advance(12 * time.Hour)
	if err := conn.Write(t.Context(), websocket.MessageText, []byte("still there?")); err != nil {
		t.Fatal(err)
	}
	_, _, err := conn.Read(t.Context())
	if got := websocket.CloseStatus(err); got != websocket.StatusPolicyViolation {
		t.Errorf("closed with %v (%v)", got, err)
	}
}

// events opens the clock's stream and returns it behind its first event.
func (b *browser) events() (first map[string]string, stream *bufio.Reader) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.site.URL+"/events/clock", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	res, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = res.Body.Close() })
	if kind := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || kind != "text/event-stream" {
		b.t.Fatalf("answered %d with %q", res.StatusCode, kind)
	}
	stream = bufio.NewReader(res.Body)
	first = map[string]string{}
	for {
		line, err := stream.ReadString('\n')
		if err != nil {
			b.t.Fatalf("read an event: %v", err)
		}
		if line == "\n" {
			return first, stream
		}
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		first[name] = value
	}
}

func TestClockTellsTheTimeAtOnce(t *testing.T) {
	b := newSite(t).as(t, "alice")
	first, stream := b.events()
	want := map[string]string{"id": "1", "event": "tick", "data": fmt.Sprintf(`{"time":%q}`, start.Format(time.RFC3339))}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("first event (-want +got):\n%s", diff)
	}
	if !json.Valid([]byte(first["data"])) {
		t.Error("the data is no JSON")
	}
	if line, err := stream.ReadString('\n'); err != nil || line != "id: 2\n" {
		t.Errorf("then came %q (%v)", line, err)
	}
}

func TestClockEnds(t *testing.T) {
	tests := map[string]func(*site, *browser){
		"with the sign-out":            func(_ *site, b *browser) { b.post("/logout", nil) },
		"when the session has expired": func(s *site, _ *browser) { s.clock.advance(12 * time.Hour) },
		"with the portal":              func(s *site, _ *browser) { s.app.Close() },
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			b := s.as(t, "alice")
			_, stream := b.events()
			end(s, b)
			// The test's own deadline is the only other way out of this read.
			if _, err := io.Copy(io.Discard, stream); err != nil {
				t.Errorf("the stream broke off: %v", err)
			}
		})
	}
}

func TestClockHeadEnds(t *testing.T) {
	got := newSite(t).as(t, "alice").do(http.MethodHead, "/events/clock", "")
	got.wantStatus(t, http.StatusOK)
}
