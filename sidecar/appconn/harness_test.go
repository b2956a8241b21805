package appconn_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/appconn"
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
	Text string // a long body is a hash
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

// awaitClosed waits until the app has closed the connections that it has now.
func (a *app) awaitClosed() {
	a.mu.Lock()
	conns := slices.Clone(a.conns)
	a.mu.Unlock()
	for _, closed := range conns {
		<-closed
	}
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
		a.seen[at].Text = brief(p.got.String())
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

func (p *peer) line() string {
	line, err := p.in.ReadString('\n')
	p.got.WriteString(line)
	p.closed = p.closed || err != nil
	return line
}

// readHead reads a request up to its body.
func readHead(p *peer) {
	for p.line() != "\r\n" && !p.closed {
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

// sayN says many bytes.
func sayN(n int) step {
	return func(p *peer) { _, _ = p.Write(bytes.Repeat([]byte("x"), n)) }
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

// ask is one request and what the client does with the answer.
type ask struct {
	method string
	header http.Header
	body   func() io.Reader
	length int64 // of the body; -1 is chunked

	ctx      func(context.Context) context.Context
	readOnly int  // bytes of the body to read before it is closed; 0 is all
	cancelAt int  // bytes of the body to read before the context ends
	settle   bool // waits first until the app has closed its connections, and the standard Transport knows
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

func newClient(a *app, own bool) *client {
	c := &client{own: own}
	standard := &http.Transport{
		DialContext: c.dialed.dial, MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute, DisableCompression: true,
		ReadBufferSize: 32 << 10, WriteBufferSize: 32 << 10,
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
		if a.awaitClosed(); !c.own {
			c.dialed.awaitClosed(t)
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
	response, err := c.RoundTrip(c.request(ctx, a, number, q, &interim))
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
	for name, values := range q.header {
		r.Header[name] = values
	}
	if q.body != nil {
		r.Body = io.NopCloser(struct{ io.Reader }{q.body()})
	}
	if q.length < 0 {
		r.TransferEncoding = []string{"chunked"}
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

func (d *dialed) awaitClosed(t testing.TB) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		select {
		case <-c.closed:
		case <-time.After(patience):
			t.Error("a connection is still open")
		}
	}
}
