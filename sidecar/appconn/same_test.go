package appconn_test

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// exchanges is a script that is played through both transports.
type exchanges struct {
	name string
	asks []ask
	app  [][]step
}

func get(n int) []ask {
	asks := make([]ask, n)
	for i := range asks {
		asks[i].method = http.MethodGet
	}
	return asks
}

func bytesOf(n int) func() io.Reader {
	return func() io.Reader { return bytes.NewReader(bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n]) }
}

// broken is a body that ends too early, with an error.
func broken(n int) func() io.Reader {
	return func() io.Reader { return io.MultiReader(bytesOf(n)(), failing{}) }
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errUpload }

// play sends the script's requests through one transport.
func play(t *testing.T, x exchanges, own bool) ([]outcome, []request) {
	t.Helper()
	a := newApp(t, x.app...)
	c := newClient(a, own)
	defer c.close()
	outcomes := make([]outcome, 0, len(x.asks))
	for number, q := range x.asks {
		outcomes = append(outcomes, c.do(t, a, number, q))
	}
	c.close()
	c.dialed.awaitAllClosed(t)
	return outcomes, a.finish()
}

func same(t *testing.T, x exchanges) ([]outcome, []request) {
	t.Helper()
	wantOutcomes, wantRequests := play(t, x, false)
	outcomes, requests := play(t, x, true)
	if diff := cmp.Diff(wantOutcomes, outcomes); diff != "" {
		t.Errorf("the client (-standard +own):\n%s", diff)
	}
	if diff := cmp.Diff(wantRequests, requests); diff != "" && !slices.ContainsFunc(x.asks, func(q ask) bool { return q.breaksOff }) {
		t.Errorf("the app (-standard +own):\n%s", diff)
	}
	return outcomes, requests
}

func TestAnswersAreTheStandardTransports(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"a length":                          ok,
		"no body":                           "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"chunks":                            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"chunks and announced trailers":     "HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
		"chunks and other trailers":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-U: 1\r\n\r\n",
		"empty chunks":                      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"204":                               "HTTP/1.1 204 No Content\r\n\r\n",
		"304 with a length":                 "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
		"Connection: close":                 "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0 with keep-alive":          "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0":                          "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"hints":                             "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n" + ok,
		"hints that the client refuses":     "HTTP/1.1 103 Early Hints\r\nLink: refuse\r\n\r\n" + ok,
		"100 that nobody asked for":         "HTTP/1.1 100 Continue\r\n\r\n" + ok,
		"two lengths, equal":                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
		"two lengths":                       "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
		"length and chunks":                 "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"gzip, chunked":                     "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"a negative length":                 "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
		"a bad chunk":                       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
		"a bad trailer":                     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nbad\r\n\r\n",
		"a chunk with a bare line feed":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n",
		"a bad status":                      "HTTP/1.1 2x0 OK\r\n\r\n",
		"no status":                         "HTTP/1.1\r\n\r\n",
		"a status of 099":                   "HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\nok",
		"a bad version":                     "HTTP/x 200 OK\r\n\r\n",
		"a header with a space in its name": "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
		"a header that goes on":             "HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
		"a header with a NUL":               "HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 2\r\n\r\nok",
		"something else":                    "SSH-2.0-OpenSSH_9.2\r\n",
		"64 KiB":                            "HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\nok" + strings.Repeat("x", 65534),
		"5 MiB in chunks":                   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("10000\r\n"+strings.Repeat("x", 65536)+"\r\n", 80) + "0\r\n\r\n",
		"a header of 11 MiB":                "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("x", 11<<20) + "\r\n\r\n",
		"hints of 11 MiB":                   strings.Repeat("HTTP/1.1 103 Early Hints\r\nX-A: "+strings.Repeat("x", 1<<20)+"\r\n\r\n", 11) + ok,
		"101 that nobody asked for":         "HTTP/1.1 101 Switching Protocols\r\n\r\n",
	}
	// After these, a client waits for more.
	waits := map[string]bool{"a chunk with a bare line feed": true, "a status of 099": true, "a header with a space in its name": true}
	for name, text := range answers {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			answer := text
			if method == http.MethodHead {
				answer = withoutBody(text)
			}
			t.Run(name+" to "+method, func(t *testing.T) {
				t.Parallel()
				if waits[name] {
					return
				}
				same(t, exchanges{asks: []ask{{method: method}, {method: method}}, app: [][]step{{read, say(answer)}}})
			})
			t.Run(name+" to "+method+", and the end", func(t *testing.T) {
				t.Parallel()
				same(t, exchanges{asks: []ask{{method: method}, {method: method, settle: true}}, app: [][]step{{read, say(answer), shut}}})
			})
		}
	}
}

func TestSlowAnswersAreTheStandardTransports(t *testing.T) {
	t.Parallel()
	same(t, exchanges{asks: get(3), app: [][]step{
		{read, slowly(ok)},
		{read, slowly("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n")},
	}})
}

// withoutBody takes the body off an answer to HEAD.
func withoutBody(text string) string {
	at := strings.LastIndex(text, "\r\n\r\nok")
	if at < 0 {
		if at = max(strings.Index(text, "\r\n\r\n2"), strings.Index(text, "\r\n\r\n1")); at < 0 {
			return text
		}
	}
	return text[:at+4]
}

func TestRequestsAreTheStandardTransports(t *testing.T) {
	t.Parallel()
	for name, q := range map[string]ask{
		"GET":                         {method: http.MethodGet},
		"HEAD":                        {method: http.MethodHead},
		"DELETE":                      {method: http.MethodDelete},
		"POST without a body":         {method: http.MethodPost},
		"POST of one byte":            {method: http.MethodPost, body: bytesOf(1), length: 1},
		"POST of 64 KiB":              {method: http.MethodPost, body: bytesOf(64 << 10), length: 64 << 10},
		"PUT of 5 MiB":                {method: http.MethodPut, body: bytesOf(5 << 20), length: 5 << 20},
		"GET with a body":             {method: http.MethodGet, body: bytesOf(5), length: 5},
		"no chunks":                   {method: http.MethodPost, body: bytesOf(0), length: -1},
		"a chunk":                     {method: http.MethodPost, body: bytesOf(1), length: -1},
		"chunks of 64 KiB":            {method: http.MethodPost, body: bytesOf(64 << 10), length: -1},
		"chunks of 5 MiB":             {method: http.MethodPatch, body: bytesOf(5 << 20), length: -1},
		"GET with chunks":             {method: http.MethodGet, body: bytesOf(5), length: -1},
		"a method of WebDAV":          {method: "PROPFIND", body: bytesOf(5), length: 5},
		"a bad method":                {method: "GE T"},
		"a body that breaks off":      {method: http.MethodPost, body: broken(5), length: 10, breaksOff: true},
		"chunks that break off":       {method: http.MethodPost, body: broken(5), length: -1, breaksOff: true},
		"a body that is too short":    {method: http.MethodPost, body: bytesOf(5), length: 10, breaksOff: true},
		"a length without a body":     {method: http.MethodPost, length: 10},
		"many headers":                {method: http.MethodGet, header: http.Header{"X-Big": {strings.Repeat("x", 100<<10)}, "Cookie": {"a=1", "b=2"}}},
		"a header with a line feed":   {method: http.MethodGet, header: http.Header{"X-A": {"a\nb: c"}}},
		"a header with a bad name":    {method: http.MethodGet, header: http.Header{"X A": {"a"}}},
		"Expect":                      {method: http.MethodPost, body: bytesOf(5), length: 5, header: http.Header{"Expect": {"100-continue"}}},
		"Connection: close":           {method: http.MethodGet, header: http.Header{"Connection": {"close"}}},
		"a Content-Length of its own": {method: http.MethodGet, header: http.Header{"Content-Length": {"7"}}},
		"a Transfer-Encoding":         {method: http.MethodGet, header: http.Header{"Transfer-Encoding": {"chunked"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := exchanges{asks: []ask{q, q}, app: [][]step{{read, say(ok)}}}
			if q.header["Expect"] != nil {
				x.app = [][]step{{readHead, say("HTTP/1.1 100 Continue\r\n\r\n"), func(p *peer) { _, _ = io.CopyN(io.Discard, p.in, 5) }, say(ok)}}
			}
			same(t, x)
		})
	}
}

func TestHeadsAreTheStandardTransports(t *testing.T) {
	t.Parallel()
	header := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = values }
	}
	host := func(host string) func(*http.Request) { return func(r *http.Request) { r.Host = host } }
	target := func(to url.URL) func(*http.Request) {
		return func(r *http.Request) {
			u := to
			u.Scheme, u.Host = r.URL.Scheme, r.URL.Host
			r.URL = &u
		}
	}
	for name, change := range map[string]func(*http.Request){
		"no host":                         host(""),
		"a host with a port":              host("app.test:8443"),
		"an address":                      host("[::1]:80"),
		"an address with a zone":          host("[fe80::1%25eth0]:80"),
		"a host beyond ASCII":             host("bücher.test"),
		"a host in capitals":              host("APP.test"),
		"a host with a blank":             host("app test"),
		"a host with a line feed":         host("app.test\r\nX-A: a"),
		"a host with a path":              host("app.test/a"),
		"a host that no name can be":      host("app.test|"),
		"no User-Agent":                   func(r *http.Request) { delete(r.Header, "User-Agent") },
		"a User-Agent that is nil":        header("User-Agent"),
		"an empty User-Agent":             header("User-Agent", ""),
		"a blank User-Agent":              header("User-Agent", "  "),
		"two User-Agents":                 header("User-Agent", "a", "b"),
		"a Host among the headers":        header("Host", "other.test"),
		"another Content-Length":          header("Content-Length", "7"),
		"blanks around a value":           header("X-A", " \t a b \t "),
		"an empty value":                  header("X-A", ""),
		"no values":                       header("X-A"),
		"many values":                     header("X-A", "b", "a", "b", " ", "c"),
		"a name in lower case":            header("x-a", "a"),
		"a name that is no token":         header("X-A:", "a"),
		"no name":                         header("", "a"),
		"a value beyond ASCII":            header("X-A", "\xe9 \u00e9"),
		"a value with a carriage return":  header("X-A", "a\rb"),
		"a value with a NUL":              header("X-A", "a\x00b"),
		"a value with a tab":              header("X-A", "a\tb"),
		"a value longer than the buffer":  header("X-A", strings.Repeat("x", 70<<10)),
		"a cookie in two headers":         header("Cookie", "a=1", "b=2"),
		"no path":                         target(url.URL{}),
		"a query alone":                   target(url.URL{RawQuery: "a=b"}),
		"an empty query":                  target(url.URL{Path: "/0", ForceQuery: true}),
		"a query that is not escaped":     target(url.URL{Path: "/0", RawQuery: "a=b|c\"d"}),
		"a query with a blank":            target(url.URL{Path: "/0", RawQuery: "a b"}),
		"a query with a line feed":        target(url.URL{Path: "/0", RawQuery: "a HTTP/1.1\r\nX-A: a"}),
		"a path to be escaped":            target(url.URL{Path: "/0 é\r\n?#"}),
		"a path that is escaped its way":  target(url.URL{Path: "/0/a/b", RawPath: "/0/a%2Fb"}),
		"a path without a slash":          target(url.URL{Path: "0"}),
		"two slashes":                     target(url.URL{Path: "//0/a"}),
		"a fragment":                      target(url.URL{Path: "/0", Fragment: "a"}),
		"an opaque path":                  target(url.URL{Opaque: "/0|a", RawQuery: "b"}),
		"an opaque path with a blank":     target(url.URL{Opaque: "/0 a"}),
		"an opaque path with a line feed": target(url.URL{Opaque: "/0\r\nX-A: a"}),
		"an opaque path beyond ASCII":     target(url.URL{Opaque: "/0é"}),
		"an opaque path with two slashes": target(url.URL{Opaque: "//other.test/0"}),
		"an opaque path of another kind":  target(url.URL{Opaque: "0"}),
		"an opaque path with a DEL":       target(url.URL{Opaque: "/0\x7f"}),
		"chunks of nothing":               func(r *http.Request) { r.TransferEncoding = []string{"chunked"} },
		"no chunks":                       func(r *http.Request) { r.TransferEncoding, r.Body = []string{"chunked"}, http.NoBody },
		"a length of nothing":             func(r *http.Request) { r.Body = http.NoBody },
		"everything at once": func(r *http.Request) {
			r.Host = "app.test:80"
			maps.Copy(r.Header, http.Header{
				"Accept-Encoding": {"gzip"}, "X-Forwarded-For": {"203.0.113.7, 127.0.0.1"}, "X-A": {"a", " b"}, "Content-Type": {"text/plain"},
			})
		},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions, http.MethodPost} {
			t.Run(name+" by "+method, func(t *testing.T) {
				t.Parallel()
				same(t, exchanges{asks: []ask{{method: method, change: change}}})
			})
		}
	}
}

func TestHeadersAreReplaced(t *testing.T) {
	t.Parallel()
	has := http.Header{"X-A": {"a"}, "X-B": {"b", "c"}}
	for name, q := range map[string]ask{
		"one":                           {header: has, over: http.Header{"X-B": {"d"}}},
		"by more":                       {header: has, over: http.Header{"X-A": {"c", "d"}}},
		"by none":                       {header: has, over: http.Header{"X-A": nil, "X-B": {}}},
		"all":                           {header: has, over: http.Header{"X-A": {"1"}, "X-B": {"2"}, "Accept": nil, "User-Agent": {"3"}}},
		"none that is there":            {header: has, over: http.Header{"X-C": {"d"}, "X-D": nil}},
		"the User-Agent, by none":       {over: http.Header{"User-Agent": nil}},
		"the User-Agent, by two":        {over: http.Header{"User-Agent": {"a", "b"}}},
		"a User-Agent that is not told": {header: http.Header{"User-Agent": nil}, over: http.Header{"User-Agent": {"a"}}},
		"in another case":               {header: has, over: http.Header{"x-a": {"d"}}},
		"a Content-Length":              {over: http.Header{"Content-Length": {"7"}}},
		"a Host":                        {header: http.Header{"Host": {"a"}}, over: http.Header{"Host": {"other.test"}}},
		"Connection, by none":           {header: http.Header{"Connection": {"close"}}, over: http.Header{"Connection": nil}},
		"Connection, by another":        {header: http.Header{"Connection": {"keep-alive"}}, over: http.Header{"Connection": {"close"}}},
		"Expect, by none":               {header: http.Header{"Expect": {"100-continue"}}, over: http.Header{"Expect": nil}},
		"a bad value":                   {header: http.Header{"X-A": {"a\nb: c"}}, over: http.Header{"X-A": {"a"}}},
		"by a bad value":                {header: has, over: http.Header{"X-A": {"a\nb: c"}}},
		"by a bad name":                 {header: has, over: http.Header{"X A": {"a"}}},
		"a bad name, by none":           {header: http.Header{"X A": {"a"}}, over: http.Header{"X A": nil}},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut} {
			t.Run(name+" by "+method, func(t *testing.T) {
				t.Parallel()
				q := q
				q.method = method
				if method == http.MethodPut {
					q.body, q.length = bytesOf(5), 5
				}
				same(t, exchanges{asks: []ask{q}})
			})
		}
	}
}

func TestContextsAreHeededAsByTheStandardTransport(t *testing.T) {
	t.Parallel()
	dead := func(ctx context.Context) context.Context {
		ctx, end := context.WithCancelCause(ctx)
		end(errGone)
		return ctx
	}
	dialing := func(ctx context.Context) context.Context {
		ctx, end := context.WithCancelCause(context.WithValue(ctx, blockedDial{}, true))
		context.AfterFunc(ctx, func() {})
		go end(errGone)
		return ctx
	}
	post := func(n int) ask { return ask{method: http.MethodPost, body: bytesOf(n), length: int64(n)} }
	for _, x := range []exchanges{
		{name: "over before it begins", asks: []ask{{method: http.MethodGet, ctx: dead}}},
		{name: "while dialing", asks: []ask{{method: http.MethodGet, ctx: dialing}}},
		{name: "while the body is written", asks: []ask{post(64 << 20)}, app: [][]step{{readHead, cancel, untilReturn}}},
		{name: "while the answer is awaited", asks: get(1), app: [][]step{{read, cancel, untilReturn}}},
		{name: "in the middle of the header", asks: get(1), app: [][]step{{read, say("HTTP/1.1 200 OK\r\nX-A"), cancel, untilReturn}}},
		{name: "after hints", asks: get(1), app: [][]step{{read, say("HTTP/1.1 103 Early Hints\r\n\r\n"), cancel, untilReturn}}},
		{name: "in the middle of the body", asks: []ask{{method: http.MethodGet, cancelAt: 2}}, app: [][]step{{read, say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), untilReturn}}},
		{name: "in the middle of chunks", asks: []ask{{method: http.MethodGet, cancelAt: 2}}, app: [][]step{{read, say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"), untilReturn}}},
		{name: "in the middle of what the end delimits", asks: []ask{{method: http.MethodGet, cancelAt: 2}}, app: [][]step{{read, say("HTTP/1.1 200 OK\r\n\r\nok"), untilReturn}}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			x.asks = append(x.asks, ask{method: http.MethodGet})
			outcomes, _ := same(t, x)
			if got := outcomes[0].Err + outcomes[0].BodyErr; got != "canceled" {
				t.Errorf("the outcome is %q", got)
			}
			if got := outcomes[1].Body; !strings.HasSuffix(got, "more") {
				t.Errorf("the next request got %q", got)
			}
		})
	}
}
