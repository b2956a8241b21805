package proxy_test

import (
	"encoding/binary"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/proxy"
)

// message frames a message as gRPC does.
func message(text string) []byte {
	frame := make([]byte, 5, 5+len(text))
	binary.BigEndian.PutUint32(frame[1:], uint32(len(text)))
	return append(frame, text...)
}

func readMessage(r io.Reader) (string, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return "", err
	}
	text := make([]byte, binary.BigEndian.Uint32(head[1:]))
	_, err := io.ReadFull(r, text)
	return string(text), err
}

// A gRPC call is a stream both ways over HTTP/2, whose outcome is in the trailers.
func TestForwardPassesGRPC(t *testing.T) {
	s := newStack(t, setup{app: func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 || r.Header.Get("Te") != "trailers" {
			t.Errorf("the app got %s with TE %q", r.Proto, r.Header.Get("Te"))
		}
		w.Header().Set("Content-Type", "application/grpc")
		_ = http.NewResponseController(w).Flush()
		for {
			text, err := readMessage(r.Body)
			if err != nil {
				break
			}
			_, _ = w.Write(message("echo " + text))
			_ = http.NewResponseController(w).Flush()
		}
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		w.Header().Set(http.TrailerPrefix+"Grpc-Message", "fine")
	}})
	body, upload := io.Pipe()
	r := newRequest(t, http.MethodPost, s.url+"/pkg.Service/Method", body)
	r.Header.Set("Content-Type", "application/grpc+proto")
	r.Header.Set("Te", "trailers")
	response := do(t, client(t, true), r)
	for _, text := range []string{"one", "two"} {
		got := make(chan string, 1)
		go func() {
			_, _ = upload.Write(message(text))
			answer, _ := readMessage(response.Body)
			got <- answer
		}()
		if answer := await(t, "a message", got); answer != "echo "+text {
			t.Fatalf("got %q", answer)
		}
	}
	_ = upload.Close()
	_ = read(t, response.Body)
	want := http.Header{"Grpc-Status": {"0"}, "Grpc-Message": {"fine"}}
	if diff := cmp.Diff(want, response.Trailer); diff != "" {
		t.Error(diff)
	}
}

// An answer of headers alone, as gRPC gives for an error, keeps its form.
func TestForwardPassesGRPCErrors(t *testing.T) {
	s := newStack(t, setup{app: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", "7")
	}})
	r := newRequest(t, http.MethodPost, s.url, http.NoBody)
	r.Header.Set("Content-Type", "application/grpc")
	response := do(t, client(t, true), r)
	if response.Header.Get("Grpc-Status") != "7" || response.StatusCode != http.StatusOK {
		t.Errorf("got %d %v", response.StatusCode, response.Header)
	}
}

func TestForwardSpeaksTheProtocolThatTheAppKnows(t *testing.T) {
	proto := make(chan string, 1)
	app := serve(t, func(_ http.ResponseWriter, r *http.Request) { proto <- r.Proto })
	origin, _ := url.Parse(app.URL)
	p := proxy.New(proxy.Config{App: origin})
	defer p.Close()
	front := serve(t, func(w http.ResponseWriter, r *http.Request) { p.Forward(w, r, proxy.Forwarding{}) })
	for _, tc := range []struct {
		contentType string
		http2       bool
		want        string
	}{
		{"text/plain", false, "HTTP/1.1"},
		{"text/plain", true, "HTTP/1.1"},
		{"application/grpc-web+proto", true, "HTTP/1.1"},
		{"application/grpc", false, "HTTP/1.1"},
		{"application/grpc", true, "HTTP/2.0"},
		{"Application/GRPC; charset=x", true, "HTTP/2.0"},
		{"application/grpc+json", true, "HTTP/2.0"},
	} {
		r := newRequest(t, http.MethodPost, front.URL, http.NoBody)
		r.Header.Set("Content-Type", tc.contentType)
		do(t, client(t, tc.http2), r)
		if got := await(t, "the request", proto); got != tc.want {
			t.Errorf("%s over HTTP/2 (%t) came by %s, want %s", tc.contentType, tc.http2, got, tc.want)
		}
	}
}

func TestForwardKeepsCookiesOfHTTP2Together(t *testing.T) {
	got := make(chan []string, 1)
	s := newStack(t, setup{app: func(_ http.ResponseWriter, r *http.Request) { got <- r.Header["Cookie"] }})
	r := newRequest(t, http.MethodGet, s.url, http.NoBody)
	r.Header["Cookie"] = []string{"a=1; b=2; __Host-own=secret; session=s1"}
	do(t, client(t, true), r)
	if diff := cmp.Diff([]string{"a=1; b=2; session=s1"}, await(t, "the request", got)); diff != "" {
		t.Error(diff)
	}
}
