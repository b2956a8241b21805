package server_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// link is the way to Redis, over which a test has power: it carries everything, is
// cut, is slow, or answers in Redis's place.
type link struct {
	addr   string
	target string

	mu   sync.Mutex
	mode linkMode
	// conns are the open ends of both sides.
	conns map[net.Conn]bool
	// overheard is Redis's answer to the last request for which keep held.
	overheard []byte
}

// linkMode is what the link does; the zero value carries everything.
type linkMode struct {
	cut   bool
	delay time.Duration
	// answer, if set, answers a request in Redis's place; nil is no answer of its own.
	answer func(request []byte) []byte
	// keep says which requests' answers are overheard.
	keep func(request []byte) bool
}

func newLink(t *testing.T, target string) *link {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{addr: listener.Addr().String(), target: target, conns: map[net.Conn]bool{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { l.carry(client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		l.set(linkMode{cut: true})
		all.Wait()
	})
	return l
}

// set changes what the link does, for the connections that are open as well.
func (l *link) set(mode linkMode) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mode = mode
	if mode.cut {
		for conn := range l.conns {
			_ = conn.Close()
		}
	}
}

func (l *link) now() linkMode {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mode
}

// hold notes an open end, unless the link is cut.
func (l *link) hold(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.mode.cut {
		l.conns[conn] = true
	}
	return !l.mode.cut
}

func (l *link) drop(conn net.Conn) {
	_ = conn.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, conn)
}

func (l *link) carry(client net.Conn) {
	defer l.drop(client)
	server, err := net.Dial("tcp", l.target) //nolint:noctx // it is closed when the link is cut
	if err != nil || !l.hold(client) {
		return
	}
	defer l.drop(server)
	if !l.hold(server) {
		return
	}
	var replies sync.WaitGroup
	var mu sync.Mutex
	keeping := false
	replies.Go(func() {
		defer client.Close()
		l.copy(server, func(reply []byte) error {
			mu.Lock()
			if keeping {
				l.mu.Lock()
				l.overheard = append(l.overheard, reply...)
				l.mu.Unlock()
			}
			mu.Unlock()
			if delay := l.now().delay; delay > 0 {
				time.Sleep(delay) // this is what is slow about it
			}
			_, err := client.Write(reply)
			return err
		})
	})
	l.copy(client, func(request []byte) error {
		mode := l.now()
		mu.Lock()
		keeping = mode.keep != nil && mode.keep(request)
		if keeping {
			l.mu.Lock()
			l.overheard = nil
			l.mu.Unlock()
		}
		mu.Unlock()
		if mode.answer != nil {
			if answer := mode.answer(request); answer != nil {
				_, err := client.Write(answer)
				return err
			}
		}
		_, err := server.Write(request)
		return err
	})
	_ = server.Close()
	replies.Wait()
}

// copy hands on what is read, chunk by chunk.
func (l *link) copy(from io.Reader, to func([]byte) error) {
	chunk := make([]byte, 64<<10)
	for {
		n, err := from.Read(chunk)
		if n > 0 && to(chunk[:n]) != nil || err != nil {
			return
		}
	}
}

// asksForUser reports whether a request to Redis reads somebody's enrolment: a script
// with the epoch in one go.
func asksForUser(request []byte) bool {
	return bytes.Contains(request, []byte("evalsha")) && bytes.Contains(request, []byte(":epoch"))
}
