package bench_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// answerBuffer holds every head, and the page.
const answerBuffer = 16 << 10

// client is one keep-alive connection that asks for the page, again and again. It does
// as little as a client can, so that the load generator is the limit of nothing.
type client struct {
	conn    net.Conn
	request []byte
	buffer  []byte
	// took is how long each request of a run took, in nanoseconds.
	took []uint32
}

// dial opens n connections.
func dial(ctx context.Context, addr string, n int, request []byte) ([]*client, error) {
	clients := make([]*client, 0, n)
	for range n {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			hangUp(clients)
			return nil, fmt.Errorf("connect to %s: %w", addr, err)
		}
		clients = append(clients, &client{conn: conn, request: request, buffer: make([]byte, answerBuffer)})
	}
	return clients, nil
}

func hangUp(clients []*client) {
	for _, c := range clients {
		_ = c.conn.Close()
	}
}

// get is a request as a browser's, short of what no proxy looks at.
func get(path, cookies string, headers ...string) []byte {
	lines := []string{
		"GET " + path + " HTTP/1.1", "Host: bench.example", "User-Agent: bench", "Accept: */*",
	}
	if cookies != "" {
		lines = append(lines, "Cookie: "+cookies)
	}
	return []byte(strings.Join(append(lines, headers...), "\r\n") + "\r\n\r\n")
}

// exchange asks for the page once and reads all of the answer.
func (c *client) exchange() error {
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	return c.readPage()
}

var (
	endOfHead     = []byte("\r\n\r\n")
	okay          = []byte("HTTP/1.1 200 ")
	contentLength = []byte("\r\nContent-Length: ")
)

func (c *client) readPage() error {
	have, want := 0, -1
	for want < 0 || have < want {
		if have == len(c.buffer) {
			return errors.New("an answer that is larger than the page")
		}
		n, err := c.conn.Read(c.buffer[have:])
		if err != nil {
			return err
		}
		have += n
		if want >= 0 {
			continue
		}
		if want, err = answerLength(c.buffer[:have]); err != nil {
			return err
		}
	}
	if have != want {
		return errors.New("more came than the answer")
	}
	return nil
}

// answerLength is the length of the whole answer; -1 while its head is not all there.
func answerLength(answer []byte) (int, error) {
	end := bytes.Index(answer, endOfHead)
	if end < 0 {
		return -1, nil
	}
	head := answer[:end]
	if !bytes.HasPrefix(head, okay) {
		return 0, fmt.Errorf("not the page but:\n%s", answer)
	}
	_, rest, ok := bytes.Cut(head, contentLength)
	if !ok {
		return 0, fmt.Errorf("an answer without Content-Length:\n%s", head)
	}
	value, _, _ := bytes.Cut(rest, []byte("\r\n"))
	length, err := strconv.Atoi(string(value))
	if err != nil || length < 0 {
		return 0, fmt.Errorf("an answer with a Content-Length of %q", value)
	}
	return end + len(endOfHead) + length, nil
}

// sample is what a run of load saw.
type sample struct {
	requests int
	elapsed  time.Duration
	sorted   []uint32 // nanoseconds
}

// run puts load on for some time. It ends with every answer read.
func run(clients []*client, d time.Duration) (sample, error) {
	begin := time.Now()
	end := begin.Add(d)
	faults := make([]error, len(clients))
	var group sync.WaitGroup
	for i, c := range clients {
		if err := c.conn.SetDeadline(end.Add(patience)); err != nil {
			return sample{}, err
		}
		group.Go(func() { faults[i] = c.until(end) })
	}
	group.Wait()
	s := sample{elapsed: time.Since(begin)}
	if err := errors.Join(faults...); err != nil {
		return s, err
	}
	for _, c := range clients {
		s.sorted = append(s.sorted, c.took...)
	}
	slices.Sort(s.sorted)
	s.requests = len(s.sorted)
	return s, nil
}

func (c *client) until(end time.Time) error {
	c.took = c.took[:0]
	for now := time.Now(); now.Before(end); {
		if err := c.exchange(); err != nil {
			return fmt.Errorf("request %d: %w", len(c.took)+1, err)
		}
		then := time.Now()
		c.took = append(c.took, uint32(min(then.Sub(now), 1<<32-1)))
		now = then
	}
	return nil
}

// download reads an answer and throws it away. It returns bytes per second of the body.
func download(conn net.Conn, request []byte, buffer []byte) (float64, error) {
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, err
	}
	begin := time.Now()
	if _, err := conn.Write(request); err != nil {
		return 0, err
	}
	have, want := 0, -1
	for want < 0 || have < want {
		into := buffer
		if want < 0 {
			into = buffer[have:]
		}
		n, err := conn.Read(into)
		if err != nil {
			return 0, fmt.Errorf("after %d bytes: %w", have, err)
		}
		have += n
		if want < 0 {
			if want, err = answerLength(buffer[:have]); err != nil {
				return 0, err
			}
		}
	}
	if have != want {
		return 0, io.ErrUnexpectedEOF
	}
	return float64(have) / time.Since(begin).Seconds(), nil
}
