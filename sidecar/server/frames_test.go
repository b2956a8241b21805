package server_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sallyport/sallyport/sidecar/server"
	"github.com/sallyport/sallyport/test/stack"
)

// frames are what a client sends over HTTP/2, in the clear and without asking first.
// In values "{with}" and "{without}" are alice's cookies with and without the factor,
// "{session}" and "{token}" those with it one by one, "{other}" is the session without
// it, and "{hidden}" a request of HTTP/1.1 for /hidden without it.
//
// want is what comes back for the first stream: a status, "reset" or "goaway" with the
// code. seen are the targets that reached the app whole. /held is not among them: its
// requests have nothing wrong before they are judged, so that time tells whether they
// reach the app.
var frames = []struct {
	name string
	send func(*framed)
	want string
	seen []string
}{
	{"one request", headers(front()), "200", []string{"/front"}},
	{"one request without the factor", headers(front().with("cookie", "{without}")), "401", nil},

	{"a name in upper case", headers(front("X-A", "b")), "reset PROTOCOL_ERROR", nil},
	{"a cookie in upper case", headers(front("Cookie", "{without}")), "reset PROTOCOL_ERROR", nil},
	{"a name with a blank", headers(front("x a", "b")), "reset PROTOCOL_ERROR", nil},
	{"a name with a colon", headers(front("x:a", "b")), "reset PROTOCOL_ERROR", nil},
	{"a name with CRLF", headers(front("x-a: b\r\ncookie", "{without}")), "reset PROTOCOL_ERROR", nil},
	{"an empty name", headers(front("", "b")), "reset PROTOCOL_ERROR", nil},
	{"a name beyond ASCII", headers(front("x\u00e9", "b")), "reset PROTOCOL_ERROR", nil},
	{"a value with CRLF", headers(front("x-a", "b\r\n\r\n{hidden}")), "reset PROTOCOL_ERROR", nil},
	{"a value with CR", headers(front("x-a", "b\rc")), "reset PROTOCOL_ERROR", nil},
	{"a value with LF", headers(front("x-a", "b\ntransfer-encoding: chunked")), "reset PROTOCOL_ERROR", nil},
	{"a value with NUL", headers(front("x-a", "b\x00c")), "reset PROTOCOL_ERROR", nil},

	{"connection", headers(front("connection", "cookie")), "400", nil},
	{"keep-alive", headers(front("keep-alive", "timeout=5")), "400", nil},
	{"proxy-connection", headers(front("proxy-connection", "keep-alive")), "400", nil},
	{"transfer-encoding", upload("0\r\n\r\n{hidden}", front("transfer-encoding", "chunked")), "400", nil},
	{"upgrade", headers(front("upgrade", "websocket")), "400", nil},
	{"te: gzip", headers(front("te", "gzip")), "400", nil},
	{"te: trailers, gzip", headers(front("te", "trailers, gzip")), "400", nil},
	{"te: trailers", headers(front("te", "trailers")), "200", []string{"/front"}},

	{"no :method", headers(front().without(":method")), "reset PROTOCOL_ERROR", nil},
	{"two :method", headers(fields(":method", "POST").and(front()...)), "reset PROTOCOL_ERROR", nil},
	{"a method with a request", headers(front().with(":method", "GET /hidden HTTP/1.1\r\nx:")), "reset PROTOCOL_ERROR", nil},
	{"a method with a blank", headers(front().with(":method", "GET /hidden")), "400", nil},
	{"no :scheme", headers(front().without(":scheme")), "reset PROTOCOL_ERROR", nil},
	{"an unknown :scheme", headers(front().with(":scheme", "ftp")), "reset PROTOCOL_ERROR", nil},
	{"no :path", headers(front().without(":path")), "reset PROTOCOL_ERROR", nil},
	{"two :path", headers(fields(":path", "/hidden").and(front()...)), "reset PROTOCOL_ERROR", nil},
	{"an empty :path", headers(front().with(":path", "")), "reset PROTOCOL_ERROR", nil},
	{"a :path without a slash", headers(front().with(":path", "front")), "reset PROTOCOL_ERROR", nil},
	{"a :path of an asterisk", headers(front().with(":path", "*")), "400", nil},
	{"a :path that is a whole address", headers(front().with(":path", "http://a/front")), "400", nil},
	{"a :path with a blank", headers(front().with(":path", "/hidden HTTP/1.1 x")), "400", nil},
	{"a :path with a version, hidden behind its chunks", upload("0\r\n\r\n{hidden}", front().with(":path", "/public/a?x HTTP/1.0")), "400", nil},
	{"a :path with CRLF", headers(front().with(":path", "/hidden HTTP/1.1\r\nx: y")), "reset PROTOCOL_ERROR", nil},
	{"a :path with DEL", headers(front().with(":path", "/front\x7f")), "reset PROTOCOL_ERROR", nil},
	{"a :path behind a header", headers(front().without(":path").and(fields(":path", "/front")...)), "reset PROTOCOL_ERROR", nil},
	{"an unknown pseudo header", headers(fields(":user", "alice").and(front()...)), "reset PROTOCOL_ERROR", nil},
	{"a pseudo header of answers", headers(fields(":status", "200").and(front()...)), "reset PROTOCOL_ERROR", nil},
	{"two :authority", headers(fields(":authority", "b").and(front()...)), "reset PROTOCOL_ERROR", nil},
	{"an :authority with a user", headers(front().with(":authority", "x@a")), "reset PROTOCOL_ERROR", nil},
	{"an :authority with a path", headers(front().with(":authority", "a/b")), "400", nil},
	{"an :authority with a blank", headers(front().with(":authority", "a b")), "400", nil},
	{"no host", headers(front().without(":authority")), "400", nil},
	{"host for :authority", headers(front("host", "a").without(":authority")), "200", []string{"/front"}},
	{"host like :authority", headers(front("host", "a")), "200", []string{"/front"}},
	{"host unlike :authority", headers(front("host", "b")), "400", nil},
	{"two hosts for :authority", headers(front("host", "a", "host", "b").without(":authority")), "400", nil},
	{"CONNECT", headers(front().with(":method", "CONNECT").without(":path").without(":scheme")), "405", nil},
	{"CONNECT with a path", headers(front().with(":method", "CONNECT")), "reset PROTOCOL_ERROR", nil},
	{"CONNECT for a WebSocket", headers(fields(":protocol", "websocket").and(front().with(":method", "CONNECT")...)), "reset PROTOCOL_ERROR", nil},
	{"TRACE", headers(front().with(":method", "TRACE")), "405", nil},

	{"a body of the length that it has", upload("hello", front("content-length", "5")), "200", []string{"/front"}},
	{"a length that is too small", upload("hello{hidden}", front("content-length", "5")), "reset PROTOCOL_ERROR", nil},
	{"a length of nothing, hidden in the body", upload("{hidden}", held("content-length", "0")), "reset PROTOCOL_ERROR", nil},
	{"a length that is too large", upload("hello", front("content-length", "500")), "400", nil},
	{"a length without a body", headers(front("content-length", "500")), "200", []string{"/front"}},
	{"two lengths", upload("hello", front("content-length", "5", "content-length", "50")), "200", []string{"/front"}},
	{"a length with a sign", upload("hello", held("content-length", "+5")), "reset PROTOCOL_ERROR", nil},
	{"hidden in the body", upload("{hidden}", front()), "200", []string{"/front"}},

	{"crumbs of a cookie", headers(front().without("cookie").and(fields("cookie", "{session}", "cookie", "{token}")...)), "200", []string{"/front"}},
	{"crumbs without the factor", headers(front().with("cookie", "{session}").and(fields("cookie", "b=c")...)), "401", nil},
	{"crumbs of two sessions", headers(front("cookie", "{other}")), "400", nil},
	{"crumbs of one session twice", headers(front("cookie", "{session}")), "400", nil},
	{"crumbs of two tokens", headers(front("cookie", "sallyport=b")), "401", nil},
	{"a crumb that opens a quote", headers(front("cookie", "{token}", "cookie", "{session}", "cookie", "b=\"").with("cookie", "a=\"")), "400", nil},
	{"trailers with cookies", trailers(front().with("cookie", "{without}"), fields("cookie", "{with}")), "401", nil},
	{"trailers that were announced", trailers(front("trailer", "x-sum, cookie, x-sallyport-verified"),
		fields("x-sum", "1", "cookie", "{without}", "x-sallyport-verified", "true")), "200", []string{"/front"}},
	{"trailers with a pseudo header", trailers(front(), fields(":path", "/hidden")), "reset PROTOCOL_ERROR", nil},

	{"DATA before HEADERS", func(c *framed) { c.data(1, "{hidden}") }, "goaway PROTOCOL_ERROR", nil},
	{"DATA on a stream that is idle", func(c *framed) { c.headers(1, false, front()); c.data(3, "{hidden}") }, "goaway PROTOCOL_ERROR", nil},
	{"DATA on a stream that is half closed", func(c *framed) { c.headers(1, true, held()); c.data(1, "{hidden}") }, "reset STREAM_CLOSED", nil},
	{"DATA on a stream that is closed", func(c *framed) {
		c.headers(1, true, front())
		_ = c.outcome(1)
		delete(c.outcomes, 1)
		c.data(1, "{hidden}")
	}, "reset STREAM_CLOSED", []string{"/front"}},
	{"DATA on stream 0", func(c *framed) { c.raw(http2.FrameData, 0, 0, "{hidden}") }, "goaway PROTOCOL_ERROR", nil},
	{"DATA with more padding than it has", func(c *framed) {
		c.headers(1, false, front())
		c.raw(http2.FrameData, http2.FlagDataPadded, 1, "\xffab")
	}, "goaway PROTOCOL_ERROR", nil},
	{"HEADERS on a stream of the server's", func(c *framed) { c.headers(2, true, front()) }, "goaway PROTOCOL_ERROR", nil},
	{"HEADERS on a stream that was passed over", func(c *framed) { c.headers(5, true, front().without(":path")); c.headers(3, true, front()) }, "goaway PROTOCOL_ERROR", nil},
	{"HEADERS that hpack cannot read", func(c *framed) {
		c.raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, 1, "\xff\xff\xff\xff\xff")
	}, "goaway COMPRESSION_ERROR", nil},
	{"CONTINUATION without HEADERS", func(c *framed) { c.raw(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1, c.block(front())) }, "goaway PROTOCOL_ERROR", nil},
	{"CONTINUATION on another stream", func(c *framed) {
		c.raw(http2.FrameHeaders, http2.FlagHeadersEndStream, 1, c.block(front()))
		c.raw(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 3, "")
	}, "goaway PROTOCOL_ERROR", nil},
	{"DATA between HEADERS and CONTINUATION", func(c *framed) {
		c.raw(http2.FrameHeaders, 0, 1, c.block(front()))
		c.data(1, "{hidden}")
	}, "goaway PROTOCOL_ERROR", nil},
	{"a cookie cut in two by CONTINUATION", func(c *framed) {
		block := c.block(front())
		c.raw(http2.FrameHeaders, http2.FlagHeadersEndStream, 1, block[:len(block)-9])
		c.raw(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1, block[len(block)-9:])
	}, "200", []string{"/front"}},
	{"a flood of empty CONTINUATIONs", func(c *framed) {
		c.raw(http2.FrameHeaders, http2.FlagHeadersEndStream, 1, c.block(front()))
		for range 10_000 {
			c.raw(http2.FrameContinuation, 0, 1, "")
		}
		c.raw(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1, "")
	}, "200", []string{"/front"}},
	{"a flood of CONTINUATIONs that are full", func(c *framed) {
		c.raw(http2.FrameHeaders, http2.FlagHeadersEndStream, 1, c.block(front()))
		for range 100 {
			c.raw(http2.FrameContinuation, 0, 1, c.block(fields("x-a", strings.Repeat("\x01", 8<<10))))
		}
	}, "goaway PROTOCOL_ERROR", nil},
	{"headers beyond the limit", headers(front(large("x-a", 5, 8<<10)...)), "431", nil},
	{"headers far beyond the limit by reference", headers(front(large("x-a", 3000, 2<<10)...)), "431", nil},
	{"PUSH_PROMISE of a client", func(c *framed) {
		c.headers(1, false, front())
		c.raw(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 1, "\x00\x00\x00\x02"+c.block(front().with(":path", "/hidden")))
	}, "goaway PROTOCOL_ERROR", nil},
	{"SETTINGS of an odd length", func(c *framed) { c.raw(http2.FrameSettings, 0, 0, "\x00\x04\x00\x00\x00") }, "goaway FRAME_SIZE_ERROR", nil},
	{"SETTINGS on a stream", func(c *framed) { c.raw(http2.FrameSettings, 0, 1, "") }, "goaway PROTOCOL_ERROR", nil},
	{"SETTINGS of a window beyond 31 bits", func(c *framed) { c.raw(http2.FrameSettings, 0, 0, "\x00\x04\xff\xff\xff\xff") }, "goaway FLOW_CONTROL_ERROR", nil},
	{"WINDOW_UPDATE of nothing", func(c *framed) { c.raw(http2.FrameWindowUpdate, 0, 0, "\x00\x00\x00\x00") }, "goaway PROTOCOL_ERROR", nil},
	{"WINDOW_UPDATE of nothing on a stream", func(c *framed) {
		c.headers(1, false, front())
		c.raw(http2.FrameWindowUpdate, 0, 1, "\x00\x00\x00\x00")
	}, "reset PROTOCOL_ERROR", nil},
	{"WINDOW_UPDATE beyond 31 bits", func(c *framed) { c.raw(http2.FrameWindowUpdate, 0, 0, "\x7f\xff\xff\xff") }, "goaway FLOW_CONTROL_ERROR", nil},
	{"RST_STREAM of a stream that is idle", func(c *framed) { c.raw(http2.FrameRSTStream, 0, 1, "\x00\x00\x00\x08") }, "goaway PROTOCOL_ERROR", nil},
	{"PING of an odd length", func(c *framed) { c.raw(http2.FramePing, 0, 0, "abc") }, "goaway FRAME_SIZE_ERROR", nil},
	{"a frame that is too large", func(c *framed) { c.raw(http2.FrameData, 0, 1, strings.Repeat("a", 1<<20+1)) }, "goaway FRAME_SIZE_ERROR", nil},
	{"a frame of an unknown kind", func(c *framed) { c.raw(0xbe, 0xff, 1, "{hidden}"); c.headers(1, true, front()) }, "200", []string{"/front"}},
	{"a flood of streams that are reset at once", func(c *framed) {
		for i := range uint32(1000) {
			c.headers(3+2*i, true, held())
			c.raw(http2.FrameRSTStream, 0, 3+2*i, "\x00\x00\x00\x08")
		}
		c.first = 2003
		c.headers(c.first, true, front())
	}, "200", []string{"/front"}},
}

// Whatever frames a client writes, the app gets the requests that were decided upon,
// as those of the user who was judged, and the next client is served. Where the fault
// is one stream's alone, so is the next stream.
func TestFramesOfHTTP2(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	late := alice.again()
	tapped := newTap(t, w.AppURL)
	door := w.another(func(o *server.Options) { o.App = tapped.url })
	w.office.behave(answerFrames(t))
	session, token, other := "session="+alice.Cookie("session"), "sallyport="+alice.Cookie("sallyport"), "session="+late.Cookie("session")
	fill := strings.NewReplacer("{with}", session+"; "+token, "{without}", other, "{session}", session, "{token}", token, "{other}", other,
		"{hidden}", "GET /hidden HTTP/1.1\r\nHost: a\r\nCookie: "+other+"\r\n\r\n")
	w.office.requests()
	for _, tc := range frames {
		t.Run(tc.name, func(t *testing.T) {
			want := tc.seen
			c := dialFramed(t, door.URL, fill)
			tc.send(c)
			if got := c.outcome(c.first); got != tc.want {
				t.Errorf("what came back is %s, want %s", got, tc.want)
			}
			if !strings.HasPrefix(tc.want, "goaway") {
				c.headers(c.first+100, true, front().with(":path", "/again"))
				if got := c.outcome(c.first + 100); got != "200" {
					t.Errorf("the next stream is answered %s", got)
				}
				want = append([]string{"/again"}, want...)
			}
			next := dialFramed(t, door.URL, fill)
			next.headers(1, true, front().with(":path", "/end"))
			if got := next.outcome(1); got != "200" {
				t.Errorf("the next connection is answered %s", got)
			}
			want = append([]string{"/end"}, want...)

			targets := slices.DeleteFunc(tapped.targets(t), func(target string) bool { return target == "/held" })
			slices.Sort(want)
			if diff := cmp.Diff(want, targets); diff != "" {
				t.Errorf("the app saw\n%s", diff)
			}
			for _, h := range w.office.requests() { // those that were cut short among them
				if h.User != "alice" || h.Header.Get("X-Sallyport-Verified") != "true" || strings.Contains(h.Target, "hidden") {
					t.Errorf("the app took %s %s for %q's, with %v", h.Method, h.Target, h.User, h.Header)
				}
			}
		})
	}
}

// answerFrames leaves answers to the office, but for /held: that waits until whoever asked
// has gone. It fails the test if a trailer comes that is not X-Sum.
func answerFrames(t *testing.T) func(http.ResponseWriter, *http.Request) bool {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		for name, values := range r.Trailer {
			if name != "X-Sum" {
				t.Errorf("the app got the trailer %s: %q", name, values)
			}
		}
		if r.URL.Path != "/held" {
			return false
		}
		<-r.Context().Done()
		return true
	}
}

// block is the list of headers of a request, or of its trailers.
type block []hpack.HeaderField

func fields(pairs ...string) block {
	var b block
	for pair := range slices.Chunk(pairs, 2) {
		b = append(b, hpack.HeaderField{Name: pair[0], Value: pair[1]})
	}
	return b
}

// front is a request for /front that passes, with more headers.
func front(more ...string) block {
	return fields(":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/front", "cookie", "{with}").and(fields(more...)...)
}

// held is a request that is answered by nothing but its end.
func held(more ...string) block { return front(more...).with(":path", "/held") }

// large is a header several times, as arguments for front.
func large(name string, times, size int) []string {
	var pairs []string
	for range times {
		pairs = append(pairs, name, strings.Repeat("a", size))
	}
	return pairs
}

// without is the block without a header.
func (b block) without(name string) block {
	return slices.DeleteFunc(slices.Clone(b), func(f hpack.HeaderField) bool { return f.Name == name })
}

// with is the block with another value of a header that it has.
func (b block) with(name, value string) block {
	b = slices.Clone(b)
	b[slices.IndexFunc(b, func(f hpack.HeaderField) bool { return f.Name == name })].Value = value
	return b
}

func (b block) and(more ...hpack.HeaderField) block { return slices.Concat(b, more) }

// headers sends a request without a body.
func headers(b block) func(*framed) {
	return func(c *framed) { c.headers(1, true, b) }
}

// upload sends a request with a body.
func upload(body string, b block) func(*framed) {
	return func(c *framed) {
		c.headers(1, false, b.with(":method", "POST"))
		c.end(1, body)
	}
}

// trailers sends a request with a body and trailers.
func trailers(b, end block) func(*framed) {
	return func(c *framed) {
		c.headers(1, false, b.with(":method", "POST"))
		c.data(1, "hello")
		c.headers(1, true, end)
	}
}

// framed is a connection of HTTP/2 on which frames are written by hand.
type framed struct {
	t    *testing.T
	fill *strings.Replacer
	// framer writes frames to out, and reads those that come back.
	framer  *http2.Framer
	out     *bufio.Writer
	packed  *bytes.Buffer
	encoder *hpack.Encoder
	// first is the stream by whose outcome the frames are judged.
	first uint32
	// outcomes of the streams that ended before they were asked for.
	outcomes map[uint32]string
	statuses map[uint32]string
}

// dialFramed opens a connection as a client does that knows its server.
func dialFramed(t *testing.T, base string, fill *strings.Replacer) *framed {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	out := bufio.NewWriter(conn)
	c := &framed{
		t: t, fill: fill, framer: http2.NewFramer(out, conn), out: out, packed: &bytes.Buffer{},
		first: 1, outcomes: map[uint32]string{}, statuses: map[uint32]string{},
	}
	c.encoder = hpack.NewEncoder(c.packed)
	c.framer.AllowIllegalWrites = true
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, _ = out.WriteString(http2.ClientPreface)
	_ = c.framer.WriteSettings()
	return c
}

// block packs headers.
func (c *framed) block(b block) string {
	c.packed.Reset()
	for _, f := range b {
		f.Value = c.fill.Replace(f.Value)
		_ = c.encoder.WriteField(f) // into memory
	}
	return c.packed.String()
}

// raw writes a frame of any kind.
func (c *framed) raw(kind http2.FrameType, flags http2.Flags, stream uint32, payload string) {
	_ = c.framer.WriteRawFrame(kind, flags, stream, []byte(c.fill.Replace(payload)))
}

// headers sends a block in as many frames as it takes.
func (c *framed) headers(stream uint32, last bool, b block) {
	var flags http2.Flags
	if last {
		flags = http2.FlagHeadersEndStream
	}
	const size = 16 << 10
	kind, packed := http2.FrameHeaders, c.block(b)
	for ; len(packed) > size; packed = packed[size:] {
		_ = c.framer.WriteRawFrame(kind, flags, stream, []byte(packed[:size]))
		kind, flags = http2.FrameContinuation, 0
	}
	_ = c.framer.WriteRawFrame(kind, flags|http2.FlagHeadersEndHeaders, stream, []byte(packed))
}

// data sends a part of a body, end the last one.
func (c *framed) data(stream uint32, body string) { c.raw(http2.FrameData, 0, stream, body) }

func (c *framed) end(stream uint32, body string) {
	c.raw(http2.FrameData, http2.FlagDataEndStream, stream, body)
}

// outcome reads until it is known what becomes of a stream: the status of its answer,
// the code of a reset, or that of the end of the connection.
func (c *framed) outcome(stream uint32) string {
	c.t.Helper()
	_ = c.out.Flush() // all at once; that the server has hung up is seen by what it said before
	for {
		if known, ok := c.outcomes[stream]; ok {
			return known
		}
		frame, err := c.framer.ReadFrame()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return "nothing"
		case err != nil:
			return fmt.Sprintf("an end: %v", err)
		}
		id := frame.Header().StreamID
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			if status := frame.PseudoValue("status"); status != "" {
				c.statuses[id] = status
			}
			c.ended(id, frame.StreamEnded())
		case *http2.DataFrame:
			c.ended(id, frame.StreamEnded())
		case *http2.RSTStreamFrame:
			if c.outcomes[id] == "" {
				c.outcomes[id] = "reset " + frame.ErrCode.String()
			}
		case *http2.GoAwayFrame:
			return "goaway " + frame.ErrCode.String()
		}
	}
}

func (c *framed) ended(stream uint32, ended bool) {
	if ended {
		c.outcomes[stream] = c.statuses[stream]
	}
}
