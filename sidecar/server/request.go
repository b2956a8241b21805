package server

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
)

// requestContext is the context of one request: the request can be cut, and spoken of.
// Most never are, so what an audit line says is made when one is written.
//
// It is a context of our own since each request that passes is watched for its end, by
// its connection to the app: with context.WithCancel, and context.AfterFunc on top of
// that, this would be a seventh of the memory that a request takes.
type requestContext struct {
	context.Context // of net/http: it ends when the client hangs up

	random    io.Reader
	client    string // address and port
	userAgent string

	once sync.Once
	id   string

	unwatch func() bool // the client

	mu    sync.Mutex
	err   error         // why it has ended
	ended chan struct{} // nil until somebody asks for it
	after []*waiter     // to be called once it has ended
	// Most requests have one waiter, which needs no memory of its own.
	first waiter
	place [1]*waiter
}

// waiter is called once the request has ended.
type waiter struct{ f func() }

type requestContextKey struct{}

// begin returns the request with its context, which must be released.
func begin(r *http.Request, random io.Reader) (*http.Request, *requestContext) {
	c := &requestContext{Context: r.Context(), random: random, client: r.RemoteAddr, userAgent: r.UserAgent()}
	c.after = c.place[:0]
	c.unwatch = context.AfterFunc(c.Context, func() { c.end(c.Context.Err()) })
	return r.WithContext(c), c
}

// release is for the request's end.
func (c *requestContext) release() {
	c.unwatch()
	c.end(context.Canceled)
}

func (c *requestContext) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	if c.ended != nil {
		close(c.ended)
	}
	for _, w := range c.after {
		go w.f()
	}
	c.after = nil
}

// Done implements context.Context.
func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = make(chan struct{})
		if c.err != nil {
			close(c.ended)
		}
	}
	return c.ended
}

// Err implements context.Context.
func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Value implements context.Context.
func (c *requestContext) Value(key any) any {
	if key == (requestContextKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// AfterFunc is context.AfterFunc for this context. Package context looks for it.
func (c *requestContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	w := &c.first
	if w.f != nil { // never used twice: who went could go again, in another's place
		w = new(waiter)
	}
	w.f = f
	c.after = append(c.after, w)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		at := slices.Index(c.after, w)
		if at < 0 {
			return false
		}
		c.after = slices.Delete(c.after, at, at+1)
		return true
	}
}

// cut ends a request that may no longer pass.
func cut(r *http.Request) {
	if c, ok := r.Context().Value(requestContextKey{}).(*requestContext); ok {
		c.end(context.Canceled)
	}
}

// isCut reports whether err comes from the end of the request whose context this is:
// the client hung up, or the request was cut.
func isCut(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, context.Canceled)
}

// requestInfo is what an audit line says about the request behind an event.
type requestInfo struct{ id, client, userAgent string }

func infoOf(ctx context.Context) requestInfo {
	c, ok := ctx.Value(requestContextKey{}).(*requestContext)
	if !ok {
		return requestInfo{}
	}
	c.once.Do(func() {
		var id [8]byte
		if _, err := io.ReadFull(c.random, id[:]); err == nil {
			c.id = hex.EncodeToString(id[:])
		}
	})
	info := requestInfo{id: c.id, client: c.client, userAgent: clip(c.userAgent)}
	if host, _, err := net.SplitHostPort(c.client); err == nil {
		info.client = host
	}
	return info
}

func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most]
	}
	return s
}
