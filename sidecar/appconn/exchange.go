package appconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"sync/atomic"
	"time"
)

// uploadPatience is how long a connection waits for the end of its request once
// the answer has ended. As a rule that end came before, and only its writer has not
// said so yet. An app that does not read the rest gets the connection closed.
const uploadPatience = 50 * time.Millisecond

// exchange is one request and its answer on a connection.
type exchange struct {
	transport *Transport
	conn      *conn
	ctx       context.Context
	over      http.Header // in place of headers of the request
	unwatch   func() bool
	sent      chan struct{} // closed when the request is written; nil if it was before the answer was read
	sendErr   error         // of the request's writing; once sent is closed
	uploadErr error         // of the body, from which no more can be read; likewise
	ended     atomic.Bool
}

// exchange sends r and returns the answer. Again says that it may be tried on
// another connection, for this one was closed by the app before the request came.
func (t *Transport) exchange(c *conn, r *http.Request, over http.Header, interim func(int, http.Header)) (_ *http.Response, again bool, err error) {
	c.begin(t.maxHeader())
	x := &exchange{transport: t, conn: c, ctx: r.Context(), over: over}
	// Closing is what interrupts a read and a write. A connection on which this
	// was begun is not used again, so it can hit nobody else.
	x.unwatch = afterFunc(x.ctx, func() { _ = c.Close() })
	if !x.send(r) {
		return x.failed(r, true, nil)
	}
	if _, err := c.in.Peek(1); err != nil {
		return x.failed(r, true, err)
	}
	response, err := x.answer(r, interim)
	if err != nil {
		return x.failed(r, false, err)
	}
	reusable := !response.Close && response.StatusCode >= http.StatusOK
	if r.Method == http.MethodHead || response.ContentLength == 0 {
		x.finish(reusable)
		return response, false, nil
	}
	response.Body = &body{exchange: x, from: response.Body, reusable: reusable}
	return response, false, nil
}

// afterFunc is context.AfterFunc. A context that can do it by itself (package context
// knows of those too) does it for less.
func afterFunc(ctx context.Context, f func()) (stop func() bool) {
	if able, ok := ctx.(interface {
		AfterFunc(f func()) (stop func() bool)
	}); ok {
		return able.AfterFunc(f)
	}
	return context.AfterFunc(ctx, f)
}

func (t *Transport) maxHeader() int64 {
	if t.standard.MaxResponseHeaderBytes > 0 {
		return t.standard.MaxResponseHeaderBytes
	}
	return 10 << 20 // as net/http
}

// send writes the request. A body is written by a goroutine of its own, for the app
// may answer before it has come to its end. It returns false where no answer can
// come.
func (x *exchange) send(r *http.Request) bool {
	if !uploads(r) {
		x.sendErr = x.conn.send(r, x.over)
		return x.sendErr == nil || x.conn.mayAnswer()
	}
	x.sent = make(chan struct{})
	upload := &upload{ReadCloser: r.Body}
	r = r.WithContext(x.ctx)
	r.Body = upload
	go func() {
		defer close(x.sent)
		x.sendErr, x.uploadErr = x.conn.send(r, x.over), upload.err
		if x.sendErr != nil && !x.conn.mayAnswer() {
			_ = x.conn.Close()
		}
	}()
	return true
}

// answer reads the header of the final answer. 101 is final: nobody asked for it.
func (x *exchange) answer(r *http.Request, interim func(int, http.Header)) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(x.ctx)
	traced := trace != nil && trace.Got1xxResponse != nil
	for {
		response, err := http.ReadResponse(x.conn.in, r)
		if err != nil {
			return nil, err
		}
		status := response.StatusCode
		if status < 100 || status > 199 || status == http.StatusSwitchingProtocols {
			x.conn.left = math.MaxInt64 // a body may be of any length
			return response, nil
		}
		if interim != nil {
			interim(status, response.Header)
		}
		if traced {
			if err := trace.Got1xxResponse(status, textproto.MIMEHeader(response.Header)); err != nil {
				return nil, err
			}
		}
		if traced || interim != nil {
			x.conn.left = x.transport.maxHeader() // whoever sees them can bound their number
		}
	}
}

// failed ends an exchange that brought no answer, tells whether the request may be
// sent again, and names the cause that the other failures followed from. Silent is
// whether not a byte of an answer came; err is from reading it. A new connection had
// no reason to fail, and could do so for ever.
func (x *exchange) failed(r *http.Request, silent bool, err error) (_ *http.Response, again bool, _ error) {
	x.finish(false)
	if x.sent != nil {
		<-x.sent // the caller may touch the request once we return
	}
	switch {
	case x.ctx.Err() != nil:
		return nil, false, context.Cause(x.ctx)
	case x.uploadErr != nil:
		return nil, false, x.uploadErr
	case x.sendErr != nil:
		err = fmt.Errorf("send the request: %w", x.sendErr)
	default:
		err = fmt.Errorf("read the answer: %w", err)
	}
	unsent := x.sendErr != nil && x.conn.written == 0 && !uploads(r)
	return nil, silent && x.conn.used && (unsent || replayable(r, x.over)), err
}

// finish lets go of the connection. Read is whether the answer was read to its end
// and allows for another request.
func (x *exchange) finish(read bool) {
	if !x.ended.CompareAndSwap(false, true) {
		return
	}
	watched := x.unwatch()
	if watched && read && x.conn.drained() && x.wrote() {
		x.transport.idle.put(x.conn)
		return
	}
	_ = x.conn.Close()
}

// wrote tells whether the request is written to its end.
func (x *exchange) wrote() bool {
	if x.sent == nil {
		return x.sendErr == nil
	}
	select {
	case <-x.sent:
		return x.sendErr == nil
	default:
	}
	patience := time.NewTimer(uploadPatience)
	defer patience.Stop()
	select {
	case <-x.sent:
		return x.sendErr == nil
	case <-patience.C:
		return false
	}
}

// upload is the body of a request, and keeps the error of reading it.
type upload struct {
	io.ReadCloser

	err error
}

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		u.err = err
	}
	return n, err
}

var errClosedBody = errors.New("read of an answer's body that was closed")

// body is the body of an answer. Its end lets go of the connection.
type body struct {
	exchange *exchange
	from     io.Reader
	reusable bool

	mu  sync.Mutex
	err error // what every further Read returns
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.ended(nil); err != nil {
		return 0, err
	}
	n, err := b.from.Read(p)
	if err == nil {
		return n, nil
	}
	end := err == io.EOF //nolint:errorlint // net/http's bodies return it bare; a wrapped one is no end
	b.exchange.finish(end && b.reusable)
	if !end && b.exchange.ctx.Err() != nil {
		err = context.Cause(b.exchange.ctx)
	}
	return n, b.ended(err)
}

// Buffered returns how many bytes are here already, framing counted in.
func (b *body) Buffered() int {
	if b.ended(nil) != nil {
		return 0 // the connection may be another exchange's by now
	}
	return b.exchange.conn.in.Buffered()
}

// Close closes the connection where the answer has not come to its end. It may be
// called while a Read waits.
func (b *body) Close() error {
	_ = b.ended(errClosedBody)
	b.exchange.finish(false)
	return nil
}

// ended returns the error that the body ended with, which is err if it is the
// first.
func (b *body) ended(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	return b.err
}
