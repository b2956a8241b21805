package appconn

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
)

// conn is a connection to the app with its buffers. One exchange has it at a time:
// its answer's reader reads, its request's writer writes.
type conn struct {
	net.Conn

	in  *bufio.Reader
	out *bufio.Writer

	left   int64 // what may still be read
	sawEOF bool

	written  int64 // by the present exchange
	writeErr error

	used   bool // by an exchange before the present one
	retire uint // when idle.ticks is this, it has been idle for too long

	descriptor syscall.RawConn // nil: cannot be looked at, so is never used again
	look       func(uintptr) bool
	silent     bool // what look saw
}

func newConn(raw net.Conn, settings *http.Transport) *conn {
	c := &conn{Conn: raw}
	c.in = bufio.NewReaderSize(c, bufferSize(settings.ReadBufferSize))
	c.out = bufio.NewWriterSize(c, bufferSize(settings.WriteBufferSize))
	if s, ok := raw.(syscall.Conn); ok {
		c.descriptor, _ = s.SyscallConn()
	}
	c.look = func(fd uintptr) bool {
		c.silent = silent(fd)
		return true
	}
	return c
}

func bufferSize(n int) int {
	if n > 0 {
		return n
	}
	return 4 << 10 // as net/http
}

func (c *conn) begin(maxHeader int64) { c.left, c.written = maxHeader, 0 }

// send writes r, with the headers in over, to its end.
func (c *conn) send(r *http.Request, over http.Header) error {
	if !writeHead(c.out, r, over) {
		if err := replaced(r, over).Write(c.out); err != nil {
			return err
		}
	}
	return c.out.Flush()
}

// mayAnswer tells whether an answer can come after send failed. An app may refuse
// a request and hang up before it has all of it; then the answer waits to be read.
// It cannot where the fault is ours: the app waits for more. And what it says where
// not a byte was written is no answer to this request.
func (c *conn) mayAnswer() bool { return c.writeErr != nil && c.written > 0 }

// drained tells whether nothing came after the answer. More may come later: quiet.
func (c *conn) drained() bool { return !c.sawEOF && c.in.Buffered() == 0 }

// quiet tells whether the app has neither closed an idle connection nor said
// anything on it.
func (c *conn) quiet() bool {
	return c.descriptor != nil && c.descriptor.Read(c.look) == nil && c.silent
}

var errHeaderTooLong = errors.New("the answer's header is too long")

func (c *conn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errHeaderTooLong
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if errors.Is(err, io.EOF) {
		c.sawEOF = true
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written += int64(n)
	if err != nil {
		c.writeErr = err
	}
	return n, err
}

// ReadFrom implements io.ReaderFrom, by which a body passes the buffer: what the
// client has sent is not held back until there is more of it.
func (c *conn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(struct{ io.Writer }{c}, r) }
