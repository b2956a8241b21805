package proxy

import (
	"errors"
	"io"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"
)

// exchange is an ordinary request: one answer, and the connection goes on as it was.
//
// The standard reverse proxy could carry it, and does carry the others. But it copies
// the request and its headers deeply, for rewriting that is not done here, and flushes
// every answer by itself where it is asked to hold nothing back, by a timer of its own.
// What it guards against is guarded against here too.
type exchange struct {
	forward

	w http.ResponseWriter
	// out is the request to the app, and url its target.
	out http.Request
	url url.URL

	// The app's interim answers may come while the final one is passed on already,
	// where the standard transport carries the request.
	mu       sync.Mutex
	answered bool
}

func (x *exchange) run() {
	out, over := x.request()
	if x.in.ContentLength != 0 {
		lent := &lentBody{ReadCloser: x.in.Body}
		defer lent.takeBack()
		out.Body = lent
	} else {
		out.Body = nil
	}
	forwardTrailers(x.in, out)
	response, err := x.proxy.http1.Send(out, over, x.interim)
	x.final()
	if err != nil {
		x.fail(x.w, out, err)
		return
	}
	defer func() { _ = response.Body.Close() }()
	for name := range hopByHop(response.Header) {
		delete(response.Header, name)
	}
	if err := x.modify(response); err != nil {
		x.fail(x.w, out, err)
		return
	}
	x.answer(response)
}

// request makes the request to the app, with the headers that stand in place of the
// client's. It shares the headers of the client's request, which others may be reading,
// and changes none.
func (x *exchange) request() (out *http.Request, over http.Header) {
	out = &x.out
	*out, x.url = *x.in, *x.in.URL // shallow copies
	out.URL, out.Close = &x.url, false
	over = make(http.Header, usualHeaders)
	for name := range hopByHop(x.in.Header) {
		over[name] = nil
	}
	if httpguts.HeaderValuesContainsToken(x.in.Header["Te"], "trailers") {
		over["Te"] = []string{"trailers"}
	}
	if _, told := x.in.Header["User-Agent"]; !told {
		over["User-Agent"] = nil // net/http would add its own
	}
	x.address(out, over)
	return out, over
}

// usualHeaders is how many headers the proxy has of its own as a rule: who asks, and what
// is asserted.
const usualHeaders = 8

// interim passes a 1xx answer on.
func (x *exchange) interim(status int, header http.Header) {
	x.proxy.dropCookies(header, x.Forwarding)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.answered {
		return
	}
	own := x.w.Header()
	addAll(own, header, "")
	x.w.WriteHeader(status)
	clear(own)
}

// final ends the time of interim answers.
func (x *exchange) final() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.answered = true
}

// answer passes the app's answer on.
func (x *exchange) answer(response *http.Response) {
	header := x.w.Header()
	addAll(header, response.Header, "")
	if _, typed := header["Content-Type"]; !typed {
		header["Content-Type"] = nil // else net/http would guess one
	}
	announced := len(response.Trailer)
	if announced > 0 {
		header.Add("Trailer", strings.Join(slices.Sorted(maps.Keys(response.Trailer)), ", "))
	}
	x.w.WriteHeader(response.StatusCode)
	if err := x.copyBody(response.Body); err != nil {
		x.proxy.log.Debug("An answer of the app was cut short", slog.String("cause", err.Error()))
		panic(http.ErrAbortHandler) // by nothing else would the client know
	}
	_ = response.Body.Close() // now it is known which trailers came
	if len(response.Trailer) > 0 {
		_ = http.NewResponseController(x.w).Flush() // of a body with a length, trailers would be dropped
	}
	prefix := ""
	if len(response.Trailer) != announced {
		prefix = http.TrailerPrefix
	}
	addAll(header, response.Trailer, prefix)
}

// addAll adds headers to those that are there. It shares the values of new ones.
func addAll(to, from http.Header, prefix string) {
	for name, values := range from {
		name = prefix + name
		if there, ok := to[name]; ok {
			values = append(there, values...)
		}
		to[name] = values
	}
}

// copyBody passes on what the app has written as soon as there is nothing more of it
// to be had without waiting.
func (x *exchange) copyBody(body io.Reader) error {
	if body == http.NoBody {
		return nil
	}
	buffer := x.proxy.buffers.Get()
	defer x.proxy.buffers.Put(buffer)
	for {
		if !waiting(body) {
			if err := http.NewResponseController(x.w).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
				return err
			}
		}
		n, err := body.Read(buffer)
		if n > 0 {
			if _, err := x.w.Write(buffer[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// waiting reports whether more of the body is here already.
func waiting(body io.Reader) bool {
	b, ok := body.(interface{ Buffered() int })
	return ok && b.Buffered() > 0
}

// hopByHop yields the headers that concern one connection only (RFC 9110, section 7.6.1).
func hopByHop(h http.Header) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, value := range h["Connection"] {
			for name := range strings.SplitSeq(value, ",") {
				name = http.CanonicalHeaderKey(strings.TrimSpace(name))
				if _, ok := h[name]; ok && !yield(name) {
					return
				}
			}
		}
		for _, name := range []string{
			"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
			"Te", "Trailer", "Transfer-Encoding", "Upgrade",
		} {
			if _, ok := h[name]; ok && !yield(name) {
				return
			}
		}
	}
}
