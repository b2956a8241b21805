package server_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/test/stack"
)

// A client that spoils its own upload is told so, and no outage of the app is logged.
func TestUploadThatTheClientSpoils(t *testing.T) {
	t.Parallel()
	const outage = "Could not reach the app"
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	upload := func(path, rest string) net.Conn {
		t.Helper()
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.URL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = io.WriteString(conn, "PUT "+path+" HTTP/1.1\r\nHost: a\r\n"+alice.credentials()+"\r\n"+rest)
		return conn
	}
	for name, rest := range map[string]string{
		"a chunk without a length":       "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
		"a chunk longer than its length": "Transfer-Encoding: chunked\r\n\r\n5\r\nhello, world\r\n0\r\n\r\n",
		"a line that ends in a bare LF":  "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
		// Trailers go by net/http's own transport.
		"a chunk without a length, and trailers": "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\nzz\r\n",
	} {
		for _, path := range []string{"/file", "/public/file"} {
			in := bufio.NewReader(upload(path, rest))
			response, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Errorf("%s, %s: %v", name, path, err)
				continue
			}
			var problem struct{ Code string }
			_ = json.NewDecoder(response.Body).Decode(&problem)
			_ = response.Body.Close()
			if response.StatusCode != http.StatusBadRequest || problem.Code != "malformed_body" {
				t.Errorf("%s, %s: answered %d, %q", name, path, response.StatusCode, problem.Code)
			}
			// What follows may be the rest of the body, and is no request.
			if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
				t.Errorf("%s, %s: behind the answer come %q, %v", name, path, rest, err)
			}
		}
	}
	// Whoever hangs up is told nothing.
	for _, rest := range []string{"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", "Content-Length: 9\r\n\r\nhello"} {
		conn, ok := upload("/file", rest).(*net.TCPConn)
		if !ok {
			t.Fatal("not TCP")
		}
		_ = conn.CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	}
	if log := w.Sidecars[0].Log.String(); strings.Contains(log, outage) {
		t.Errorf("an outage of the app is logged:\n%s", log)
	}

	// The control: the same upload, whole, to an app that fails.
	w.office.behave(aborts(false))
	wantProblemCode(t, alice.Fetch(http.MethodPut, "/file", strings.NewReader("hello")), "app_unavailable")
	if log := w.Sidecars[0].Log.String(); !strings.Contains(log, outage) {
		t.Error("no outage of the app is logged")
	}
}
