package appconn_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"
)

// Whatever an app answers, the outcome is the one of the standard Transport, and
// the next request gets its own answer.
func FuzzAnswers(f *testing.F) {
	for _, answer := range []string{
		ok, ok + ok,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok,
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 304 Not Modified\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: a\r\n\r\nraw",
		"HTTP/1.1 200 OK\r\n\r\nto the end",
		"H", "",
	} {
		for method := range byte(4) {
			f.Add(method, uint16(5), false, []byte(answer))
			f.Add(method, uint16(0), true, []byte(answer))
		}
	}
	f.Fuzz(func(t *testing.T, method byte, length uint16, chunked bool, answer []byte) {
		q := ask{method: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut}[method%4]}
		if length > 0 || chunked {
			q.body, q.length = bytesOf(int(length)), int64(length)
		}
		if chunked {
			q.length = -1
		}
		next := ask{method: http.MethodPost, body: bytesOf(3), length: 3, settle: true}
		if !switches(q.method, answer) {
			same(t, exchanges{asks: []ask{{method: http.MethodGet}, q, next}, app: [][]step{{read, say(ok)}, {read, say(string(answer)), shut}}})
		}
		if complete, _ := parse(q.method, answer); !complete {
			return
		}
		said := make(chan struct{})
		a := newApp(t, []step{read, say(string(answer)), func(*peer) { close(said) }})
		c := newClient(a, true)
		defer c.close()
		c.do(t, a, 0, q)
		<-said
		if second := c.do(t, a, 1, ask{method: http.MethodGet}); second.Body != "\r\n\r\nmore" {
			t.Errorf("the next request got %+v", second)
		}
	})
}

// Whatever stands in a request without a body, the app gets what the standard Transport
// would send it, or nothing where that would send nothing.
func FuzzHeads(f *testing.F) {
	for _, seed := range []struct{ host, opaque, path, query, name, value, agent string }{
		{host: "app.test", path: "/0", query: "a=b", name: "X-A", value: "a", agent: "test"},
		{host: "[fe80::1%25eth0]:80", opaque: "/0|a", query: "b|c", name: "Cookie", value: "a=1; b=2"},
		{host: "bücher.test", path: "/0 é", name: "Content-Length", value: "7", agent: " test "},
		{host: "a\r\nb: c", opaque: "//other.test/0", name: "Host", value: "other.test"},
		{opaque: "/0 HTTP/1.1\r\nX-B: b", name: "X A", value: " a\tb\r\nc ", agent: "a\x00"},
		{host: "app.test", path: "0", query: "a b", name: "Transfer-Encoding", value: "chunked"},
	} {
		for method := range byte(5) {
			f.Add(method, seed.host, seed.opaque, seed.path, seed.query, seed.name, seed.value, seed.agent)
		}
	}
	methods := []string{http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions, http.MethodPost}
	f.Fuzz(func(t *testing.T, method byte, host, opaque, path, query, name, value, agent string) {
		over := http.Header{"X-A": {value}}
		if len(value)%2 == 0 {
			over[name] = nil
		}
		same(t, exchanges{asks: []ask{{method: methods[int(method)%len(methods)], over: over, change: func(r *http.Request) {
			r.Host, r.URL.Opaque, r.URL.Path, r.URL.RawQuery = host, opaque, path, query
			r.Header["User-Agent"] = []string{agent}
			r.Header[name] = append(r.Header[name], value, value)
		}}}})
	})
}

// parse tells whether a client that reads an answer comes to its end, or finds a
// fault, without what may follow it.
func parse(method string, answer []byte) (complete bool, status int) {
	var rest more
	in := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(answer), &rest), 1<<20)
	for {
		response, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return !rest.asked, 0
		}
		if status = response.StatusCode; status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
			continue
		}
		_, _ = io.Copy(io.Discard, response.Body)
		return !rest.asked, status
	}
}

// more has no more.
type more struct{ asked bool }

func (m *more) Read([]byte) (int, error) {
	m.asked = true
	return 0, io.ErrUnexpectedEOF
}

// switches tells whether the answer is 101. Its raw bytes are nobody's here, while
// the standard Transport would hand them out.
func switches(method string, answer []byte) bool {
	_, status := parse(method, answer)
	return status == http.StatusSwitchingProtocols
}
