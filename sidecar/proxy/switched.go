package proxy

import (
	"errors"
	"io"
	"net/http"
)

// glance is what a WebSocket that has nothing to say holds in each direction.
const glance = 1 << 10

// switched is the app's side of a connection that has switched protocols. The
// reverse proxy would hold two buffers of 32 KiB for as long as it lasts, and most
// WebSockets are idle most of the time; this one borrows them while there is much
// to carry.
type switched struct {
	io.ReadWriteCloser

	buffers *bufferPool
}

// lighten makes an answer that switches protocols hold no more than it needs.
func (p *Proxy) lighten(response *http.Response) {
	if body, ok := response.Body.(io.ReadWriteCloser); ok {
		response.Body = &switched{ReadWriteCloser: body, buffers: p.buffers}
	}
}

// CloseWrite passes on that the client says no more.
func (s *switched) CloseWrite() error {
	if half, ok := s.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return http.ErrNotSupported
}

// WriteTo implements io.WriterTo: from the app to the client.
func (s *switched) WriteTo(w io.Writer) (int64, error) { return s.carry(w, s.ReadWriteCloser) }

// ReadFrom implements io.ReaderFrom: from the client to the app.
func (s *switched) ReadFrom(r io.Reader) (int64, error) { return s.carry(s.ReadWriteCloser, r) }

func (s *switched) carry(to io.Writer, from io.Reader) (int64, error) {
	small := make([]byte, glance)
	var all int64
	for {
		n, err := pass(to, from, small)
		all += int64(n)
		if n == len(small) && err == nil {
			var more int64
			more, err = s.carryMuch(to, from)
			all += more
		}
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return all, err
		}
	}
}

// carryMuch goes on with a large buffer until there is less than it holds.
func (s *switched) carryMuch(to io.Writer, from io.Reader) (int64, error) {
	buffer := s.buffers.Get()
	defer s.buffers.Put(buffer)
	var all int64
	for {
		n, err := pass(to, from, buffer)
		all += int64(n)
		if n < len(buffer) || err != nil {
			return all, err
		}
	}
}

// pass reads once and writes what was read.
func pass(to io.Writer, from io.Reader, buffer []byte) (int, error) {
	n, err := from.Read(buffer)
	if n > 0 {
		if _, failed := to.Write(buffer[:n]); failed != nil {
			return n, failed
		}
	}
	return n, err
}
