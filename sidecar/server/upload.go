package server

import (
	"errors"
	"io"
)

// upload is the body of a request on its way to the app. What goes wrong with reading
// it is the client's fault, or its network's, and never the app's: it is an
// uploadError.
type upload struct{ io.ReadCloser }

// uploadError is why the rest of a body cannot be had from the client.
type uploadError struct{ error }

func (e uploadError) Unwrap() error { return e.error }

// Read implements io.Reader.
func (u upload) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = uploadError{err}
	}
	return n, err
}
