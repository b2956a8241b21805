package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
)

// program is a run that has begun to listen.
type program struct {
	t       *testing.T
	address string
	// terminate is what SIGTERM does.
	terminate context.CancelFunc
	done      chan error
	rest      chan string
}

func begin(t *testing.T, args ...string) *program {
	t.Helper()
	ctx, terminate := context.WithCancel(t.Context())
	p := &program{t: t, terminate: terminate, done: make(chan error, 1), rest: make(chan string, 1)}
	output, pipe := io.Pipe()
	go func() {
		err := run(ctx, append([]string{"--listen", "127.0.0.1:0"}, args...), pipe)
		_ = pipe.Close()
		p.done <- err
	}()
	log := bufio.NewScanner(output)
	var line struct{ Msg, Address string }
	for line.Msg != "Listening" && log.Scan() {
		if err := json.Unmarshal(log.Bytes(), &line); err != nil {
			t.Fatalf("the log is no JSON: %v", err)
		}
	}
	p.address = line.Address
	go func() {
		var rest strings.Builder
		for log.Scan() {
			rest.WriteString(log.Text())
		}
		p.rest <- rest.String()
	}()
	return p
}

// end waits for the end and returns what was logged since the program listened.
func (p *program) end() string {
	p.t.Helper()
	p.terminate()
	if err := <-p.done; err != nil {
		p.t.Errorf("run returned %v", err)
	}
	return <-p.rest
}

// do answers a request with a session cookie, "" for none. The test closes its body.
func (p *program) do(method, path, body, session string) *http.Response {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.address+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Cookie", "session="+session)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		p.t.Fatalf("%s %s answered %d", method, path, res.StatusCode)
	}
	return res
}

func (p *program) signIn() (session string) {
	p.t.Helper()
	return p.do(http.MethodPost, "/api/login", `{"username":"alice","password":"alice-demo"}`, "").Cookies()[0].Value
}

func TestRunServesUntilItIsToldToStop(t *testing.T) {
	p := begin(t)
	p.do(http.MethodGet, "/healthz", "", "")
	if rest := p.end(); !strings.Contains(rest, `"msg":"Stopped"`) {
		t.Errorf("the log ends with %q", rest)
	}
}

func TestRunSharesItsSessions(t *testing.T) {
	sessions := "redis://" + redistest.Server(t).Addr + "/1"
	one := begin(t, "--sessions", sessions)
	id := one.signIn()
	if log := one.end(); strings.Contains(log, id) {
		t.Error("the log has the session's id")
	}
	other := begin(t, "--sessions", sessions)
	other.do(http.MethodGet, "/api/me", "", id)
	other.end()
}

func TestRunFinishesWhatIsUnderWay(t *testing.T) {
	p := begin(t)
	id := p.signIn()
	const size = 64 << 20 // more than sockets hold, so it is not over when it is told to stop
	download := p.do(http.MethodGet, "/my/download/large?size=64", "", id)
	chat, res, err := websocket.Dial(t.Context(), "ws://"+p.address+"/ws/echo-chat",
		&websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {"session=" + id}}})
	if err != nil {
		t.Fatal(err)
	}
	if res.Body != nil {
		_ = res.Body.Close()
	}
	idle := p.idle()

	p.terminate()
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the idle connection was not closed in order: %v", err)
	}
	if _, _, err := chat.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the chat ended with %v", err)
	}
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.address); err == nil {
		_ = conn.Close()
		t.Error("it still takes connections")
	}
	if n, err := io.Copy(io.Discard, download.Body); err != nil || n != size {
		t.Errorf("the download ended after %d bytes of %d: %v", n, size, err)
	}
	p.end()
}

// idle returns a connection that has had an answer and waits for its next request.
func (p *program) idle() net.Conn {
	p.t.Helper()
	conn, err := new(net.Dialer).DialContext(p.t.Context(), "tcp", p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: portal\r\n\r\n"); err != nil {
		p.t.Fatal(err)
	}
	answer := bufio.NewReader(conn)
	res, err := http.ReadResponse(answer, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.Close {
		p.t.Fatalf("the connection was not kept: %v", err)
	}
	return conn
}

func TestRunRefusesWhatItCannotDo(t *testing.T) {
	var output strings.Builder
	if err := run(t.Context(), []string{"--listen", "127.0.0.1:99999"}, &output); err == nil || !strings.Contains(output.String(), "Stopped with an error") {
		t.Errorf("an impossible address gave %v and %q", err, output.String())
	}
	if err := run(t.Context(), []string{"--sessions", "redis://:hunter2@host:port/1"}, &output); err == nil || !strings.Contains(output.String(), "--sessions") {
		t.Errorf("an impossible store gave %v and %q", err, output.String())
	}
	if strings.Contains(output.String(), "hunter2") {
		t.Errorf("the log tells the password of Redis: %q", output.String())
	}
	if err := run(t.Context(), []string{"--help"}, &output); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("--help gave %v", err)
	}
	if err := run(t.Context(), []string{"--no-such-flag"}, &output); err == nil || errors.Is(err, flag.ErrHelp) {
		t.Errorf("an unknown flag gave %v", err)
	}
}
