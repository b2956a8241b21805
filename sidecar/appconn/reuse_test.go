package appconn_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// On a connection that the app drops, the request is sent again where the standard
// Transport does so, and never else.
func TestRequestsAreRepeatedAsByTheStandardTransport(t *testing.T) {
	t.Parallel()
	first := ask{method: http.MethodGet}
	keyed := http.Header{"Idempotency-Key": {"1"}}
	for name, second := range map[string]ask{
		"GET":                                  {method: http.MethodGet},
		"HEAD":                                 {method: http.MethodHead},
		"OPTIONS":                              {method: http.MethodOptions},
		"DELETE":                               {method: http.MethodDelete},
		"PUT":                                  {method: http.MethodPut},
		"POST":                                 {method: http.MethodPost},
		"POST with a key":                      {method: http.MethodPost, header: keyed},
		"POST with a key and a body":           {method: http.MethodPost, header: keyed, body: bytesOf(5), length: 5},
		"POST with a body":                     {method: http.MethodPost, body: bytesOf(5), length: 5},
		"POST with chunks":                     {method: http.MethodPost, body: bytesOf(5), length: -1},
		"GET with a body":                      {method: http.MethodGet, body: bytesOf(5), length: 5},
		"POST with a key of ours":              {method: http.MethodPost, over: keyed},
		"POST whose key is left out":           {method: http.MethodPost, header: keyed, over: http.Header{"Idempotency-Key": nil}},
		"POST with another key, without value": {method: http.MethodPost, header: http.Header{"X-Idempotency-Key": {}}},
	} {
		for what, end := range map[string][]step{
			"closes":                            {read, shut},
			"resets":                            {read, reset},
			"closes after a part of the header": {read, say("HTTP/1.1 200 OK\r\nX-"), shut},
			"closes after one byte":             {read, say("H"), shut},
			"closes after hints":                {read, say("HTTP/1.1 103 Early Hints\r\n\r\n"), shut},
		} {
			t.Run(name+" when the app "+what, func(t *testing.T) {
				t.Parallel()
				_, requests := same(t, exchanges{asks: []ask{first, second, first}, app: [][]step{{read, say(ok)}, end}})
				if second.method == http.MethodPost && second.header == nil && second.over == nil && count(requests, "1") != 1 {
					t.Errorf("the POST came %d times", count(requests, "1"))
				}
				_, requests = same(t, exchanges{asks: []ask{second}, app: [][]step{end}})
				if count(requests, "0") != 1 {
					t.Errorf("on a new connection the request came %d times", count(requests, "0"))
				}
			})
		}
		for what, last := range map[string]step{"closed": shut, "reset": reset} {
			t.Run(name+" after the app "+what, func(t *testing.T) {
				t.Parallel()
				settled := second
				settled.settle = true
				outcomes, requests := same(t, exchanges{asks: []ask{first, settled}, app: [][]step{{read, say(ok), last}}})
				if outcomes[1].Err != "" || count(requests, "1") != 1 {
					t.Errorf("%s, and the request came %d times", outcomes[1].Err, count(requests, "1"))
				}
			})
		}
	}
}

func count(requests []request, number string) (n int) {
	for _, r := range requests {
		if r.Number == number {
			n++
		}
	}
	return n
}

// An app may answer before it has the whole request.
func TestEarlyAnswersAreTheStandardTransports(t *testing.T) {
	t.Parallel()
	big := ask{method: http.MethodPost, body: bytesOf(1 << 20), length: 1 << 20}
	next := ask{method: http.MethodGet}
	never, last := io.Pipe()
	t.Cleanup(func() { _ = last.Close() })
	stuck := ask{method: http.MethodPost, body: func() io.Reader { return never }, length: -1}
	for name, x := range map[string]exchanges{
		"and then read it": {
			asks: []ask{big, next},
			app:  [][]step{{readHead, say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok"), untilHeader, readN(1 << 20), say("ok")}},
		},
		"in chunks, and read it meanwhile": {
			asks: []ask{big, next},
			app: [][]step{{
				readHead, say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"), untilHeader,
				readN(1 << 19), say("2\r\nok\r\n"), readN(1 << 19), say("0\r\n\r\n"),
			}},
		},
		"and not read it": {
			asks: []ask{stuck, next},
			app:  [][]step{{readHead, say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno"), untilReturn}},
		},
		"and not read it, and stay": {
			asks: []ask{stuck, next},
			app:  [][]step{{readHead, say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")}},
		},
		"without a body, and not read it": {
			asks: []ask{stuck, next},
			app:  [][]step{{readHead, say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"), untilReturn}},
		},
		"and close": {
			asks: []ask{stuck, next},
			app:  [][]step{{readHead, say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"), shut}},
		},
		"and send nothing more": {
			asks: []ask{big, next},
			app:  [][]step{{readHead, say(ok), halfClose, untilHeader, readN(1 << 20), shut}},
		},
		"and only half of it": {
			asks: []ask{big, next},
			app:  [][]step{{readHead, say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok"), untilHeader, readN(1 << 20), shut}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x.asks[1].settle = strings.Contains(name, "close") || strings.Contains(name, "nothing more")
			same(t, x)
		})
	}
}

// What an app has said too much never becomes another request's answer. (The
// standard Transport closes such a connection as well, as soon as it sees it.)
func TestBytesAfterAnAnswerBelongToNobody(t *testing.T) {
	t.Parallel()
	const forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
	for name, q := range map[string]struct {
		method string
		steps  []step
	}{
		"with the answer":             {http.MethodGet, []step{read, say(ok + forged)}},
		"with chunks":                 {http.MethodGet, []step{read, say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + forged)}},
		"later":                       {http.MethodGet, []step{read, say(ok), afterReturn, say(forged)}},
		"one byte, later":             {http.MethodGet, []step{read, say(ok), afterReturn, say("H")}},
		"a body after HEAD":           {http.MethodHead, []step{read, say("HTTP/1.1 200 OK\r\nContent-Length: 48\r\n\r\n" + forged)}},
		"a body after 204":            {http.MethodGet, []step{read, say("HTTP/1.1 204 No Content\r\nContent-Length: 48\r\n\r\n" + forged)}},
		"a body after 304":            {http.MethodGet, []step{read, say("HTTP/1.1 304 Not Modified\r\nContent-Length: 48\r\n\r\n" + forged)}},
		"a second answer after none":  {http.MethodGet, []step{read, say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + forged)}},
		"after more chunks, and more": {http.MethodGet, []step{read, say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + forged + forged)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said := make(chan struct{})
			a := newApp(t, append(q.steps, func(*peer) { close(said) }))
			c := newClient(a, true)
			defer c.close()
			if first := c.do(t, a, 0, ask{method: q.method}); first.Err != "" {
				t.Fatal(first.Err)
			}
			<-said
			second := c.do(t, a, 1, ask{method: http.MethodPost, body: bytesOf(5), length: 5})
			if diff := cmp.Diff("\r\n\r\nmore", second.Body); diff != "" {
				t.Error(diff)
			}
			c.close()
			if requests := a.finish(); requests[len(requests)-1].Conn != 1 || count(requests, "1") != 1 {
				t.Errorf("the app saw %v", requests)
			}
		})
	}
}

// afterReturn waits until the client is through.
func afterReturn(p *peer) { wait(p.app.returned) }

// A connection whose answer was not read to its end is closed.
func TestAnUnreadAnswerClosesItsConnection(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"length": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnine byte",
		"chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nnine byte\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, requests := same(t, exchanges{asks: []ask{{method: http.MethodGet, readOnly: 4}, {method: http.MethodGet}}, app: [][]step{{read, say(text)}}})
			if requests[1].Conn != 1 {
				t.Error("the connection was used again")
			}
		})
	}
}

func TestBodyCloseInterruptsARead(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	a := newApp(t, []step{read, say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), func(p *peer) {
		_, err := p.in.ReadByte()
		ended <- err
		p.closed = true
	}})
	c := newClient(a, true)
	var interim hints
	response, err := c.RoundTrip(c.request(t.Context(), a, 0, ask{method: http.MethodGet}, &interim))
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() {
		_, err := response.Body.Read(make([]byte, 9))
		failed <- err
	}()
	_ = response.Body.Close()
	if err := <-ended; errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection stayed open")
	}
	if err := <-failed; err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the read ended with %v", err)
	}
	if _, err := response.Body.Read(make([]byte, 9)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a read after it ended with %v", err)
	}
}

// The end of a request's context after its answer was read is nobody's business.
func TestALateEndOfAContextHitsNobody(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	c := newClient(a, true)
	defer c.close()
	for i := range 200 {
		// Do ends the context after the body was read.
		if o := c.do(t, a, i%10, ask{method: http.MethodPost, body: bytesOf(5), length: 5}); o.Err+o.BodyErr != "" || !strings.HasSuffix(o.Body, "more") {
			t.Fatalf("request %d got %+v", i, o)
		}
	}
	if len(c.dialed.conns) != 1 {
		t.Errorf("%d connections were made", len(c.dialed.conns))
	}
}

func TestManyRequestsGetTheirOwnAnswers(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	c := newClient(a, true)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for range 50 {
				q := ask{method: http.MethodGet}
				if i%2 == 0 {
					q = ask{method: http.MethodPost, body: bytesOf(i), length: -1}
				}
				if i%4 == 0 {
					q.readOnly = 2
				}
				if o := c.do(t, a, i%10, q); o.Err+o.BodyErr != "" {
					t.Errorf("got %+v", o)
				}
			}
		})
	}
	all.Wait()
	c.close()
	c.dialed.awaitAllClosed(t)
}

// No goroutine and no connection outlasts the requests.
func TestNothingIsLeftBehind(t *testing.T) {
	for _, x := range []exchanges{
		{asks: get(2)},
		{asks: get(1), app: [][]step{{read, say(ok), shut}}},
		{asks: get(1), app: [][]step{{read, shut}}},
		{asks: []ask{{method: http.MethodPost, body: bytesOf(1 << 20), length: 1 << 20}}, app: [][]step{{readHead, reset}}},
		{asks: []ask{{method: http.MethodGet, cancelAt: 1}}, app: [][]step{{read, say("HTTP/1.1 200 OK\r\n\r\nok"), untilReturn}}},
		{asks: []ask{{method: http.MethodPost, body: bytesOf(64 << 20), length: 64 << 20}}, app: [][]step{{readHead, cancel, untilReturn}}},
	} {
		play(t, x, true)
	}
	for end := time.Now().Add(patience); ; runtime.Gosched() {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if !bytes.Contains(stacks, []byte("sidecar/appconn.")) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("still there:\n%s", stacks)
		}
	}
}
