package proxy_test

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

const bigBody = 48 << 20

// pattern is a body of any size that takes no memory. On its way it looks at how
// much of the heap is in use.
type pattern struct {
	left int
	peak *heapPeak
}

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), p.left)
	for i := range b[:n] {
		b[i] = byte((p.left - i) & 0xff)
	}
	if p.peak != nil && p.left>>22 != (p.left-n)>>22 {
		p.peak.look()
	}
	p.left -= n
	return n, nil
}

type heapPeak struct{ bytes atomic.Uint64 }

func (h *heapPeak) look() {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	h.bytes.Store(max(h.bytes.Load(), stats.HeapAlloc))
}

func digest(r io.Reader) string {
	hash := sha256.New()
	_, err := io.CopyBuffer(struct{ io.Writer }{hash}, struct{ io.Reader }{r}, make([]byte, 32<<10))
	if err != nil {
		return err.Error()
	}
	return hex.EncodeToString(hash.Sum(nil))
}

func bothProtocols(t *testing.T, test func(t *testing.T, c *http.Client)) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "h2c": true} {
		t.Run(name, func(t *testing.T) { test(t, client(t, http2)) })
	}
}

// Bodies of tens of MiB pass unchanged, both ways, and are never held whole.
func TestForwardStreamsBigBodies(t *testing.T) {
	want := digest(&pattern{left: bigBody})
	var peak heapPeak
	s := newStack(t, setup{app: func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_, _ = io.WriteString(w, digest(r.Body))
			return
		}
		if r.URL.Path == "/known" {
			w.Header().Set("Content-Length", strconv.Itoa(bigBody))
		}
		_, _ = io.CopyBuffer(struct{ io.Writer }{w}, &pattern{bigBody, &peak}, make([]byte, 32<<10))
	}})
	bothProtocols(t, func(t *testing.T, c *http.Client) {
		runtime.GC()
		peak.bytes.Store(0)
		peak.look()
		before := peak.bytes.Load()
		upload := do(t, c, newRequest(t, http.MethodPost, s.url, &pattern{bigBody, &peak}))
		if got := read(t, upload.Body); got != want {
			t.Errorf("the app got %s", got)
		}
		for _, path := range []string{"/known", "/chunked"} {
			download := do(t, c, newRequest(t, http.MethodGet, s.url+path, http.NoBody))
			if got := digest(download.Body); got != want {
				t.Errorf("the client got %s", got)
			}
		}
		if got := peak.bytes.Load() - before; got > bigBody/3 {
			t.Errorf("up to %d MiB were in use for a body of %d MiB", got>>20, bigBody>>20)
		}
	})
}

func TestForwardFlushesEvents(t *testing.T) {
	next := make(chan struct{})
	s := newStack(t, setup{app: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	}})
	bothProtocols(t, func(t *testing.T, c *http.Client) {
		response := do(t, c, newRequest(t, http.MethodGet, s.url, http.NoBody))
		events := make(chan string)
		go func() {
			for lines := bufio.NewScanner(response.Body); lines.Scan(); {
				if lines.Text() != "" {
					events <- lines.Text()
				}
			}
			close(events)
		}()
		for i := range 3 {
			if got := await(t, "an event", events); got != fmt.Sprintf("data: %d", i) {
				t.Fatalf("got %q", got)
			}
			next <- struct{}{}
		}
		if got := await(t, "the end", events); got != "" {
			t.Errorf("and then %q", got)
		}
	})
}

// An app may answer while the upload is still under way, and go on reading it.
func TestForwardIsFullDuplex(t *testing.T) {
	s := newStack(t, setup{app: func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		_ = rc.Flush()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			_, _ = fmt.Fprintln(w, strings.ToUpper(lines.Text()))
			_ = rc.Flush()
		}
	}})
	bothProtocols(t, func(t *testing.T, c *http.Client) {
		body, upload := io.Pipe()
		response := do(t, c, newRequest(t, http.MethodPost, s.url, body))
		answers := bufio.NewScanner(response.Body)
		for _, word := range []string{"one", "two", "three"} {
			got := make(chan string, 1)
			go func() {
				_, _ = fmt.Fprintln(upload, word)
				answers.Scan()
				got <- answers.Text()
			}()
			if line := await(t, "an answer", got); line != strings.ToUpper(word) {
				t.Fatalf("got %q", line)
			}
		}
		_ = upload.Close()
		if answers.Scan() {
			t.Errorf("and then %q", answers.Text())
		}
	})
}

func TestForwardPassesAnEarlyRefusalOfAnUpload(t *testing.T) {
	s := newStack(t, setup{app: func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		}
	}})
	bothProtocols(t, func(t *testing.T, c *http.Client) {
		for range 5 { // what went wrong here went wrong now and then
			response := do(t, c, newRequest(t, http.MethodPost, s.url, &pattern{left: bigBody}))
			if response.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("got %d", response.StatusCode)
			}
		}
		if after := do(t, c, newRequest(t, http.MethodGet, s.url, http.NoBody)); after.StatusCode != http.StatusOK {
			t.Errorf("the next request got %d", after.StatusCode)
		}
	})
}

func TestForwardPassesTrailersBothWays(t *testing.T) {
	s := newStack(t, setup{app: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Announced")
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
		w.Header().Set("X-Announced", r.Trailer.Get("X-Checksum"))
		w.Header().Set(http.TrailerPrefix+"X-Late", fmt.Sprint(len(r.Trailer), r.Trailer["X-Auth-User"]))
	}})
	bothProtocols(t, func(t *testing.T, c *http.Client) {
		r := newRequest(t, http.MethodPost, s.url, io.NopCloser(strings.NewReader("body")))
		r.Trailer = http.Header{"X-Checksum": {"abc"}, "X-Auth-User": {"mallory"}, "X_forwarded_for": {"6.6.6.6"}}
		response := do(t, c, r)
		if got := read(t, response.Body); got != "body" {
			t.Errorf("got %q", got)
		}
		want := http.Header{"X-Announced": {"abc"}, "X-Late": {"1 []"}}
		if diff := cmp.Diff(want, response.Trailer); diff != "" {
			t.Error(diff)
		}
	})
}

func TestForwardDropsTrailersThatWereNotAnnounced(t *testing.T) {
	trailer := make(chan http.Header, 1)
	s := newStack(t, setup{app: func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		trailer <- r.Trailer
	}})
	for announced, want := range map[string]http.Header{
		"": nil, "Trailer: X-Checksum\n": {"X-Checksum": {"abc"}},
	} {
		c := dial(t, s.addr)
		c.send(t, "POST / HTTP/1.1\nHost: a\n"+announced+"Transfer-Encoding: chunked\n\n"+
			"4\nbody\n0\nX-Checksum: abc\nX-Auth-User: mallory\nX-Sallyport-Verified: true\n\n")
		if got := c.response(t).StatusCode; got != http.StatusOK {
			t.Errorf("got %d", got)
		}
		if diff := cmp.Diff(want, await(t, "the trailer", trailer)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestForwardPassesWebSockets(t *testing.T) {
	s := newStack(t, setup{app: func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"echo"}})
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.CloseNow() }()
		conn.SetReadLimit(1 << 20)
		for {
			kind, message, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			if err := conn.Write(r.Context(), kind, message); err != nil {
				return
			}
		}
	}})
	conn, response, err := websocket.Dial(t.Context(), s.url, &websocket.DialOptions{
		Subprotocols: []string{"echo"}, HTTPHeader: http.Header{"X-Auth-User": {"mallory"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	_ = response.Body
	conn.SetReadLimit(1 << 20)
	if conn.Subprotocol() != "echo" {
		t.Errorf("the subprotocol is %q", conn.Subprotocol())
	}
	big := make([]byte, 512<<10)
	_, _ = rand.Read(big)
	for _, message := range [][]byte{[]byte("hello"), {}, big} {
		if err := conn.Write(t.Context(), websocket.MessageBinary, message); err != nil {
			t.Fatal(err)
		}
		if _, got, err := conn.Read(t.Context()); err != nil || string(got) != string(message) {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
	}
	if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
}

// No client can talk the app into another protocol, and an app that switches all
// the same gets no raw connection to the client.
func TestForwardSwitchesToNothingElse(t *testing.T) {
	for _, protocol := range []string{"", "Upgrade: h2c\r\nConnection: Upgrade\r\n"} {
		s := newStack(t, setup{app: func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Upgrade") != "" {
				t.Errorf("the app was asked to switch to %s", r.Header.Get("Upgrade"))
			}
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n"+protocol+"\r\nraw bytes")
		}})
		c := dial(t, s.addr)
		c.send(t, "GET / HTTP/1.1\nHost: a\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABk\n\n")
		if got := c.response(t).StatusCode; got != http.StatusBadGateway {
			t.Errorf("got %d", got)
		}
	}
}

func TestExpectContinue(t *testing.T) {
	reached := make(chan string, 1)
	s := newStack(t, setup{app: func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			reached <- "refused"
			w.WriteHeader(http.StatusForbidden)
			return
		}
		body, _ := io.ReadAll(r.Body)
		reached <- string(body)
	}})
	request := func(path, more string) string {
		return "POST " + path + " HTTP/1.1\nHost: a\nContent-Length: 4\nExpect: 100-continue\n" + more + "\n"
	}
	t.Run("an app that reads gets the body after 100", func(t *testing.T) {
		c := dial(t, s.addr)
		c.send(t, request("/", ""))
		if got := c.response(t).StatusCode; got != http.StatusContinue {
			t.Fatalf("got %d first", got)
		}
		c.send(t, "body")
		if got := await(t, "the body", reached); got != "body" {
			t.Errorf("the app got %q", got)
		}
		got := c.response(t).StatusCode
		if got == http.StatusContinue {
			// The app's own, beside the one that the server sent when the body was first
			// read: a client takes any number of them (RFC 9110, section 15.2).
			got = c.response(t).StatusCode
		}
		if got != http.StatusOK {
			t.Errorf("got %d", got)
		}
	})
	t.Run("an app that refuses answers without the body", func(t *testing.T) {
		c := dial(t, s.addr)
		c.send(t, request("/refuse", ""))
		if got := c.response(t).StatusCode; got != http.StatusForbidden {
			t.Errorf("got %d", got)
		}
		await(t, "the request", reached)
	})
	t.Run("a request that hygiene refuses is answered without the body", func(t *testing.T) {
		c := dial(t, s.addr)
		c.send(t, request("/", "Connection: Cookie\n"))
		if got := c.response(t).StatusCode; got != http.StatusBadRequest {
			t.Errorf("got %d", got)
		}
	})
}
