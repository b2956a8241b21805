package proxy

import (
	"encoding/json"
	"net/http"
	"strings"
)

// Problem is a refusal for a program (RFC 9457).
type Problem struct {
	// Type is a URI; "about:blank" if empty.
	Type string `json:"type"`
	// Title is the same for every occurrence; the status text if empty.
	Title string `json:"title"`
	// Status is the HTTP status code.
	Status int `json:"status"`
	// Detail is a sentence for a person.
	Detail string `json:"detail,omitempty"`
	// Code is what a program tells occurrences apart by.
	Code string `json:"code,omitempty"`
	// Location is where a browser should go.
	Location string `json:"location,omitempty"`
}

// allowed is what a 405 must tell (RFC 9110, section 15.5.6).
const allowed = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// WriteProblem answers a request with a problem. The answer is never cached. A 401
// carries a challenge of a scheme that no browser knows, so that none asks for a
// password; a Bearer client is told in its own words (RFC 9470) that the token is
// good and the user has to do more.
func WriteProblem(w http.ResponseWriter, r *http.Request, p Problem) {
	if p.Type == "" {
		p.Type = "about:blank"
	}
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Cookie, Authorization")
	h.Set("X-Content-Type-Options", "nosniff")
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", challenge(r, p.Code))
	case http.StatusMethodNotAllowed:
		if h.Get("Allow") == "" {
			h.Set("Allow", allowed)
		}
	}
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		// A client that is gone is the only error left, and nobody to tell.
		_ = json.NewEncoder(w).Encode(p)
	}
}

func challenge(r *http.Request, code string) string {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer"):
		return `Sallyport realm="two-factor"`
	case strings.HasPrefix(code, "mfa_"):
		return `Bearer error="insufficient_user_authentication", ` +
			`error_description="A second factor is required for this sign-in"`
	default:
		return "Bearer"
	}
}
