package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sallyport/sallyport/sidecar/identity/wire"
	"github.com/sallyport/sallyport/test/stack"
)

// recording is what the cookie parsers of other languages' servers found under the
// name app_session: see testdata/cookies/record, which made it.
type recording struct {
	Parsers []string `json:"parsers"`
	Lines   []struct {
		// Line of a Cookie header; a character is a byte. The session is "eVALUE".
		Line  string              `json:"line"`
		Found map[string][]string `json:"found"`
	} `json:"lines"`
}

const recordedSession = "eVALUE"

func readRecording(t *testing.T) recording {
	t.Helper()
	doc, err := os.ReadFile("testdata/cookies/recorded.json")
	if err != nil {
		t.Fatal(err)
	}
	var r recording
	if err := json.Unmarshal(doc, &r); err != nil {
		t.Fatal(err)
	}
	var lines []string
	if doc, err = os.ReadFile("testdata/cookies/lines.json"); err == nil {
		err = json.Unmarshal(doc, &lines)
	}
	if err != nil || len(lines) != len(r.Lines) || len(r.Parsers) < 16 {
		t.Fatalf("%d lines, %d of them recorded by %q (%v): run testdata/cookies/record", len(lines), len(r.Lines), r.Parsers, err)
	}
	for i := range r.Lines {
		if r.Lines[i].Line != lines[i] {
			t.Fatalf("line %d is not what was recorded: run testdata/cookies/record", i)
		}
	}
	return r
}

// headerBytes turns characters into the bytes that they stand for.
func headerBytes(s string) string {
	var b strings.Builder
	for _, c := range s {
		b.WriteByte(byte(c))
	}
	return b.String()
}

// TestNoParserSeesASessionThatTheDoorDoesNot sends an enrolled user's session in
// every spelling of the recording, without the factor. Whatever reaches the app
// must be nobody's to every parser, although the answer to "who is signed in" came
// from another one.
func TestNoParserSeesASessionThatTheDoorDoesNot(t *testing.T) {
	t.Parallel()
	r := readRecording(t)
	for _, tc := range []struct {
		name  string
		start func(t *testing.T) (w *world, session string)
	}{
		{"the app is asked", func(t *testing.T) (*world, string) {
			w := startOffice(t, stack.Options{App: goReader{}, Policy: cookieNamed("app_session")})
			p := w.visitor("alice")
			p.setCookie("app_session", recordedSession)
			p.enrol()
			return w, recordedSession
		}},
		{"a token is read here", func(t *testing.T) (*world, string) {
			i := newIssuer(t)
			policy := i.policy(stack.Policy{})
			policy.Spec["identity"].(map[string]any)["jwt"].(map[string]any)["cookie"] = "app_session"
			i.w = startOffice(t, stack.Options{App: goReader{}, Policy: policy})
			token := i.token("alice", "s1", nil)
			p := i.w.visitor("alice")
			p.setCookie("app_session", token)
			p.enrol()
			return i.w, token
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w, session := tc.start(t)
			passed, seen := 0, map[string]bool{}
			for _, line := range r.Lines {
				for parser, values := range line.Found {
					seen[parser] = seen[parser] || slices.Contains(values, recordedSession)
				}
				sent := headerBytes(strings.ReplaceAll(line.Line, recordedSession[1:], session[1:]))
				answer := send(t, w.URL(), "GET", "/page", "Cookie: "+sent, "Accept: */*")
				if answer.Status != http.StatusOK {
					continue
				}
				passed++
				if err := nobodys(line.Found, sent, answer); err != nil {
					t.Errorf("%q: %v", line.Line, err)
				}
			}
			if len(seen) != len(r.Parsers) || slices.ContainsFunc(r.Parsers, func(p string) bool { return !seen[p] }) {
				t.Errorf("of %q, only %v ever saw the session", r.Parsers, seen)
			}
			if passed < 20 {
				t.Errorf("only %d lines passed as nobody's: the test proves little", passed)
			}
		})
	}
}

// nobodys says which parser takes a request that reached the app for somebody's.
func nobodys(found map[string][]string, sent string, answer *stack.Page) error {
	arrived := strings.TrimPrefix(answer.Body, "cookies: ")
	switch {
	case arrived == "":
		return nil
	case arrived != strings.Trim(sent, " \t"): // net/http trims the value of a header
		return fmt.Errorf("it became %q", arrived)
	}
	for parser, values := range found {
		if slices.Contains(values, recordedSession) && !decodesValue(sent) {
			return fmt.Errorf("%s sees the session, which passed as nobody's", parser)
		}
	}
	return nil
}

// decodesValue reports whether the session is in its right place and its value is
// written with an escape, or as one of several. Apps write such values themselves, so
// they pass; that an app understands its own values wherever it reads them is for
// TestAppThatReadsCookiesAsOthersDo and the app.
func decodesValue(line string) bool {
	for _, value := range wire.Values(line, "app_session") {
		if strings.ContainsAny(value, "%&") {
			return true
		}
	}
	return false
}

// An app that reads cookies as one of the recorded parsers does, in its pages and
// where it says who is signed in, sees nobody's requests alone.
func TestAppThatReadsCookiesAsOthersDo(t *testing.T) {
	t.Parallel()
	r := readRecording(t)
	reader := &recordedReader{t: t, found: map[string]map[string][]string{}}
	w := startOffice(t, stack.Options{App: reader, Policy: cookieNamed("app_session")})
	for _, line := range r.Lines {
		reader.found[strings.Trim(headerBytes(line.Line), " \t")] = line.Found
	}
	reader.parser.Store(r.Parsers[0])
	p := w.visitor("alice")
	p.setCookie("app_session", recordedSession)
	p.enrol()
	tried := 0
	for _, line := range r.Lines {
		l := dial(t, w.URL())
		for parser, values := range line.Found {
			if !slices.Contains(values, recordedSession) {
				continue
			}
			tried++
			reader.parser.Store(parser)
			if answer := l.send("GET", "/page", "Cookie: "+headerBytes(line.Line), "Accept: */*"); answer.Body == "alice" {
				t.Errorf("%q passed without the factor, and is alice's to %s", line.Line, parser)
			}
		}
		l.hangUp()
	}
	if tried < 1000 {
		t.Errorf("only %d pairs of a line and a parser that sees the session in it", tried)
	}
}

// recordedReader is an app that knows alice's session and reads it as a recorded
// parser does. It answers with the user.
type recordedReader struct {
	t      *testing.T
	found  map[string]map[string][]string
	parser atomic.Value
}

func (a *recordedReader) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	line := wire.CookieLine(r.Header)
	found, recorded := a.found[line]
	if line != "" && !recorded {
		a.t.Errorf("%q reached the app, which nobody sent", line)
	}
	parser, _ := a.parser.Load().(string)
	alice := slices.Contains(found[parser], recordedSession)
	switch {
	case alice && r.URL.Path == whoami:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"id-alice","name":"alice","roles":[]}`)
	case alice:
		_, _ = io.WriteString(w, "alice")
	case r.URL.Path == whoami:
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// cookieNamed is the office's policy with another session cookie.
func cookieNamed(name string) stack.Policy {
	return stack.Policy{Spec: map[string]any{"identity": map[string]any{"type": "Endpoint", "endpoint": map[string]any{
		"path": whoami, "cookies": []string{name}, "account": "/name", "cacheFor": "0s",
	}}}}
}

// goReader is an app that knows alice's session and reads it as Go does. It answers
// with the cookies that reached it.
type goReader struct{}

func (goReader) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != whoami {
		_, _ = io.WriteString(w, "cookies: "+wire.CookieLine(r.Header))
		return
	}
	for _, cookie := range r.CookiesNamed("app_session") {
		if cookie.Value == recordedSession {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"id":"id-alice","name":"alice","roles":[]}`)
			return
		}
	}
	w.WriteHeader(http.StatusUnauthorized)
}
