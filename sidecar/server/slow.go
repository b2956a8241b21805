package server

import (
	"net/http"
	"time"
)

// bodyTimeout bounds how long the body of a request may take that is not for the
// app: the sidecar's own forms are small, and what is refused need not be sent to
// the end. How long an upload to the app takes is between the client and the app.
const bodyTimeout = 10 * time.Second

// hurry bounds how long the body may take. The threat: a client that sends it byte
// by byte holds a connection and a goroutine for as long as it likes, and where the
// request is refused, net/http reads a body before it sends the answer.
func hurry(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 {
		return
	}
	//nolint:forbidigo // a connection's deadline is by the machine's clock, whatever the time is
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
}

// takeYourTime lifts the bound, and returns the request with its body as an upload to
// the app. It does not change r, which is being watched.
func takeYourTime(w http.ResponseWriter, r *http.Request) *http.Request {
	if r.ContentLength == 0 {
		return r
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	uploading := r.WithContext(r.Context())
	uploading.Body = upload{r.Body}
	return uploading
}
