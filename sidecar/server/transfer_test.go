package server_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sallyport/sallyport/cmd/workspace/portal"
	"github.com/sallyport/sallyport/test/stack"
)

// The demo app's streams, uploads and downloads, from behind the door.
func TestStreamsOfTheDemoApp(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.enrolled("alice")

	conn, _, err := websocket.Dial(t.Context(), alice.Base+"/ws/echo-chat", &websocket.DialOptions{HTTPClient: alice.Client})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	s := &stream{ws: conn}
	for _, message := range []string{"hello", strings.Repeat("x", 30_000), "ü"} {
		if err := s.echo(t, message); err != nil {
			t.Fatal(err)
		}
	}

	events := alice.open(t, "/events/clock")
	alice.SignOut()
	events.wantEnd(t, "after signing out")
	if _, _, err := conn.Read(t.Context()); err == nil {
		t.Error("after signing out, the chat goes on")
	}
}

func TestLargeTransfers(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{})
	alice := w.enrolled("alice")
	const size = 8 << 20
	want := sha256.New()
	if _, err := io.Copy(want, portal.NewPattern(size)); err != nil {
		t.Fatal(err)
	}

	response, err := alice.Client.Do(alice.Request(http.MethodGet, fmt.Sprintf("/my/download/large?size=%d", size>>20), nil))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got := sha256.New()
	if n, err := io.Copy(got, response.Body); err != nil || n != size || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Errorf("the download of %d bytes: %d, %v", size, n, err)
	}

	reader, writer := io.Pipe()
	parts := multipart.NewWriter(writer)
	go func() {
		part, err := parts.CreateFormFile("file", "pattern.bin")
		if err == nil {
			_, err = io.Copy(part, portal.NewPattern(size))
		}
		if err == nil {
			err = parts.Close()
		}
		_ = writer.CloseWithError(err)
	}()
	upload := alice.Request(http.MethodPost, "/my/documents", reader)
	upload.Header.Set("Content-Type", parts.FormDataContentType())
	upload.Header.Set("Accept", "application/json")
	answer := alice.Do(upload)
	wantStatus(t, answer, http.StatusCreated)
	if !strings.Contains(answer.Body, hex.EncodeToString(want.Sum(nil))) {
		t.Errorf("the upload arrived as %s", answer.Body)
	}
}

// duplex makes the office answer every line of a request's body as it comes.
func duplex(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != "/duplex" {
		return false
	}
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex()
	w.Header().Set("Trailer", "Grpc-Status")
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		_, _ = fmt.Fprintf(w, "%d %s\n", r.ProtoMajor, lines.Text())
		_ = control.Flush()
	}
	w.Header().Set("Grpc-Status", "0")
	w.Header().Set(http.TrailerPrefix+"Client-Checksum", r.Trailer.Get("Checksum"))
	return true
}

// overHTTP2 is a client that speaks HTTP/2 without TLS, as gRPC does in a pod.
func overHTTP2(t *testing.T) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

func TestHTTP2GetsTheSameDecision(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	late := alice.again()
	client := overHTTP2(t)
	ask := func(p *person, path string) *http.Response {
		r := p.Request(http.MethodGet, path, nil)
		_, cookies, _ := strings.Cut(p.credentials(), ": ")
		r.Header.Set("Cookie", cookies)
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.ProtoMajor != 2 {
			t.Errorf("%s is answered in %s", path, response.Proto)
		}
		return response
	}
	w.office.requests()
	if got := ask(late, "/my"); got.StatusCode != http.StatusSeeOther || len(w.office.requests()) > 0 {
		t.Errorf("without the factor: %d", got.StatusCode)
	}
	if got := ask(alice, "/my"); got.StatusCode != http.StatusOK || len(w.office.requests()) != 1 {
		t.Errorf("with the factor: %d", got.StatusCode)
	}
	if got := ask(alice, prefix); got.StatusCode != http.StatusOK || len(w.office.requests()) != 0 {
		t.Errorf("the card: %d", got.StatusCode)
	}
}

// What is sent is seen before the rest is, in both directions, with trailers at
// the end: a stream as gRPC has them, and an upload as HTTP/1.1 has them.
func TestBodiesAreNotHeldBack(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	w.office.behave(duplex)
	alice := w.enrolled("alice")
	for _, tc := range []struct {
		name, kind, proto string
		client            *http.Client
	}{
		{"gRPC", "application/grpc", "2", overHTTP2(t)},
		{"HTTP/2 else", "text/plain", "1", overHTTP2(t)},
		{"HTTP/1.1", "text/plain", "1", &http.Client{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			reader, writer := io.Pipe()
			r := alice.Request(http.MethodPost, "/duplex", reader)
			_, cookies, _ := strings.Cut(alice.credentials(), ": ")
			r.Header.Set("Cookie", cookies)
			r.Header.Set("Content-Type", tc.kind)
			r.Header.Set("TE", "trailers")
			r.Trailer = http.Header{"Checksum": nil}
			answers := make(chan *http.Response, 1)
			go func() {
				response, err := tc.client.Do(r)
				if err != nil {
					t.Error(err)
				}
				answers <- response
			}()
			_, _ = io.WriteString(writer, "first\n")
			response := <-answers
			if response == nil {
				t.FailNow()
			}
			defer response.Body.Close()
			lines := bufio.NewReader(response.Body)
			if got, err := lines.ReadString('\n'); got != tc.proto+" first\n" {
				t.Errorf("the first line is %q, %v", got, err)
			}
			_, _ = io.WriteString(writer, "second\n")
			if got, err := lines.ReadString('\n'); got != tc.proto+" second\n" {
				t.Errorf("the second line is %q, %v", got, err)
			}
			r.Trailer.Set("Checksum", "c0ffee")
			_ = writer.Close()
			if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil {
				t.Errorf("the rest is %q, %v", rest, err)
			}
			if got := response.Trailer; got.Get("Grpc-Status") != "0" || got.Get("Client-Checksum") != "c0ffee" {
				t.Errorf("the trailers are %v", got)
			}
		})
	}
}

func TestExpectContinue(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	late := alice.again()
	at, err := url.Parse(w.URL())
	if err != nil {
		t.Fatal(err)
	}
	upload := func(p *person) *bufio.Reader {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", at.Host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = fmt.Fprintf(conn, "PUT /file HTTP/1.1\r\nHost: %s\r\n%s\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
			at.Host, p.credentials())
		answer := bufio.NewReader(conn)
		if line, _ := answer.Peek(12); string(line) == "HTTP/1.1 100" {
			response, err := http.ReadResponse(answer, nil)
			if err != nil || response.StatusCode != http.StatusContinue {
				t.Fatalf("%v, %v", response, err)
			}
			_, _ = io.WriteString(conn, "hello")
		}
		return answer
	}
	w.office.requests()
	response, err := http.ReadResponse(upload(alice), nil)
	if seen := w.office.requests(); err != nil || response.StatusCode != http.StatusOK || len(seen) != 1 || seen[0].Body != "hello" {
		t.Errorf("with the factor: %v, %v, %+v", response, err, seen)
	}
	response, err = http.ReadResponse(upload(late), nil) // at once, and not after a 100
	if err != nil || response.StatusCode != http.StatusUnauthorized || len(w.office.requests()) > 0 {
		t.Errorf("without the factor: %v, %v", response, err)
	}
}

// Stopping lets what is under way end, says so, and then cuts what does not end.
func TestStopping(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	arrived, release := make(chan struct{}), make(chan struct{})
	w.office.behave(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/slow" {
			close(arrived)
			<-release
			_, _ = io.WriteString(rw, "done")
			return true
		}
		return w.office.streaming(rw, r)
	})
	alice := w.signedIn("alice")
	socket := alice.open(t, "/ws")
	answer := make(chan *stack.Page, 1)
	go func() { answer <- alice.Get("/slow") }()
	<-arrived

	s := w.Sidecars[0]
	stopped := make(chan struct{})
	go func() { defer close(stopped); s.Stop(t) }()
	w.Eventually("readiness says that it drains", func() bool {
		ready, report := s.Ready()
		return !ready && strings.Contains(report, `"name":"serving","ok":false,"detail":"draining"`)
	})
	w.Eventually("new connections are refused", func() bool {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL, "http://"))
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	close(release)
	if got := <-answer; got.Status != http.StatusOK || got.Body != "done" {
		t.Errorf("the request under way was answered %d %q", got.Status, got.Body)
	}
	socket.wantEnd(t, "once stopped")
	<-stopped
}
