package server_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// tap stands between the sidecar and the app and keeps every byte that goes to the
// app, connection by connection.
type tap struct {
	// url of the tap, in the app's place.
	url *url.URL

	mu    sync.Mutex
	conns []*bytes.Buffer
}

func newTap(t *testing.T, app string) *tap {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{url: &url.URL{Scheme: "http", Host: listener.Addr().String()}}
	var all sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); all.Wait() })
	all.Go(func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.join(in, strings.TrimPrefix(app, "http://")) })
		}
	})
	return p
}

func (p *tap) join(in net.Conn, app string) {
	defer func() { _ = in.Close() }()
	out, err := net.Dial("tcp", app) //nolint:noctx // it ends with the connection that it was made for
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	kept := &bytes.Buffer{}
	p.mu.Lock()
	p.conns = append(p.conns, kept)
	p.mu.Unlock()
	go func() {
		_, _ = io.Copy(in, out)
		_ = in.Close()
	}()
	_, _ = io.Copy(io.MultiWriter(tapped{p, kept}, out), in)
}

// tapped keeps bytes before the app can have answered them.
type tapped struct {
	tap  *tap
	kept *bytes.Buffer
}

func (w tapped) Write(b []byte) (int, error) {
	w.tap.mu.Lock()
	defer w.tap.mu.Unlock()
	return w.kept.Write(b)
}

// requests reads what came since the last call as strictly as RFC 9112 can be read,
// and returns all requests but the questions who is signed in. One that is not
// complete is left for the next call; one that was cut short never is.
func (p *tap) requests() ([]strictRequest, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []strictRequest
	for _, kept := range p.conns {
		for {
			left := bytes.NewReader(kept.Bytes())
			r := bufio.NewReader(left)
			request, err := readStrictly(r)
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			if err != nil {
				kept.Reset()
				return nil, err
			}
			kept.Next(kept.Len() - left.Len() - r.Buffered())
			if request.target != whoami {
				all = append(all, request)
			}
		}
	}
	return all, nil
}

type strictRequest struct {
	target, body string
	header       map[string][]string
}

var (
	strictLine   = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+ (/[^\\x00- \\x7f]*|\\*) HTTP/1\\.1$")
	strictHeader = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([^\\x00- \\x7f]([^\\x00-\\x08\\x0a-\\x1f\\x7f]*[^\\x00- \\x7f])?)?$")
	strictChunk  = regexp.MustCompile("^[0-9a-f]{1,8}$")
	strictLength = regexp.MustCompile("^(0|[1-9][0-9]{0,9})$")
)

// targets returns those of the requests, sorted, and fails the test where what the app
// was sent can be read in two ways.
func (p *tap) targets(t *testing.T) []string {
	t.Helper()
	whole, err := p.requests()
	if err != nil {
		t.Errorf("the app was sent what can be read in two ways: %v", err)
	}
	var targets []string
	for _, request := range whole {
		targets = append(targets, request.target)
	}
	slices.Sort(targets)
	return targets
}

// readStrictly reads one request in the one form that no server reads differently.
func readStrictly(r *bufio.Reader) (strictRequest, error) {
	request := strictRequest{header: map[string][]string{}}
	line, err := strictly(r, strictLine)
	if err != nil {
		return request, err
	}
	request.target = strings.Split(line, " ")[1]
	if err := readHeaders(r, request.header); err != nil {
		return request, err
	}
	for name, values := range request.header {
		plain := strings.ReplaceAll(name, "_", "-")
		if plain != name && slices.Contains([]string{"content-length", "transfer-encoding", "host", "connection"}, plain) ||
			name == "upgrade" && !slices.Equal(values, []string{"websocket"}) {
			return request, fmt.Errorf("%s is not for the app: %q", name, values)
		}
	}
	lengths, codings := request.header["content-length"], request.header["transfer-encoding"]
	switch {
	case len(request.header["host"]) != 1, len(lengths)+len(codings) > 1:
		return request, fmt.Errorf("ambiguous framing: %v", request.header)
	case len(lengths) == 1 && !strictLength.MatchString(lengths[0]), len(codings) == 1 && codings[0] != "chunked":
		return request, fmt.Errorf("odd framing: %v", request.header)
	case len(lengths) == 1:
		n, _ := strconv.Atoi(lengths[0])
		body := make([]byte, n)
		_, err = io.ReadFull(r, body)
		request.body = string(body)
	case len(codings) == 1:
		request.body, err = readChunks(r)
	}
	return request, err
}

func readHeaders(r *bufio.Reader, into map[string][]string) error {
	for {
		line, err := strictly(r, nil)
		if err != nil || line == "" {
			return err
		}
		match := strictHeader.FindStringSubmatch(line)
		if match == nil {
			return fmt.Errorf("the line %q is no header", line)
		}
		name := strings.ToLower(match[1])
		into[name] = append(into[name], match[2])
	}
}

func readChunks(r *bufio.Reader) (string, error) {
	var body strings.Builder
	for {
		size, err := strictly(r, strictChunk)
		if err != nil {
			return "", err
		}
		n, _ := strconv.ParseInt(size, 16, 64)
		if n == 0 {
			return body.String(), readHeaders(r, map[string][]string{})
		}
		if _, err := io.CopyN(&body, r, n); err != nil {
			return "", err
		}
		if end, err := strictly(r, nil); err != nil || end != "" {
			return "", errors.Join(err, fmt.Errorf("a chunk ends in %q", end))
		}
	}
}

// strictly reads a line that ends in CRLF, has neither in it, and is as it should be.
func strictly(r *bufio.Reader, form *regexp.Regexp) (string, error) {
	raw, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line, ok := strings.CutSuffix(raw, "\r\n")
	if !ok || strings.ContainsAny(line, "\r\n") || form != nil && !form.MatchString(line) {
		return "", fmt.Errorf("odd line %q", raw)
	}
	return line, nil
}
