package portal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	case errors.Is(err, context.Canceled):
		return // nobody is there to read an answer
	default:
		p.log.ErrorContext(r.Context(), "Failed to serve a request", slog.Any("error", err))
		failure = &httpError{status: http.StatusInternalServerError, message: "Something went wrong on our side. Please try again."}
	}
	maps.Copy(w.Header(), failure.header)
	if forScripts(r.URL.Path) {
		err = writeJSON(w, failure.status, map[string]string{
			"error":   strings.ReplaceAll(strings.ToLower(http.StatusText(failure.status)), " ", "_"),
			"message": failure.message,
		})
	} else {
		err = p.render(w, r, failure.status, page{name: "error", title: errorTitle(failure.status), data: failure.message})
	}
	if err != nil {
		p.log.ErrorContext(r.Context(), "Failed to write an error", slog.Any("error", err))
	}
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
