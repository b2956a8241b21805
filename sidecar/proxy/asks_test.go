package proxy_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/proxy"
)

func newRecorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }

const (
	browserAccept = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
	formType      = "application/x-www-form-urlencoded"
)

func TestAskedBy(t *testing.T) {
	for _, tc := range []struct {
		name, method string
		headers      []string
		want         proxy.Asker
	}{
		{"a browser's GET", "GET", []string{"Accept", browserAccept, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, proxy.Navigation},
		{"an old browser's GET", "GET", []string{"Accept", browserAccept}, proxy.Navigation},
		{"HEAD", "HEAD", []string{"Accept", "text/html"}, proxy.Navigation},
		{"a frame", "GET", []string{"Accept", browserAccept, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, proxy.Navigation},
		{"HTML in capitals with q", "GET", []string{"Accept", "image/png, TEXT/HTML;q=0.1"}, proxy.Navigation},
		{"HTML in the second header", "GET", []string{"Accept", "image/png", "Accept", "application/xhtml+xml"}, proxy.Navigation},
		{"a WebView that names its package", "GET", []string{"Accept", browserAccept, "X-Requested-With", "org.example.app"}, proxy.Navigation},
		{"fetch that asks for HTML", "GET", []string{"Accept", browserAccept, "Sec-Fetch-Mode", "cors"}, proxy.Other},
		{"fetch of the same origin", "GET", []string{"Accept", browserAccept, "Sec-Fetch-Mode", "same-origin", "Sec-Fetch-Dest", "empty"}, proxy.Other},
		{"an image", "GET", []string{"Accept", browserAccept, "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, proxy.Other},
		{"an embedded object", "GET", []string{"Accept", browserAccept, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "object"}, proxy.Other},
		{"a destination without a mode", "GET", []string{"Accept", browserAccept, "Sec-Fetch-Dest", "script"}, proxy.Other},
		{"XMLHttpRequest", "GET", []string{"Accept", browserAccept, "X-Requested-With", "xmlhttprequest"}, proxy.Other},
		{"JSON", "GET", []string{"Accept", "application/json"}, proxy.Other},
		{"anything", "GET", []string{"Accept", "*/*"}, proxy.Other},
		{"any text", "GET", []string{"Accept", "text/*"}, proxy.Other},
		{"HTML refused", "GET", []string{"Accept", "text/html;q=0, */*"}, proxy.Other},
		{"HTML refused with decimals", "GET", []string{"Accept", "text/html;q=0.000"}, proxy.Other},
		{"no Accept", "GET", nil, proxy.Other},
		{"a navigation that takes no HTML", "GET", []string{"Accept", "image/png", "Sec-Fetch-Mode", "navigate"}, proxy.Other},
		{"a WebSocket", "GET", []string{"Accept", browserAccept, "Upgrade", "websocket"}, proxy.Other},
		{"a form", "POST", []string{"Accept", browserAccept, "Content-Type", formType}, proxy.FormNavigation},
		{"a form with a file", "POST", []string{"Accept", browserAccept, "Content-Type", "multipart/form-data; boundary=x", "Sec-Fetch-Mode", "navigate"}, proxy.FormNavigation},
		{"a plain text form", "POST", []string{"Accept", browserAccept, "Content-Type", "text/plain;charset=UTF-8"}, proxy.FormNavigation},
		{"a form that fetch sends", "POST", []string{"Accept", browserAccept, "Content-Type", formType, "Sec-Fetch-Mode", "cors"}, proxy.Other},
		{"a form of an API client", "POST", []string{"Accept", "*/*", "Content-Type", formType}, proxy.Other},
		{"JSON that takes HTML", "POST", []string{"Accept", browserAccept, "Content-Type", "application/json"}, proxy.Other},
		{"a POST without a type", "POST", []string{"Accept", browserAccept}, proxy.Other},
		{"PUT", "PUT", []string{"Accept", browserAccept, "Content-Type", formType}, proxy.Other},
		{"DELETE", "DELETE", []string{"Accept", browserAccept}, proxy.Other},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := get("/", tc.headers...)
			r.Method = tc.method
			if got := proxy.AskedBy(r); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

func TestWriteProblem(t *testing.T) {
	challenge := proxy.Problem{
		Status: 401, Code: "mfa_challenge_required", Title: "T", Detail: "D", Location: "/my/profile/two-factor/challenge?return_to=%2F",
	}
	bearer := `Bearer error="insufficient_user_authentication", error_description="A second factor is required for this sign-in"`
	for _, tc := range []struct {
		name          string
		problem       proxy.Problem
		authorization string
		header, want  string
	}{
		{"a browser is not made to prompt", challenge, "", "WWW-Authenticate", `Sallyport realm="two-factor"`},
		{"nor where it sent Basic", challenge, "Basic eA==", "WWW-Authenticate", `Sallyport realm="two-factor"`},
		{"a Bearer client is told in its words", challenge, "bearer t", "WWW-Authenticate", bearer},
		{"one without a sign-in is told less", proxy.Problem{Status: 401, Code: "sign_in_required"}, "Bearer t", "WWW-Authenticate", "Bearer"},
		{"another status carries no challenge", proxy.Problem{Status: 503}, "Bearer t", "WWW-Authenticate", ""},
		{"a 405 says what is allowed", proxy.Problem{Status: 405}, "", "Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
		{"nothing is stored", challenge, "", "Cache-Control", "no-store"},
		{"caches are told what it depends on", challenge, "", "Vary", "Cookie, Authorization"},
		{"the type is that of the RFC", challenge, "", "Content-Type", "application/problem+json"},
		{"the type is not guessed", challenge, "", "X-Content-Type-Options", "nosniff"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, w := get("/"), newRecorder()
			if tc.authorization != "" {
				r.Header.Set("Authorization", tc.authorization)
			}
			proxy.WriteProblem(w, r, tc.problem)
			if got := w.Header().Get(tc.header); got != tc.want || w.Code != tc.problem.Status {
				t.Errorf("got %d with %q, want %q", w.Code, got, tc.want)
			}
		})
	}
	w := newRecorder()
	proxy.WriteProblem(w, get("/"), challenge)
	var got proxy.Problem
	if err := json.NewDecoder(w.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := challenge
	want.Type = "about:blank"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	w = newRecorder()
	proxy.WriteProblem(w, get("/"), proxy.Problem{Status: http.StatusBadGateway})
	if diff := cmp.Diff(`{"type":"about:blank","title":"Bad Gateway","status":502}`+"\n", w.Body.String()); diff != "" {
		t.Error(diff)
	}
	head := get("/")
	head.Method = http.MethodHead
	w = newRecorder()
	proxy.WriteProblem(w, head, challenge)
	if w.Body.Len() != 0 {
		t.Errorf("HEAD got a body: %s", w.Body)
	}
}
