package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/proxy"
)

// heard is all that a client can tell of an answer.
type heard struct {
	Interim         []string
	Final           string
	Header, Trailer http.Header
	Body, Fault     string
}

// An ordinary exchange is not carried by the standard reverse proxy, and no client can
// tell.
func TestForwardAnswersAsTheReverseProxyWould(t *testing.T) {
	answers := map[string]string{
		"a length":              "HTTP/1.1 200 OK\nContent-Length: 5\nEtag: x\n\nhello",
		"chunks":                "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n",
		"until the end":         "HTTP/1.1 200 OK\n\nhello",
		"an old app":            "HTTP/1.0 200 OK\nContent-Length: 5\n\nhello",
		"nothing":               "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
		"no content":            "HTTP/1.1 204 No Content\nX-A: 1\n\n",
		"not modified":          "HTTP/1.1 304 Not Modified\nEtag: x\nContent-Length: 5\n\n",
		"a name of its own":     "HTTP/1.1 499 Weary\nContent-Length: 0\n\n",
		"many values":           "HTTP/1.1 200 OK\nContent-Length: 0\nVary: a\nVary: b\nSet-Cookie: a=1\nSet-Cookie: b=2\n\n",
		"one connection only":   "HTTP/1.1 200 OK\nContent-Length: 0\nConnection: X-Private, close\nX-Private: 1\nKeep-Alive: timeout=5\nProxy-Authenticate: Basic\nTe: x\nUpgrade: h2c\n\n",
		"interim answers":       "HTTP/1.1 103 Early Hints\nLink: </a.css>\n\nHTTP/1.1 102 Processing\n\nHTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
		"trailers":              "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nTrailer: X-Sum\n\n5\nhello\n0\nX-Sum: 9\n\n",
		"trailers by surprise":  "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n0\nX-Sum: 9\n\n",
		"trailers that did not": "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nTrailer: X-Sum\n\n5\nhello\n0\n\n",
		"trailers alone":        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nTrailer: X-Sum\n\n0\nX-Sum: 9\n\n",
		"less than promised":    "HTTP/1.1 200 OK\nContent-Length: 50\n\nhello",
		"chunks without an end": "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n",
		"another protocol":      "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: x\n\n",
		"no HTTP":               "hello\n\n",
		"no answer":             "",
	}
	requests := map[string]string{
		"GET":          "GET /x?a=b;c HTTP/1.1\nHost: app.example\nTe: trailers\nX-A: 1\n\n",
		"HEAD":         "HEAD / HTTP/1.1\nHost: app.example\nUser-Agent: x\n\n",
		"of HTTP/1.0":  "GET / HTTP/1.0\n\n",
		"for the last": "GET / HTTP/1.1\nHost: app.example\nConnection: close\n\n",
		"with a body":  "POST / HTTP/1.1\nHost: app.example\nContent-Length: 2\n\nhi",
	}
	for of, answer := range answers {
		for what, request := range requests {
			t.Run(what+", "+of, func(t *testing.T) {
				t.Parallel()
				// Without one the standard reverse proxy guesses a type now and then.
				typed := strings.Replace(answer, " 200 OK\n", " 200 OK\nContent-Type: text/x\n", 1)
				origin := appOfOneAnswer(t, typed)
				p := proxy.New(proxy.Config{App: origin, ErrorHandler: unreachable})
				t.Cleanup(p.Close)
				ours := serve(t, func(w http.ResponseWriter, r *http.Request) { p.Forward(w, r, proxy.Forwarding{}) })
				standard := serve(t, (&httputil.ReverseProxy{
					Rewrite: func(pr *httputil.ProxyRequest) {
						pr.SetURL(origin)
						pr.Out.Header.Set("X-Sallyport-Verified", "false")
					},
					FlushInterval: -1, ErrorHandler: unreachable,
					ModifyResponse: func(r *http.Response) error {
						if r.StatusCode == http.StatusSwitchingProtocols {
							return io.ErrUnexpectedEOF // nobody asked for it
						}
						return nil
					},
				}).ServeHTTP)
				want := hear(t, standard.Listener.Addr().String(), request)
				got := hear(t, ours.Listener.Addr().String(), request)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("the standard reverse proxy's answer (-), ours (+):\n%s", diff)
				}
			})
		}
	}
}

// What an answer is made of is for the app to say, or not.
func TestForwardGuessesNoContentType(t *testing.T) {
	for name, answer := range map[string]string{
		"a length": "HTTP/1.1 200 OK\nContent-Length: 6\n\n<html>",
		"chunks":   "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n6\n<html>\n0\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			p := proxy.New(proxy.Config{App: appOfOneAnswer(t, answer)})
			t.Cleanup(p.Close)
			front := serve(t, func(w http.ResponseWriter, r *http.Request) { p.Forward(w, r, proxy.Forwarding{}) })
			response := do(t, client(t, false), newRequest(t, http.MethodGet, front.URL, http.NoBody))
			if got, typed := response.Header["Content-Type"]; typed || read(t, response.Body) != "<html>" {
				t.Errorf("the answer is said to be %q", got)
			}
		})
	}
}

func unreachable(w http.ResponseWriter, _ *http.Request, _ error) {
	w.WriteHeader(http.StatusBadGateway)
}

// appOfOneAnswer reads a request's header, gives its answer and hangs up.
func appOfOneAnswer(t *testing.T, answer string) *url.URL {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(conn, strings.ReplaceAll(answer, "\n", "\r\n"))
			}()
		}
	}()
	return &url.URL{Scheme: "http", Host: l.Addr().String()}
}

func hear(t *testing.T, addr, request string) (h heard) {
	t.Helper()
	c := dial(t, addr)
	c.send(t, request)
	method, _, _ := strings.Cut(request, " ")
	for {
		response, err := http.ReadResponse(c.r, &http.Request{Method: method})
		if err != nil {
			h.Fault = err.Error()
			return h
		}
		line := fmt.Sprint(response.Proto, " ", response.Status)
		if response.StatusCode < http.StatusOK {
			h.Interim = append(h.Interim, fmt.Sprint(line, response.Header))
			continue
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		response.Header.Del("Date")
		if err != nil {
			h.Fault = err.Error()
		} else if method != http.MethodHead {
			response.Header.Del("Content-Length") // it was all of it, whether in chunks or not
		}
		h.Final, h.Header, h.Trailer, h.Body = line, response.Header, response.Trailer, string(body)
		return h
	}
}
