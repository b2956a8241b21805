package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/test/stack"
)

// credentials of the person as a browser sends them.
func (p *person) credentials() string {
	return "Cookie: session=" + p.Cookie("session") + "; sallyport=" + p.Cookie("sallyport")
}

// one sends a request and returns what of it reached the office.
func (w *world) one(method, target string, header ...string) hit {
	w.t.Helper()
	w.office.requests()
	answer := send(w.t, w.URL(), method, target, header...)
	seen := w.office.requests()
	if len(seen) != 1 {
		w.t.Fatalf("%s %s %q is answered %d, and the app saw %+v", method, target, header, answer.Status, seen)
	}
	return seen[0]
}

func TestAppIsToldOfTheSecondFactor(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice, bob := w.enrolled("alice"), w.signedIn("bob")
	lost := alice.again()
	lost.Submit(lost.Visit("/my"), "/challenge", map[string]string{"recovery_code": alice.codes[0]})
	told := func(h http.Header) map[string][]string {
		found := map[string][]string{}
		for name, values := range h {
			if strings.Contains(strings.ToLower(strings.ReplaceAll(name, "_", "-")), "sallyport") {
				found[name] = values
			}
		}
		delete(found, "X-Sallyport-Verified-At")
		return found
	}
	no := map[string][]string{"X-Sallyport-Verified": {"false"}}
	for _, tc := range []struct {
		name, credentials, target string
		want                      map[string][]string
	}{
		{"verified by a code", alice.credentials(), "/my", map[string][]string{
			"X-Sallyport-Verified": {"true"}, "X-Sallyport-Method": {"totp"},
		}},
		{"verified by a recovery code", lost.credentials(), "/my", map[string][]string{
			"X-Sallyport-Verified": {"true"}, "X-Sallyport-Method": {"recovery"},
		}},
		{"without two-factor", bob.credentials(), "/my", no},
		{"nobody", "Accept: */*", "/my", no},
		{"an exempt path", alice.credentials(), "/public/x", no},
		{"an exempt path with credentials", alice.credentials(), "/hook", no},
	} {
		// What the client says of itself is gone, in every spelling, and adds nothing.
		got := w.one("GET", tc.target, tc.credentials, "X-Sallyport-Verified: yes", "x-sallyport-verified: true",
			"X_Sallyport_Verified: true", "X-Sallyport_Verified: true", "X.Sallyport.Verified: true", "X-SALLYPORT-METHOD: totp",
			"X-Sallyport-Verified-At: 2030-01-01T00:00:00Z", "X-Sallyport-Anything: x", "X-Sallyport-: x")
		if diff := cmp.Diff(tc.want, told(got.Header)); diff != "" {
			t.Errorf("%s:\n%s", tc.name, diff)
		}
		at := got.Header.Values("X-Sallyport-Verified-At")
		if verified := len(tc.want) > 1; verified != (len(at) == 1 && strings.HasSuffix(at[0], "Z")) || strings.HasPrefix(strings.Join(at, ""), "2030") {
			t.Errorf("%s: verified at %q", tc.name, at)
		}
	}
}

func TestExemptPathsCarryNoCredentials(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: stack.Policy{Spec: map[string]any{"exempt": []map[string]any{
		{"path": "/healthz"},
		{"prefix": "/public/"},
		{"path": "/hook", "passCredentials": true},
		{"path": "/read", "methods": []string{"GET"}},
	}}}})
	late := w.enrolled("alice").again()
	w.office.behave(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == whoami {
			return false
		}
		rw.Header().Add("Set-Cookie", "session=fresh; Path=/")
		rw.Header().Add("Set-Cookie", "sallyport=x; Path=/")
		return true
	})
	for _, tc := range []struct {
		name, method, target string
		keeps                bool
	}{
		{"an exact path", "GET", "/healthz", false},
		{"any method", "DELETE", "/healthz", false},
		{"with a query", "GET", "/healthz?x=/my", false},
		{"below a prefix", "GET", "/public/a/b", false},
		{"the prefix itself", "GET", "/public/", false},
		{"a listed method", "GET", "/read", false},
		{"with credentials", "POST", "/hook", true},
	} {
		w.office.requests()
		answer := send(t, w.URL(), tc.method, tc.target, late.credentials(), "Authorization: Bearer key-alice")
		seen := w.office.requests()
		if len(seen) != 1 {
			t.Errorf("%s: answered %d", tc.name, answer.Status)
			continue
		}
		if got := seen[0].User == "alice"; got != tc.keeps {
			t.Errorf("%s: the app took it for %q's", tc.name, seen[0].User)
		}
		if got := len(seen[0].Header["Cookie"]) + len(seen[0].Header["Authorization"]); (got > 0) != tc.keeps {
			t.Errorf("%s: the app saw %v", tc.name, seen[0].Header)
		}
		want := []string(nil)
		if tc.keeps {
			want = []string{"session=fresh; Path=/"}
		}
		if diff := cmp.Diff(want, answer.Header["Set-Cookie"]); diff != "" {
			t.Errorf("%s: Set-Cookie\n%s", tc.name, diff)
		}
	}
	for _, target := range []string{"/public", "/publicity", "/read/more", "/hook/", "/healthz;x", "/PUBLIC/a"} {
		wantStatus(t, send(t, w.URL(), "GET", target, late.credentials()), http.StatusUnauthorized)
	}
	wantStatus(t, send(t, w.URL(), "POST", "/read", late.credentials()), http.StatusUnauthorized)
	w.office.behave(nil)

	// Headers by which some apps are told of another path mean nothing there.
	got := w.one("GET", "/public/a", "X-Original-URL: /admin", "X-Rewrite-URL: /admin", "X-HTTP-Method-Override: DELETE",
		"X_Original_URL: /admin", "X-Forwarded-Uri: /admin", "X-Forwarded-Prefix: /admin")
	for name := range got.Header {
		if strings.Contains(name, "Original") || strings.Contains(name, "Rewrite") || strings.Contains(name, "Override") ||
			name == "X-Forwarded-Uri" || name == "X-Forwarded-Prefix" {
			t.Errorf("an exempt request carries %s", name)
		}
	}
}

// The decision goes by the request line, whatever a header says.
func TestHeadersDoNotMakeAPathExempt(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	late := w.enrolled("alice").again()
	for _, header := range []string{
		"X-Forwarded-Uri: /public/x", "X-Original-URL: /public/x", "X-Rewrite-URL: /healthz", "X-Forwarded-Method: OPTIONS",
		"X-HTTP-Method-Override: GET", "User-Agent: kube-probe/1.30", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Prefix: /public",
		"Content-Type: application/grpc", "Referer: /public/",
	} {
		w.office.requests()
		wantStatus(t, send(t, w.URL(), "POST", "/admin", late.credentials(), header), http.StatusUnauthorized)
		if seen := w.office.requests(); len(seen) > 0 {
			t.Errorf("with %q the app saw %+v", header, seen)
		}
	}
	// Where the path is exempt by itself, they do not lead the app elsewhere.
	got := w.one("POST", "/public/x", "X-Forwarded-Uri: /admin", "X-Original-URL: /admin", "X_Original_Url: /admin",
		"X-Rewrite-URL: /admin", "X-Forwarded-Method: DELETE", "X-HTTP-Method-Override: DELETE", "X-Forwarded-Prefix: /admin")
	for name, values := range got.Header {
		if strings.Contains(strings.Join(values, ""), "/admin") || strings.Contains(strings.Join(values, ""), "DELETE") {
			t.Errorf("on an exempt path the app is told %s: %q", name, values)
		}
	}
}

func TestConnectionHeaderTakesNothingAway(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	for _, value := range []string{
		"Cookie", "cookie", "close, Cookie", "Cookie, close", "keep-alive\r\nConnection: Cookie", "X-Sallyport-Verified",
		"x-sallyport-verified", "X-Sallyport-Method", "X-Sallyport-Verified-At", "X_Sallyport_Verified", "Authorization",
		"keep-alive, X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Real-Ip", "Forwarded",
		"Host", "Content-Length", "Transfer-Encoding", "Content-Type", "Set-Cookie", "Origin", "Sec-Fetch-Site", "Trailer",
		"Upgrade, Sec-WebSocket-Key", "Vary", "Cache-Control", "X-Requested-With", "proxy-connection", "close;Cookie", "\"close\"",
	} {
		w.office.requests()
		answer := send(t, w.URL(), "GET", "/my", alice.credentials(), "Connection: "+value)
		wantStatus(t, answer, http.StatusBadRequest)
		wantProblemCode(t, answer, "ambiguous_connection")
		if seen := w.office.requests(); len(seen) > 0 {
			t.Errorf("with %q the app saw %+v", value, seen)
		}
	}
	got := w.one("GET", "/my", alice.credentials(), "Connection: upgrade, HTTP2-Settings, close", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ")
	for _, name := range []string{"Upgrade", "Http2-Settings", "Connection"} {
		if got.Header.Get(name) != "" {
			t.Errorf("the app was offered %s: %q", name, got.Header.Get(name))
		}
	}
}

func TestTargetsThatNameAnotherPlace(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	for _, target := range []string{"http://evil.example/my", "https://127.0.0.1/my", w.URL() + "/my", "evil.example/my", "*"} {
		w.office.requests()
		answer := send(t, w.URL(), "GET", target, alice.credentials())
		wantStatus(t, answer, http.StatusBadRequest)
		if seen := w.office.requests(); len(seen) > 0 {
			t.Errorf("%s: the app saw %+v", target, seen)
		}
	}
}

// The app sees who asked, and paths and queries as they came.
func TestRequestReachesTheAppUnchanged(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	for _, target := range []string{"/a%2Fb/c?x=%zz;y&&", "/é?ü", "/a|b", "/?", "/a//b/../c?d=e#f"} {
		got := w.one("REPORT", target, alice.credentials(), "X-Forwarded-For: 203.0.113.9", "Content-Length: 5", "X-Other: 1", "", "hello")
		if got.Target != target || got.Method != "REPORT" {
			t.Errorf("%s became %s %s", target, got.Method, got.Target)
		}
		if !strings.HasPrefix(got.Body, "hello") {
			t.Errorf("the body became %q", got.Body)
		}
		if got.Header.Get("X-Forwarded-For") != "203.0.113.9, 127.0.0.1" || got.Header.Get("X-Other") != "1" {
			t.Errorf("the headers became %v", got.Header)
		}
	}
}

// An exemption for API tokens lets the token through and nothing that a browser's
// session could be.
func TestExemptionsForTokensPassNothingElse(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: stack.Policy{Everyone: true, Spec: map[string]any{"exempt": []map[string]any{
		{"prefix": "/api/v1/", "authorization": []string{"token", "bearer"}},
	}}}})
	late := w.enrolled("alice").again()
	w.office.behave(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == whoami {
			return false
		}
		rw.Header().Add("Set-Cookie", "session=fresh; Path=/")
		return true
	})
	const token = "Authorization: Bearer key-alice"
	for _, tc := range []struct {
		name    string
		target  string
		headers []string
		passes  bool
	}{
		{"a token", "/api/v1/repos", []string{token}, true},
		{"a token beside an unverified session", "/api/v1/repos", []string{token, late.credentials()}, true},
		{"an unverified session alone", "/api/v1/repos", []string{late.credentials()}, false},
		{"a password", "/api/v1/repos", []string{"Authorization: Basic YWxpY2U6YWxpY2UtZGVtbw=="}, false},
		{"a password beside an unverified session", "/api/v1/repos", []string{"Authorization: Basic YWxpY2U6YWxpY2UtZGVtbw==", late.credentials()}, false},
		{"two tokens", "/api/v1/repos", []string{token, token}, false},
		{"a scheme alone beside an unverified session", "/api/v1/repos", []string{"Authorization: Bearer", late.credentials()}, false},
		{"a token elsewhere", "/my", []string{token}, false},
		{"a token on the way out", "/api/v1/..%2f..%2fmy", []string{token}, false},
	} {
		w.office.requests()
		answer := send(t, w.URL(), "GET", tc.target, tc.headers...)
		seen := w.office.requests()
		if got := len(seen) == 1; got != tc.passes {
			t.Errorf("%s: answered %d, and %d requests reached the app", tc.name, answer.Status, len(seen))
			continue
		}
		if !tc.passes {
			continue
		}
		if seen[0].User != "alice" || seen[0].Header["Cookie"] != nil || len(seen[0].Header["Authorization"]) != 1 {
			t.Errorf("%s: the app took it for %q's and saw %v", tc.name, seen[0].User, seen[0].Header)
		}
		if answer.Header["Set-Cookie"] != nil {
			t.Errorf("%s: the app's cookie came back", tc.name)
		}
	}
	// Nobody has no session to bypass anything with, and is the app's to refuse.
	if got := w.one("GET", "/api/v1/repos"); got.User != "" {
		t.Errorf("nobody was taken for %q", got.User)
	}
}
