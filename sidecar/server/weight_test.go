package server_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/test/stack"
)

// What large bodies and idle connections cost. The tests are not parallel: they
// measure memory, and nothing else may run in the process.

var bodyMiB = flag.Int64("body", 256, "how many MiB go up and down in TestBodiesOfAnySizeTakeNoMemory")

// zeros is a body that takes no memory. On its way it looks at the heap.
type zeros struct {
	left, looked int64
	peak         uint64
}

func (z *zeros) Read(b []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(b)), z.left)
	clear(b[:n])
	z.left -= n
	if z.looked += n; z.looked >= 16<<20 {
		z.looked, z.peak = 0, max(z.peak, inUse())
	}
	return int(n), nil
}

// inUse is the memory that the process has in use, stacks included.
func inUse() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc + stats.StackInuse
}

func TestBodiesOfAnySizeTakeNoMemory(t *testing.T) {
	size := *bodyMiB << 20
	w := startOffice(t, stack.Options{})
	down := make(chan *zeros, 1)
	w.office.behave(func(rw http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Path {
		case "/up":
			n, _ := io.Copy(io.Discard, r.Body)
			_, _ = fmt.Fprint(rw, n)
		case "/down":
			rw.Header().Set("Content-Length", strconv.FormatInt(size, 10))
			_, _ = io.CopyBuffer(struct{ io.Writer }{rw}, <-down, make([]byte, 64<<10))
		default:
			return false
		}
		return true
	})
	alice := w.enrolled("alice")
	for _, way := range []string{"/up", "/down"} {
		runtime.GC()
		before, begun, body := inUse(), time.Now(), &zeros{left: size}
		r := alice.Request(http.MethodGet, way, nil)
		if way == "/up" {
			r = alice.Request(http.MethodPost, way, body)
			r.ContentLength = size
		} else {
			down <- body
		}
		answer, err := alice.Client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		n, err := io.Copy(io.Discard, io.TeeReader(answer.Body, &head{&text}))
		_ = answer.Body.Close()
		if way == "/up" && text.String() != strconv.FormatInt(size, 10) || way == "/down" && n != size || err != nil {
			t.Errorf("%s of %d bytes: %d came back, %.20s, %v", way, size, n, text.String(), err)
		}
		grown := int64(body.peak) - int64(before)
		t.Logf("%s: %d MiB in %s; at most %d KiB more in use", way, *bodyMiB, time.Since(begun), grown>>10)
		if body.peak == 0 || grown > 16<<20 {
			t.Errorf("%s: %d KiB more are in use", way, grown>>10)
		}
	}
}

// head keeps the first bytes.
type head struct{ b *strings.Builder }

func (h *head) Write(b []byte) (int, error) {
	if h.b.Len() < 32 {
		h.b.Write(b[:min(len(b), 32)])
	}
	return len(b), nil
}

// idleWebSocket opens a WebSocket at an origin and leaves it alone.
func idleWebSocket(t *testing.T, origin, cookies string) net.Conn {
	t.Helper()
	at := strings.TrimPrefix(origin, "http://")
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\n%s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", at, cookies)
	var answer []byte
	for one := make([]byte, 1); !bytes.HasSuffix(answer, []byte("\r\n\r\n")); {
		if _, err := io.ReadFull(conn, one); err != nil {
			t.Fatalf("%s: %v", answer, err)
		}
		answer = append(answer, one...)
	}
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 101")) {
		t.Fatalf("%s", answer)
	}
	_ = conn.SetDeadline(time.Time{})
	return conn
}

// The door's share of a thousand idle WebSockets: what they cost through it, less
// what they cost the client and the app alone.
func TestIdleWebSocketsAreLight(t *testing.T) {
	const sockets, most = 1000, 72 << 10 // 38 KiB, and 56 with the race detector
	w := startOffice(t, stack.Options{Recheck: time.Hour})
	w.office.behave(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/ws" {
			return false
		}
		conn, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			return false
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = conn.Read(make([]byte, 1))
		return true
	})
	alice := w.enrolled("alice")
	cost := func(origin string) int64 {
		idleWebSocket(t, origin, alice.credentials()).Close()
		runtime.GC()
		before := inUse()
		conns := make([]net.Conn, sockets)
		for i := range conns {
			conns[i] = idleWebSocket(t, origin, alice.credentials())
		}
		w.office.requests() // what the app remembers is not the door's
		runtime.GC()
		after := inUse()
		for _, conn := range conns {
			_ = conn.Close()
		}
		return (int64(after) - int64(before)) / sockets
	}
	alone, through := cost(w.AppURL), cost(w.URL())
	t.Logf("%d bytes for each through the door, %d without it", through, alone)
	if got := through - alone; got > most || got <= 0 {
		t.Errorf("an idle WebSocket costs %d KiB, at most %d are wanted", got>>10, most>>10)
	}
}
