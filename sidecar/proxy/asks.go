package proxy

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// Asker is who waits for an answer, as far as the answer's form depends on it. It
// decides no more than that: a client can claim to be any of them.
type Asker uint8

// The askers. Other is the zero value: it gets an answer that no browser follows.
const (
	// Other is a script, an API client, a WebSocket.
	Other Asker = iota
	// Navigation is a browser that goes to a page.
	Navigation
	// FormNavigation is a browser that submits a form and shows what comes back.
	FormNavigation
)

// AskedBy says who asks. What the browser itself says in Sec-Fetch-* counts most:
// scripts cannot set it.
func AskedBy(r *http.Request) Asker {
	if r.Header.Get("Upgrade") != "" || fetched(r) || !acceptsHTML(r) {
		return Other
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return Navigation
	case http.MethodPost:
		if isFormType(r.Header.Get("Content-Type")) {
			return FormNavigation
		}
	}
	return Other
}

// fetched reports whether a script or a page's markup asks, and not the browser's
// window or a frame in it. X-Requested-With counts with its one conventional value:
// Android's WebView sends its package name on navigations.
func fetched(r *http.Request) bool {
	mode, dest := r.Header.Get("Sec-Fetch-Mode"), r.Header.Get("Sec-Fetch-Dest")
	if mode != "" && mode != "navigate" {
		return true
	}
	switch dest {
	case "", "document", "iframe", "frame":
	default:
		return true
	}
	return mode == "" && strings.EqualFold(r.Header.Get("X-Requested-With"), "XMLHttpRequest")
}

// acceptsHTML reports whether HTML is asked for by name. "*/*" is what programs say.
func acceptsHTML(r *http.Request) bool {
	for _, value := range r.Header["Accept"] {
		for item := range strings.SplitSeq(value, ",") {
			kind, params, err := mime.ParseMediaType(item)
			if err != nil || (kind != "text/html" && kind != "application/xhtml+xml") {
				continue
			}
			if q, err := strconv.ParseFloat(params["q"], 64); err != nil || q > 0 {
				return true
			}
		}
	}
	return false
}

// isFormType knows the three encodings of an HTML form.
func isFormType(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	switch kind {
	case "application/x-www-form-urlencoded", "multipart/form-data", "text/plain":
		return true
	default:
		return false
	}
}
