package server_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/test/stack"
)

// problem is the refusal that programs read (RFC 9457).
type problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Code     string `json:"code"`
	Location string `json:"location"`
}

func readProblem(t testing.TB, p *stack.Page) problem {
	t.Helper()
	if got := p.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("%s answered %d with %q:\n%s", p.URL, p.Status, got, p.Body)
	}
	d := json.NewDecoder(strings.NewReader(p.Body))
	d.DisallowUnknownFields()
	var got problem
	if err := d.Decode(&got); err != nil {
		t.Fatalf("%s: %v\n%s", p.URL, err, p.Body)
	}
	if got.Status != p.Status {
		t.Errorf("%s: the problem speaks of %d, the status line of %d", p.URL, got.Status, p.Status)
	}
	wantUncached(t, p)
	return got
}

func wantProblem(t testing.TB, p *stack.Page, want problem) {
	t.Helper()
	if diff := cmp.Diff(want, readProblem(t, p)); diff != "" {
		t.Errorf("%s:\n%s", p.URL, diff)
	}
}

func wantProblemCode(t testing.TB, p *stack.Page, code string) {
	t.Helper()
	if got := readProblem(t, p).Code; got != code {
		t.Errorf("%s: code %q, want %q", p.URL, got, code)
	}
}

// wantUncached fails the test unless no cache may keep the answer.
func wantUncached(t testing.TB, p *stack.Page) {
	t.Helper()
	if got := p.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("%s (%d): Cache-Control is %q", p.URL, p.Status, got)
	}
	if got := p.Header.Get("Vary"); got != "Cookie, Authorization" {
		t.Errorf("%s (%d): Vary is %q", p.URL, p.Status, got)
	}
	if got := p.Header.Get("X-Content-Type-Options"); got != "nosniff" {
		t.Errorf("%s (%d): X-Content-Type-Options is %q", p.URL, p.Status, got)
	}
}

// line is a connection to a sidecar that carries one request after another.
type line struct {
	t      testing.TB
	base   *url.URL
	conn   net.Conn
	answer *bufio.Reader
}

// dial returns a line to the sidecar, which is made when it is needed.
func dial(t testing.TB, base string) *line {
	t.Helper()
	at, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	l := &line{t: t, base: at}
	t.Cleanup(l.hangUp)
	return l
}

func (l *line) hangUp() {
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// send writes a request as it stands, so that nothing on the way tidies it up, and
// returns the answer with its body.
func (l *line) send(method, target string, header ...string) *stack.Page {
	l.t.Helper()
	if l.conn == nil {
		conn, err := new(net.Dialer).DialContext(l.t.Context(), "tcp", l.base.Host)
		if err != nil {
			l.t.Fatal(err)
		}
		l.conn, l.answer = conn, bufio.NewReader(conn)
	}
	_ = l.conn.SetDeadline(time.Now().Add(10 * time.Second))
	lines := append([]string{method + " " + target + " HTTP/1.1", "Host: " + l.base.Host}, header...)
	if _, err := io.WriteString(l.conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		l.t.Fatal(err)
	}
	response, err := http.ReadResponse(l.answer, &http.Request{Method: method})
	if err != nil {
		l.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	if response.Close {
		l.hangUp()
	}
	return stack.NewPage(l.t, response, l.base.JoinPath("/"), body)
}

// send sends one request on a line of its own.
func send(t testing.TB, base, method, target string, header ...string) *stack.Page {
	t.Helper()
	l := dial(t, base)
	defer l.hangUp()
	if !slices.ContainsFunc(header, func(s string) bool { return strings.HasPrefix(s, "Connection:") }) {
		header = slices.Insert(slices.Clone(header), 0, "Connection: close")
	}
	return l.send(method, target, header...)
}

// unverified is what a request carries on behalf of an enrolled user who has given
// a password and no code.
func unverified(w *world) map[string]string {
	w.t.Helper()
	alice := w.enrolled("alice").again()
	return map[string]string{
		"a session": "Cookie: session=" + alice.Cookie("session"),
		"a session and a token of no standing": "Cookie: session=" + alice.Cookie("session") +
			"; sallyport=" + strings.Repeat("A", 43),
		"HTTP Basic":   "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("alice:alice-demo")),
		"an API token": "Authorization: Bearer key-alice",
	}
}

func TestNothingOfAnEnrolledUserPassesWithoutTheFactor(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	credentials := unverified(w)
	targets := []string{
		"/", "/my", "/api/tasks?x=1", "/ws", "//x", "/login", "/login/", "/whoami", "/healthz/", "/healthz/.", "/HEALTHZ",
		"/public/../my", "/public/..;/my", "/public/%2e%2e/my", "/public%2f..%2fmy", "/public//x", "/%70ublic/x",
		"/public/x;y=1", `/public/x\y`, "/public", "/Public/x", "/public/%00", "/x?/public/x", "/my/..%2fpublic/x",
		prefix + "x", prefix + "/../", strings.ToUpper(prefix), prefix + "%2fassets/x", prefix + "/assets/../../x",
	}
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "FOO"}
	w.office.requests()
	for kind, credential := range credentials {
		l := dial(t, w.URL())
		for _, method := range methods {
			for _, target := range targets {
				answer := l.send(method, target, credential, "Accept: */*")
				if answer.Status == http.StatusServiceUnavailable { // a busy machine: the store took too long
					answer = l.send(method, target, credential, "Accept: */*")
				}
				if seen := w.office.requests(); len(seen) > 0 {
					t.Fatalf("%s %s with %s reached the app: %+v", method, target, kind, seen)
				}
				if answer.Status != http.StatusUnauthorized {
					t.Errorf("%s %s with %s: %d", method, target, kind, answer.Status)
				}
				wantUncached(t, answer)
			}
		}
	}
	for _, method := range []string{"CONNECT", "TRACE", "TRACK", "trace"} {
		answer := send(t, w.URL(), method, "/my", credentials["a session"])
		if answer.Status != http.StatusMethodNotAllowed || len(w.office.requests()) > 0 {
			t.Errorf("%s: %d", method, answer.Status)
		}
	}
	if seen := w.Sidecars[0].Metric(t, `sallyport_decisions_total{decision="allow"}`); seen == 0 {
		t.Error("nothing was ever allowed: the table proves nothing")
	}
}

// The same requests pass once the factor was given, so that it was the factor that
// stopped them.
func TestTheSamePassesWithTheFactor(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	cookies := "Cookie: session=" + alice.Cookie("session") + "; sallyport=" + alice.Cookie("sallyport")
	for _, target := range []string{"/", "/api/tasks?x=1", "/public/../my", "/public/..;/my", "/%70ublic/x", `/public/x\y`} {
		w.office.requests()
		send(t, w.URL(), "PROPFIND", target, cookies)
		seen := w.office.requests()
		if len(seen) != 1 || seen[0].Target != target || seen[0].Method != "PROPFIND" || seen[0].User != "alice" {
			t.Errorf("%s: %+v", target, seen)
		}
	}
}

func TestAnswerToWhoAsks(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	session := unverified(w)["a session"]
	origin := w.URL()
	const browser = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	const form = "Content-Type: application/x-www-form-urlencoded"
	at := func(returnTo string) string {
		return prefix + "/challenge?" + url.Values{"return_to": {returnTo}}.Encode()
	}
	for _, tc := range []struct {
		name, method, target string
		header               []string
		// location of a redirect; "" where a problem is due.
		location string
	}{
		{"a navigation", "GET", "/a?b=c&d=%2F", []string{browser}, at("/a?b=c&d=%2F")},
		{"a navigation as modern browsers mark it", "GET", "/a", []string{
			browser, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: none", "Sec-Fetch-User: ?1",
		}, at("/a")},
		{"HEAD of a navigation", "HEAD", "/a", []string{browser}, at("/a")},
		{"a frame", "GET", "/a", []string{browser, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, at("/a")},
		{"a path that is another origin to browsers", "GET", "//evil.example/a", []string{browser}, at("/")},
		{"a form", "POST", "/a/save", []string{browser, form, "Referer: " + origin + "/a/edit?id=7"}, at("/a/edit?id=7")},
		{"a form without a referrer", "POST", "/a", []string{browser, form}, at("/")},
		{"a form of a foreign page", "POST", "/a", []string{browser, form, "Referer: https://evil.example/x"}, at("/")},
		{"an upload form", "POST", "/a", []string{browser, "Content-Type: multipart/form-data; boundary=x"}, at("/")},
		{"fetch", "GET", "/a", []string{"Accept: */*", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}, ""},
		{"fetch that claims to want HTML", "GET", "/a", []string{browser, "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}, ""},
		{"an image", "GET", "/a", []string{browser, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}, ""},
		{"XMLHttpRequest of an old browser", "GET", "/a", []string{browser, "X-Requested-With: XMLHttpRequest"}, ""},
		{"JSON", "POST", "/a", []string{browser, "Content-Type: application/json"}, ""},
		{"PUT", "PUT", "/a", []string{browser}, ""},
		{"a client that says nothing", "GET", "/a", nil, ""},
		{"a WebSocket", "GET", "/ws", []string{
			browser, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
		}, ""},
		{"a preflight with credentials", "OPTIONS", "/a", []string{
			"Origin: https://evil.example", "Access-Control-Request-Method: PUT",
		}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			answer := send(t, origin, tc.method, tc.target, append(tc.header, session)...)
			if tc.location != "" {
				wantStatus(t, answer, http.StatusSeeOther)
				if got := answer.Header.Get("Location"); got != tc.location {
					t.Errorf("Location %q, want %q", got, tc.location)
				}
				wantUncached(t, answer)
				return
			}
			wantStatus(t, answer, http.StatusUnauthorized)
			if got := answer.Header.Get("WWW-Authenticate"); got != `Sallyport realm="two-factor"` {
				t.Errorf("WWW-Authenticate %q", got)
			}
			returnTo := "/"
			wantProblem(t, answer, problem{
				Type: "about:blank", Title: "Two-factor verification required", Status: http.StatusUnauthorized,
				Detail: "Password accepted. Enter your code to continue.", Code: "mfa_challenge_required",
				Location: at(returnTo),
			})
		})
	}
	if seen := w.office.requests(); slices.ContainsFunc(seen, func(s hit) bool { return s.User != "" && s.Target != "/login" }) {
		t.Errorf("these reached the app: %+v", seen)
	}
}
