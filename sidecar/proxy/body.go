package proxy

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

// fullDuplex lets the app answer while the upload is still under way. Otherwise
// net/http swallows what is left of an HTTP/1.1 upload before the answer may begin,
// while the app is still reading it. What it returns stands in for r; done is called
// at the end.
//
// The price: of an upload that the app did not care to read, net/http no longer
// knows by itself that it has to give the client time to read the answer before the
// connection is closed. So it is told.
func fullDuplex(w http.ResponseWriter, r *http.Request) (stand *http.Request, done func()) {
	if http.NewResponseController(w).EnableFullDuplex() != nil {
		return r, func() {} // not net/http's, and nothing to be told
	}
	body := &endingBody{ReadCloser: r.Body}
	stand = r.WithContext(r.Context())
	stand.Body = body
	return stand, func() {
		if !body.ended.Load() {
			abandon(w)
		}
	}
}

// abandon tells net/http that nobody reads the rest of the request, in the one way
// there is: a body that is found to be too long.
func abandon(w http.ResponseWriter) {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = wrapper.Unwrap()
	}
	tooLong := http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0)
	_, _ = tooLong.Read(make([]byte, 1))
}

// endingBody knows whether the body was read to its end.
type endingBody struct {
	io.ReadCloser

	ended atomic.Bool
}

func (b *endingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.ended.Store(true)
	}
	return n, err
}

// lentBody is the client's body while the app's transport reads it. The transport may
// close its own view of it, and may go on reading when the request is over; net/http
// allows for neither.
type lentBody struct {
	io.ReadCloser

	back atomic.Bool
}

var errTakenBack = errors.New("read of a request's body after the request was over")

func (b *lentBody) Read(p []byte) (int, error) {
	if b.back.Load() {
		return 0, errTakenBack
	}
	return b.ReadCloser.Read(p)
}

// Close takes the body from the transport, and leaves the client's open.
func (b *lentBody) Close() error {
	b.takeBack()
	return nil
}

func (b *lentBody) takeBack() { b.back.Store(true) }

// forwardTrailers sends on the trailers that the client announced and hygiene left.
// Others are not announced to the app either, so that it need not expect them.
func forwardTrailers(in, out *http.Request) {
	out.Trailer = nil
	if len(in.Trailer) == 0 || out.Body == nil {
		return
	}
	out.Trailer = make(http.Header, len(in.Trailer))
	for name := range in.Trailer {
		out.Trailer[name] = nil
	}
	out.Body = &trailingBody{ReadCloser: out.Body, in: in, out: out.Trailer}
}

// trailingBody copies the trailers once the body has ended; before, net/http does
// not have them.
type trailingBody struct {
	io.ReadCloser

	in  *http.Request
	out http.Header
}

func (b *trailingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		for name := range b.out {
			b.out[name] = b.in.Trailer[name]
		}
	}
	return n, err
}
