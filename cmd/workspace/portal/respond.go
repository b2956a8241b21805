package portal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
)

// httpError is a failure that the person at the other end is told about.
type httpError struct {
	status int
	// message is for the person.
	message string
	header  http.Header
	// cause is for the log.
	cause error
}

// Error describes the failure for the log.
func (e *httpError) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %v", e.message, e.cause)
	}
	return e.message
}

// Unwrap returns what caused the failure.
func (e *httpError) Unwrap() error { return e.cause }

// handle turns a handler that returns an error into one that answers with it.
// A handler returns an error only before it has written anything.
func (p *Portal) handle(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			p.fail(w, r, err)
		}
	}
}

// fail is the one place that words a failure: JSON for scripts, a page for people.
func (p *Portal) fail(w http.ResponseWriter, r *http.Request, err error) {
	failure, ok := errors.AsType[*httpError](err)
	switch {
	case ok:
	case errors.Is(err, context.Canceled) && r.Context().Err() != nil:
		return // nobody is there to read an answer
	default:
		failure = p.fault(r, err)
	}
	maps.Copy(w.Header(), failure.header)
	switch {
	case forScripts(r.URL.Path):
		err = writeJSON(w, failure.status, map[string]string{
			"error":   strings.ReplaceAll(strings.ToLower(http.StatusText(failure.status)), " ", "_"),
			"message": failure.message,
		})
	case failure.status == http.StatusServiceUnavailable:
		plainFailure(w, failure) // a page would have to say who is signed in
		return
	default:
		err = p.render(w, r, failure.status, page{name: "error", title: errorTitle(failure.status), data: failure.message})
	}
	if err != nil {
		plainFailure(w, p.fault(r, err))
	}
}

// fault logs a failure that is the portal's own, and words it for people.
func (p *Portal) fault(r *http.Request, err error) *httpError {
	p.log.ErrorContext(r.Context(), "Failed to serve a request", slog.Any("error", err))
	if errors.Is(err, errUnavailable) {
		return &httpError{
			status:  http.StatusServiceUnavailable,
			message: "The portal cannot look up who is signed in. Please try again in a moment.",
		}
	}
	return &httpError{status: http.StatusInternalServerError, message: "Something went wrong on our side. Please try again."}
}

// plainFailure needs nothing that could fail.
func plainFailure(w http.ResponseWriter, failure *httpError) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(failure.status)
	_, _ = io.WriteString(w, failure.message+"\n") // a client that has gone needs no answer
}

// errorTitle words a status for people who have never heard of one.
func errorTitle(status int) string {
	switch status {
	case http.StatusForbidden:
		return "No access"
	case http.StatusNotFound:
		return "Page not found"
	case http.StatusInternalServerError:
		return "Something went wrong"
	default:
		return http.StatusText(status)
	}
}

// forScripts reports whether a path is asked by programs and not opened by people.
func forScripts(path string) bool {
	for _, prefix := range []string{"/api/", "/ws/", "/events/", davPath + "/"} {
		if strings.HasPrefix(path+"/", prefix) {
			return true
		}
	}
	return false
}

func writeJSON(w http.ResponseWriter, status int, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode an answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // a client that has gone needs no answer
	return nil
}
