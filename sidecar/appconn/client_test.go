package appconn_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/appconn"
)

// ask is one request and what the client does with the answer.
type ask struct {
	method string
	header http.Header
	over   http.Header // stands in place of headers of the request
	body   func() io.Reader
	length int64 // of the body; -1 is chunked
	// breaksOff is where the body ends too early: how much of it the app sees is chance.
	breaksOff bool

	change   func(*http.Request) // of what the request would be otherwise
	ctx      func(context.Context) context.Context
	readOnly int  // bytes of the body to read before it is closed; 0 is all
	cancelAt int  // bytes of the body to read before the context ends
	settle   bool // waits first until the app has closed the connection of the request before, and the standard Transport knows
}

var (
	errUpload = errors.New("the client's upload broke off")
	errGone   = errors.New("the client is gone")
)

// outcome is what the client has of it.
type outcome struct {
	Err     string
	Status  string
	Header  http.Header
	Interim []string
	Length  int64
	Body    string
	BodyErr string
	Trailer http.Header
}

func kind(err error) string {
	switch {
	case err == nil, errors.Is(err, io.EOF) && err.Error() == "EOF":
		return ""
	case errors.Is(err, errUpload):
		return "upload"
	case errors.Is(err, errGone), errors.Is(err, context.Canceled):
		return "canceled"
	default:
		return "failed"
	}
}

// client is one of the two transports.
type client struct {
	http.RoundTripper

	own    bool
	dialed dialed
	close  func()
}

func newClient(a *app, own bool, changes ...func(*http.Transport)) *client {
	c := &client{own: own}
	standard := &http.Transport{
		DialContext: c.dialed.dial, MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute, DisableCompression: true,
		ReadBufferSize: 32 << 10, WriteBufferSize: 32 << 10,
	}
	for _, change := range changes {
		change(standard)
	}
	c.RoundTripper, c.close = standard, standard.CloseIdleConnections
	if own {
		t := appconn.New(a.url, standard)
		c.RoundTripper, c.close = t, t.CloseIdleConnections
	}
	return c
}

// do sends one request and describes the outcome.
func (c *client) do(t testing.TB, a *app, number int, q ask) (o outcome) {
	if q.settle {
		if conn := a.awaitClosed(strconv.Itoa(number - 1)); !c.own {
			c.dialed.awaitClosed(t, conn)
		}
	}
	ctx, end := context.WithCancelCause(t.Context())
	defer end(nil)
	finished := make(chan struct{})
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		select {
		case <-a.cancel:
			end(errGone)
		case <-finished:
		}
	}()
	defer func() {
		close(finished)
		<-watching
		tell(a.returned)
	}()
	var interim hints
	response, err := c.send(t, c.request(ctx, a, number, q, &interim), q.over)
	if err == nil || !errors.Is(err, errGone) {
		o.Interim = interim.all() // else there may be one more or less
	}
	if err != nil {
		o.Err = kind(err)
		if o.Err == "" {
			o.Err = "failed"
		}
		return o
	}
	tell(a.goOn)
	o.Status, o.Header, o.Length = response.Proto+" "+response.Status, response.Header, response.ContentLength
	defer func() { _ = response.Body.Close() }()
	var body bytes.Buffer
	defer func() { o.Body = brief("\r\n\r\n" + body.String()) }()
	switch {
	case q.readOnly > 0:
		_, err = io.CopyN(&body, response.Body, int64(q.readOnly))
	case q.cancelAt > 0:
		_, _ = io.CopyN(&body, response.Body, int64(q.cancelAt))
		end(errGone)
		_, err = io.Copy(io.Discard, response.Body)
	default:
		_, err = io.Copy(&body, response.Body)
	}
	o.BodyErr, o.Trailer = kind(err), response.Trailer
	return o
}

// send sends r with the headers in over, and sees that r keeps its own.
func (c *client) send(t testing.TB, r *http.Request, over http.Header) (*http.Response, error) {
	if own, ok := c.RoundTripper.(*appconn.Transport); ok && over != nil {
		before := r.Header.Clone()
		response, err := own.Send(r, over, nil)
		if diff := cmp.Diff(before, r.Header); diff != "" {
			t.Errorf("the headers of the request have changed:\n%s", diff)
		}
		return response, err
	}
	maps.Copy(r.Header, over)
	return c.RoundTrip(r)
}

// hints are the 1xx answers to a request.
type hints struct {
	mu   sync.Mutex
	seen []string
}

func (h *hints) add(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen = append(h.seen, text)
}

func (h *hints) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.seen)
}

func tell(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (c *client) request(ctx context.Context, a *app, number int, q ask, interim *hints) *http.Request {
	if q.ctx != nil {
		ctx = q.ctx(ctx)
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		interim.add(http.StatusText(code) + " " + h.Get("Link"))
		if h.Get("Link") == "refuse" {
			return errors.New("no more")
		}
		return nil
	}})
	r := (&http.Request{
		Method: q.method, URL: &url.URL{Scheme: "http", Host: a.url.Host, Path: "/" + strconv.Itoa(number), RawQuery: "a=b"}, Host: "app.test",
		Header: http.Header{"User-Agent": {"test"}, "Accept": {"*/*"}}, ContentLength: q.length,
	}).WithContext(ctx)
	maps.Copy(r.Header, q.header)
	if q.body != nil {
		r.Body = io.NopCloser(struct{ io.Reader }{q.body()})
	}
	if q.length < 0 {
		r.TransferEncoding = []string{"chunked"}
	}
	if q.change != nil {
		q.change(r)
	}
	return r
}

// dialed knows which connections the transport has closed.
type dialed struct {
	mu    sync.Mutex
	conns []*watched
}

type watched struct {
	*net.TCPConn

	once   sync.Once
	closed chan struct{}
}

func (w *watched) Close() error {
	w.once.Do(func() { close(w.closed) })
	return w.TCPConn.Close()
}

func (d *dialed) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if ctx.Value(blockedDial{}) != nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	w := &watched{TCPConn: c.(*net.TCPConn), closed: make(chan struct{})}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns = append(d.conns, w)
	return w, nil
}

type blockedDial struct{}

func (d *dialed) awaitClosed(t testing.TB, conn int) {
	d.mu.Lock()
	closed := d.conns[conn].closed
	d.mu.Unlock()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Errorf("connection %d is still open", conn)
	}
}

func (d *dialed) awaitAllClosed(t testing.TB) {
	d.mu.Lock()
	conns := len(d.conns)
	d.mu.Unlock()
	for conn := range conns {
		d.awaitClosed(t, conn)
	}
}
