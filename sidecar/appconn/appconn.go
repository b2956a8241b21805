// Package appconn sends requests to one app in the same pod, over connections that
// it keeps. A request is written and its answer read where RoundTrip was called;
// net/http's Transport passes both through goroutines of the connection, which
// costs more than all else that a proxy does.
//
// The wire format is the standard library's: ReadResponse, and Request.Write but for
// requests without a body, whose heads are written here (see writeHead). What
// is not a plain exchange (an upgrade, Expect, trailers, TLS and more, see plain)
// goes to the standard Transport, with which all else has to agree: package tests
// send the same exchanges through both.
//
// A connection is used again only where the request was written to its end, the
// answer read to its end, and nothing more came. Where any of it is in doubt, the
// connection is closed: one byte too much would be the beginning of the next
// user's answer.
//
// It imports nothing of ours. It must never send a request twice that the standard
// Transport would send once.
package appconn

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"

	"golang.org/x/net/http/httpguts"
)

// Transport sends requests to one app. It is safe for concurrent use.
type Transport struct {
	host     string // as it stands in the URL of a request
	addr     string
	standard *http.Transport
	idle     idle
}

// New returns a Transport for the app at origin, with the settings of standard: how
// to dial, how many idle connections to keep and for how long (if either is not set,
// none), sizes of buffers and of answers' headers. Standard also takes the requests
// that are not plain; all of them, if origin is not http. What it alone knows must be
// off: a proxy, compression, a timeout of answers.
func New(origin *url.URL, standard *http.Transport) *Transport {
	port := origin.Port()
	if port == "" {
		port = "80"
	}
	return &Transport{
		host: origin.Host, addr: net.JoinHostPort(origin.Hostname(), port), standard: standard,
		idle: idle{limit: standard.MaxIdleConnsPerHost, timeout: standard.IdleConnTimeout},
	}
}

// CloseIdleConnections closes what is idle, and what becomes idle until the next
// request.
func (t *Transport) CloseIdleConnections() {
	t.idle.close()
	t.standard.CloseIdleConnections()
}

// RoundTrip implements http.RoundTripper. Of a client trace it serves
// Got1xxResponse.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) { return t.Send(r, nil, nil) }

// Send is RoundTrip with two differences. The headers in over stand in place of those of
// the same name in r.Header; without values, they leave it out. So r.Header can be shared
// with whoever only reads it, which spares a copy. And interim sees each 1xx answer first,
// and may change its header. Either may be nil.
//
// A body that the answer has tells by Buffered() int how much of it can be read without
// waiting, unless it came by the standard Transport.
func (t *Transport) Send(r *http.Request, over http.Header, interim func(status int, header http.Header)) (*http.Response, error) {
	if !t.plain(r, over) {
		return t.standard.RoundTrip(WithInterim(replaced(r, over), interim))
	}
	for {
		c, err := t.connection(r.Context())
		if err != nil {
			if r.Body != nil {
				_ = r.Body.Close()
			}
			return nil, err
		}
		response, again, err := t.exchange(c, r, over, interim)
		if !again {
			return response, err
		}
	}
}

// WithInterim returns r with a client trace by which interim sees each 1xx answer
// before traces that r already has. Interim may be nil.
func WithInterim(r *http.Request, interim func(status int, header http.Header)) *http.Request {
	if interim == nil {
		return r
	}
	trace := &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
		interim(status, http.Header(h))
		return nil
	}}
	return r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
}

// connection returns one that is idle, or a new one.
func (t *Transport) connection(ctx context.Context) (*conn, error) {
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		c := t.idle.take()
		if c == nil {
			break
		}
		if c.quiet() {
			return c, nil
		}
		_ = c.Close()
	}
	raw, err := t.standard.DialContext(ctx, "tcp", t.addr)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return newConn(raw, t.standard), nil
}

// replaced returns r with the headers in over.
func replaced(r *http.Request, over http.Header) *http.Request {
	if len(over) == 0 {
		return r
	}
	r = r.WithContext(r.Context())
	r.Header = maps.Clone(r.Header)
	maps.Copy(r.Header, over) // net/http writes nothing for a header without values
	return r
}

// plain tells whether r is an exchange that is the same here as with the standard
// Transport. In doubt it is not.
func (t *Transport) plain(r *http.Request, over http.Header) bool {
	if r.URL == nil || r.URL.Scheme != "http" || r.URL.Host != t.host || r.Header == nil {
		return false
	}
	if r.Cancel != nil { //nolint:staticcheck // deprecated, yet the standard Transport heeds it
		return false
	}
	// A body that can be had again would be sent again in some cases.
	if r.Close || r.GetBody != nil || len(r.Trailer) > 0 {
		return false
	}
	return plainFraming(r) && plainHeader(r.Header, over) && plainHeader(over, nil)
}

func plainFraming(r *http.Request) bool {
	var mayUpload bool
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions:
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		mayUpload = true
	default:
		return false
	}
	switch te := r.TransferEncoding; {
	case len(te) == 1 && te[0] == "chunked":
		return true
	case len(te) > 0:
		return false
	case uploads(r):
		// If neither method nor length tells of a body, net/http tries to read one, by a
		// goroutine that may outlast the request.
		return mayUpload || r.ContentLength > 0
	default:
		return r.ContentLength == 0 // else net/http has an error for it
	}
}

// plainHeader refuses headers that ask for more than one request and one answer,
// and those that may not be written at all: the standard Transport has the error. What
// is replaced does not count.
func plainHeader(h, over http.Header) bool {
	for name, values := range h {
		if _, ok := over[name]; ok {
			continue
		}
		if !httpguts.ValidHeaderFieldName(name) {
			return false
		}
		if len(values) == 0 {
			continue
		}
		switch name {
		case "Connection", "Expect", "Upgrade", "Trailer", "Transfer-Encoding":
			return false
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return false
			}
		}
	}
	return true
}

// replayable tells whether r may be sent again when the first time brought no
// answer, as net/http has it: the method changes nothing, or the client says so.
func replayable(r *http.Request, over http.Header) bool {
	if uploads(r) {
		return false
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	return named(r, over, "Idempotency-Key") || named(r, over, "X-Idempotency-Key")
}

// named tells whether r or over names a header, with values or without.
func named(r *http.Request, over http.Header, name string) bool {
	_, own := r.Header[name]
	_, replaced := over[name]
	return own || replaced
}

// uploads tells whether r has a body, of any length.
func uploads(r *http.Request) bool { return r.Body != nil && r.Body != http.NoBody }
