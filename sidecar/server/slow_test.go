package server_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/test/stack"
)

// Clients that send byte by byte what the app never gets are cut, and hold nobody
// up meanwhile.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	const slow = 50
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	late := alice.again()
	at, err := url.Parse(w.URL())
	if err != nil {
		t.Fatal(err)
	}
	_, fields := alice.Get(prefix).Form("/recovery-codes")
	const length = "\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 4000\r\n\r\n"
	begins := map[string]string{
		"headers":                         "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ",
		"a form of the sidecar's":         "POST " + prefix + "/recovery-codes HTTP/1.1\r\nHost: a\r\n" + alice.credentials() + length + fields.Encode() + "&x=",
		"a request that needs the factor": "POST /my HTTP/1.1\r\nHost: a\r\n" + late.credentials() + length,
		"a request that is malformed":     "POST /my HTTP/1.1\r\nHost: a\r\nConnection: Cookie" + length,
		"chunks of a refused request":     "POST /my HTTP/1.1\r\nHost: a\r\n" + late.credentials() + "\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n",
	}
	cut := make(chan string, slow*len(begins))
	for what, begin := range begins {
		for range slow {
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", at.Host)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			_, _ = io.WriteString(conn, begin)
			go func() {
				_, _ = io.Copy(io.Discard, conn)
				cut <- what
			}()
			go dribble(t, conn)
		}
	}
	begun, open := time.Now(), map[string]int{}
	for what := range begins {
		open[what] = slow
	}
	for left := slow * len(begins); left > 0; {
		asked := time.Now()
		wantStatus(t, alice.Get("/my"), http.StatusOK)
		if took := time.Since(asked); took > 3*time.Second {
			t.Errorf("somebody else waited %s", took)
		}
		select {
		case what := <-cut:
			left--
			open[what]--
		case <-time.After(20 * time.Millisecond):
			if time.Since(begun) > 25*time.Second {
				t.Fatalf("these are never cut: %v", open)
			}
		}
	}
}

// dribble sends a byte now and then, for as long as it may.
func dribble(t *testing.T, conn net.Conn) {
	for t.Context().Err() == nil {
		if _, err := io.WriteString(conn, "x"); err != nil {
			return
		}
		select {
		case <-t.Context().Done():
		case <-time.After(250 * time.Millisecond): // that it is slow is the attack
		}
	}
}

// An upload to the app may take as long as it takes.
func TestSlowUploadReachesTheApp(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	const size = 52
	_, _ = io.WriteString(conn, "PUT /file HTTP/1.1\r\nHost: a\r\n"+alice.credentials()+"\r\nContent-Length: "+strconv.Itoa(size)+"\r\n\r\n")
	for range size {
		_, _ = io.WriteString(conn, "x")
		<-time.After(250 * time.Millisecond) // longer in all than any bound on other bodies
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	seen := w.office.requests()
	if last := seen[len(seen)-1]; response.StatusCode != http.StatusOK || last.Body != strings.Repeat("x", size) {
		t.Errorf("answered %d, and the app saw %+v", response.StatusCode, last)
	}
}
