package server

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
)

// requestContext is the context of one request: the request can be cut, and spoken of.
// Most never are, so what an audit line says is made when one is written.
type requestContext struct {
	context.Context

	cancel    context.CancelFunc
	random    io.Reader
	client    string // address and port
	userAgent string

	once sync.Once
	id   string
}

type requestContextKey struct{}

// begin returns the request with its context. done is for its end.
func begin(r *http.Request, random io.Reader) (_ *http.Request, done func()) {
	ctx, cancel := context.WithCancel(r.Context())
	return r.WithContext(&requestContext{
		Context: ctx, cancel: cancel, random: random, client: r.RemoteAddr, userAgent: r.UserAgent(),
	}), cancel
}

// Value implements context.Context.
func (c *requestContext) Value(key any) any {
	if key == (requestContextKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// cut ends a request that may no longer pass.
func cut(r *http.Request) {
	if c, ok := r.Context().Value(requestContextKey{}).(*requestContext); ok {
		c.cancel()
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
