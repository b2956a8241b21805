package appconn_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const patience = 10 * time.Second // for what should come at once

// step is something that the app does on a connection.
type step func(*peer)

// peer is the app's end of one connection.
type peer struct {
	*net.TCPConn

	app    *app
	in     *bufio.Reader
	got    strings.Builder // what the steps have read of the present request
	closed bool
}

// app speaks TCP and does what the script says: a list of steps for each request,
// whose number is its path. What is not in it is answered at once.
type app struct {
	url      *url.URL
	listener net.Listener
	script   [][]step
	cancel   chan struct{} // a step asks for the end of the request's context
	goOn     chan struct{} // a step waits until the client has the header
	returned chan struct{} // a step waits until the client has it all

	mu    sync.Mutex
	seen  []request
	conns []chan struct{} // closed with the connection
	done  sync.WaitGroup
}

// request is what the app saw of one.
type request struct {
	Number string
	Conn   int
	Text   string // a long body is a hash
}

func newApp(t testing.TB, script ...[]step) *app {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &app{
		url: &url.URL{Scheme: "http", Host: listener.Addr().String()}, listener: listener, script: script,
		cancel: make(chan struct{}, 1), goOn: make(chan struct{}, 1), returned: make(chan struct{}, 1),
	}
	a.done.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			a.mu.Lock()
			number, closed := len(a.conns), make(chan struct{})
			a.conns = append(a.conns, closed)
			a.mu.Unlock()
			a.done.Go(func() {
				defer close(closed)
				defer func() { _ = c.Close() }()
				a.serve(c.(*net.TCPConn), number)
			})
		}
	})
	t.Cleanup(func() { a.finish() })
	return a
}

// finish waits for the end of all connections and returns what the app saw.
func (a *app) finish() []request {
	_ = a.listener.Close()
	a.done.Wait()
	slices.SortStableFunc(a.seen, func(x, y request) int { return strings.Compare(x.Number, y.Number) })
	return a.seen
}

// awaitClosed waits until the app has closed the connection on which a request came
// first, and returns its number.
func (a *app) awaitClosed(request string) int {
	a.mu.Lock()
	conn := 0
	for _, r := range slices.Backward(a.seen) {
		if r.Number == request {
			conn = r.Conn
		}
	}
	closed := a.conns[conn]
	a.mu.Unlock()
	<-closed
	return conn
}

func (a *app) serve(c *net.TCPConn, number int) {
	_ = c.SetDeadline(time.Now().Add(patience))
	p := &peer{TCPConn: c, app: a, in: bufio.NewReader(c)}
	for !p.closed {
		if _, err := p.in.Peek(1); err != nil {
			return
		}
		steps, at := a.begin(p, number)
		for _, s := range steps {
			if s(p); p.closed {
				break
			}
		}
		a.mu.Lock()
		a.seen[at].Text = brief(inOrder(strings.ReplaceAll(p.got.String(), a.url.Host, "the app's own")))
		a.mu.Unlock()
		p.got.Reset()
	}
}

// brief keeps a comparison legible.
func brief(text string) string {
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	if len(body) < 200 {
		return text
	}
	sum := sha256.Sum256([]byte(body))
	return head + "\r\n\r\n" + hex.EncodeToString(sum[:])
}

// inOrder sorts the headers of a request by their names: in which order they come means
// nothing (RFC 9110, section 5.3), but for those of one name.
func inOrder(text string) string {
	head, body, ended := strings.Cut(text, "\r\n\r\n")
	if !ended {
		return text
	}
	lines := strings.Split(head, "\r\n")
	slices.SortStableFunc(lines[1:], func(a, b string) int {
		nameA, _, _ := strings.Cut(a, ":")
		nameB, _, _ := strings.Cut(b, ":")
		return strings.Compare(nameA, nameB)
	})
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

func (p *peer) line() string {
	line, err := p.in.ReadString('\n')
	p.got.WriteString(line)
	p.closed = p.closed || err != nil
	return line
}

// readHead reads a request up to its body.
func readHead(p *peer) {
	for line := ""; line != "\r\n" && !p.closed; {
		line = p.line()
	}
}

// read reads a whole request.
func read(p *peer) {
	readHead(p)
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(p.got.String())))
	switch {
	case err != nil:
		p.closed = true
	case r.ContentLength >= 0:
		readN(int(r.ContentLength))(p)
	default:
		for size := -1; size != 0 && !p.closed; {
			_, _ = fmt.Sscanf(p.line(), "%x", &size)
			readN(size + 2)(p)
		}
	}
}

func readN(n int) step {
	return func(p *peer) {
		_, err := io.CopyN(&p.got, p.in, int64(n))
		p.closed = p.closed || err != nil
	}
}

// begin chooses the steps for a request.
func (a *app) begin(p *peer, conn int) ([]step, int) {
	start, _ := p.in.Peek(len("PROPFIND /n"))
	_, path, _ := strings.Cut(string(start), " /")
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := request{Number: path[:min(1, len(path))], Conn: conn}
	before := slices.ContainsFunc(a.seen, func(r request) bool { return r.Number == seen.Number })
	a.seen = append(a.seen, seen)
	at := len(a.seen) - 1
	if n, err := strconv.Atoi(seen.Number); err == nil && n < len(a.script) && !before {
		return a.script[n], at
	}
	return []step{read, sayMore}, at
}

// sayMore is what the app answers when the script is over.
func sayMore(p *peer) {
	answer := "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
	if !strings.HasPrefix(p.got.String(), http.MethodHead) {
		answer += "more"
	}
	_, _ = io.WriteString(p, answer)
}

func say(text string) step { return func(p *peer) { _, _ = io.WriteString(p, text) } }

// slowly says it byte by byte.
func slowly(text string) step {
	return func(p *peer) {
		for i := range len(text) {
			say(text[i : i+1])(p)
		}
	}
}

func shut(p *peer) { p.closed = true; _ = p.Close() }

func halfClose(p *peer) { _ = p.CloseWrite() }

func reset(p *peer) { _ = p.SetLinger(0); shut(p) }

func cancel(p *peer) { p.app.cancel <- struct{}{} }

// wait waits for the client, which need not be there any more.
func wait(c <-chan struct{}) {
	select {
	case <-c:
	case <-time.After(patience):
	}
}

func untilHeader(p *peer) { wait(p.app.goOn) }

// untilReturn waits, without reading, until the client is through.
func untilReturn(p *peer) {
	wait(p.app.returned)
	shut(p)
}
