// Command app is the app of the benchmark: a page of 1 KiB, a file of 256 MiB, WebSockets
// that say nothing, and people who sign in with a password.
//
// It answers the page by itself, without net/http, so that the app is the limit of no
// measurement. It imports the standard library only, knows the sidecar by the one header
// that it counts, and must never be given real people's passwords.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	pageSize   = 1 << 10
	fileSize   = 256 << 20
	readBuffer = 32 << 10
	socketGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455, section 1.3
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	flag.Parse()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	a := newApp()
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go a.serve(conn)
	}
}

// app is its people and what it counts.
type app struct {
	pages, verified, asked atomic.Int64

	page []byte // the whole answer, for it is always the same
	file []byte // a piece of the file

	mu       sync.Mutex
	sessions map[string]string // whose a session is
}

func newApp() *app {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n", pageSize)
	return &app{
		page: append([]byte(head), bytes.Repeat([]byte("a"), pageSize)...), file: make([]byte, 1<<20), sessions: make(map[string]string),
	}
}

// serve answers a connection's requests until one side has had enough.
func (a *app) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, readBuffer)
	for {
		head, err := peekHead(in)
		if err != nil {
			return
		}
		if bytes.HasPrefix(head, []byte("GET /page ")) {
			err = a.servePage(conn, in, head)
		} else {
			err = a.serveOther(conn, in)
		}
		if err != nil {
			return
		}
	}
}

// peekHead waits for a whole request head and returns it, still unread.
func peekHead(in *bufio.Reader) ([]byte, error) {
	for want := 1; ; want = in.Buffered() + 1 {
		if _, err := in.Peek(want); err != nil {
			return nil, err
		}
		all, err := in.Peek(in.Buffered())
		if err != nil {
			return nil, err
		}
		if end := bytes.Index(all, []byte("\r\n\r\n")); end >= 0 {
			return all[:end+4], nil
		}
	}
}

// servePage is what load is made of.
func (a *app) servePage(conn net.Conn, in *bufio.Reader, head []byte) error {
	a.pages.Add(1)
	if bytes.Contains(head, []byte("\r\nX-Sallyport-Verified: true\r\n")) {
		a.verified.Add(1)
	}
	if _, err := in.Discard(len(head)); err != nil {
		return err
	}
	_, err := conn.Write(a.page)
	return err
}

// answer is one of the app's other answers.
type answer struct {
	status int
	header string // whole lines
	body   []byte
}

func (a *app) serveOther(conn net.Conn, in *bufio.Reader) error {
	r, err := http.ReadRequest(in)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, readBuffer))
	if err != nil {
		return err
	}
	switch r.URL.Path {
	case "/file":
		return a.serveFile(conn)
	case "/socket":
		return hold(conn, in, r)
	}
	return a.answer(r, body).write(conn)
}

func (a *app) answer(r *http.Request, body []byte) answer {
	switch r.Method + " " + r.URL.Path {
	case "GET /login":
		return html(`<form method="post" action="/login"><input name="username"><input name="password" type="password"></form>`)
	case "POST /login":
		return a.signIn(string(body))
	case "POST /logout":
		a.signOut(r)
		return answer{status: http.StatusSeeOther, header: "Location: /login\r\n"}
	case "GET /api/me":
		a.asked.Add(1)
		return a.me(r)
	case "GET /counters":
		return document(map[string]int64{"pages": a.pages.Load(), "verified": a.verified.Load(), "asked": a.asked.Load()})
	case "GET /":
		return html("<p>Welcome</p>")
	}
	return answer{status: http.StatusNotFound}
}

// signIn lets in whoever has a name, with that name as password.
func (a *app) signIn(form string) answer {
	fields, name := formFields(form), ""
	if fields["password"] == fields["username"] {
		name = fields["username"]
	}
	if name == "" {
		return answer{status: http.StatusUnauthorized}
	}
	session := rand.Text()
	a.mu.Lock()
	a.sessions[session] = name
	a.mu.Unlock()
	return answer{status: http.StatusSeeOther, header: "Set-Cookie: session=" + session + "; Path=/; HttpOnly\r\nLocation: /\r\n"}
}

// formFields reads a form whose values need no escaping: names are letters and digits.
func formFields(form string) map[string]string {
	fields := make(map[string]string)
	for pair := range strings.SplitSeq(form, "&") {
		name, value, _ := strings.Cut(pair, "=")
		fields[name] = value
	}
	return fields
}

func (a *app) signOut(r *http.Request) {
	if cookie, err := r.Cookie("session"); err == nil {
		a.mu.Lock()
		delete(a.sessions, cookie.Value)
		a.mu.Unlock()
	}
}

// me is the identity endpoint.
func (a *app) me(r *http.Request) answer {
	cookie, err := r.Cookie("session")
	if err != nil {
		return answer{status: http.StatusUnauthorized}
	}
	a.mu.Lock()
	name := a.sessions[cookie.Value]
	a.mu.Unlock()
	if name == "" {
		return answer{status: http.StatusUnauthorized}
	}
	return document(map[string]any{"id": "id-" + name, "username": name, "roles": []string{"staff"}})
}

func html(body string) answer {
	return answer{http.StatusOK, "Content-Type: text/html; charset=utf-8\r\n", []byte(body)}
}

func document(value any) answer {
	body, err := json.Marshal(value)
	if err != nil {
		return answer{status: http.StatusInternalServerError}
	}
	return answer{http.StatusOK, "Content-Type: application/json\r\n", body}
}

func (r answer) write(conn net.Conn) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "HTTP/1.1 %d %s\r\nContent-Length: %d\r\n", r.status, http.StatusText(r.status), len(r.body))
	out.WriteString(r.header + "\r\n")
	out.Write(r.body)
	_, err := conn.Write(out.Bytes())
	return err
}

func (a *app) serveFile(conn net.Conn) error {
	head := "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: " + strconv.Itoa(fileSize) + "\r\n\r\n"
	if _, err := io.WriteString(conn, head); err != nil {
		return err
	}
	for sent := 0; sent < fileSize; sent += len(a.file) {
		if _, err := conn.Write(a.file); err != nil {
			return err
		}
	}
	return nil
}

// hold opens a WebSocket and keeps it until the other side leaves.
func hold(conn net.Conn, in *bufio.Reader, r *http.Request) error {
	digest := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + socketGUID))
	_, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(digest[:]))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}
