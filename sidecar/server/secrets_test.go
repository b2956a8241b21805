package server_test

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/test/stack"
)

// secrets are what must turn up nowhere.
type secrets struct {
	texts []string
	// digits are codes, which turn up by chance within longer numbers.
	digits []string
}

func (s *secrets) add(texts ...string) { s.texts = append(s.texts, texts...) }

// code notes a code of a phone and passes it on.
func (s *secrets) code(code string) string {
	s.digits = append(s.digits, code)
	return code
}

// recovery notes recovery codes, as they are and as a careless hash of them.
func (s *secrets) recovery(codes []string) {
	for _, code := range codes {
		for _, form := range []string{code, strings.ReplaceAll(code, "-", ""), strings.ToLower(code)} {
			one, two, three := sha1.Sum([]byte(form)), sha256.Sum256([]byte(form)), sha512.Sum512([]byte(form))
			s.add(form)
			for _, sum := range [][]byte{one[:], two[:], three[:]} {
				s.add(string(sum), hex.EncodeToString(sum), base64.StdEncoding.EncodeToString(sum))
			}
		}
	}
}

func (s *secrets) cookies(p *person) {
	for _, name := range []string{"session", "sallyport"} {
		if value := p.Cookie(name); value != "" {
			s.add(value)
		}
	}
}

func (s *secrets) wantAbsent(t *testing.T, where, text string) {
	t.Helper()
	for _, secret := range s.texts {
		if at := strings.Index(text, secret); at >= 0 {
			t.Errorf("%s holds %q: …%s", where, secret, text[max(0, at-80):min(len(text), at+80)])
		}
	}
	for _, code := range s.digits {
		if found := regexp.MustCompile(`(^|[^0-9.])` + code + `($|[^0-9.e])`).FindString(text); found != "" {
			t.Errorf("%s holds the code %s", where, code)
		}
	}
}

// dump returns every key of the store and everything that it holds.
func (w *world) dump() string {
	w.t.Helper()
	client := w.DialRedis()
	var all strings.Builder
	for _, key := range client.Keys(w.t.Context(), "*").Val() {
		fmt.Fprintf(&all, "%s\n", key)
		switch kind := client.Type(w.t.Context(), key).Val(); kind {
		case "string":
			fmt.Fprintf(&all, "\t%s\n", client.Get(w.t.Context(), key).Val())
		case "hash":
			for field, value := range client.HGetAll(w.t.Context(), key).Val() {
				fmt.Fprintf(&all, "\t%s\t%s\n", field, value)
			}
		default:
			w.t.Fatalf("%s is a %s", key, kind)
		}
	}
	return all.String()
}

func TestSecretsTurnUpNowhere(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Sidecars: 2})
	var s secrets
	s.add("otpauth", "alice-demo", "guessed-password", "query-canary", "id-alice", "id-bob", "key-alice", "api-canary")

	// Everything that the guide knows, and some of what it does not.
	alice := w.signedIn("alice")
	s.cookies(alice)
	card := alice.Get(prefix)
	s.cookies(alice)
	pending := alice.Submit(card, "/enable", nil)
	alice.secret = pending.Secret()
	s.add(alice.secret, pending.Text("totp-secret"), alice.secret[:12])
	during := w.dump()
	alice.Submit(pending, "/confirm", map[string]string{"code": s.code(alice.wrongCode())})
	done := alice.Submit(pending, "/confirm", map[string]string{"code": s.code(alice.code())})
	alice.codes = done.Codes()
	s.recovery(alice.codes)
	s.cookies(alice)
	for _, page := range []*stack.Page{card, pending, done} {
		s.add(tokens(page, "none")...)
	}
	late := alice.again()
	late.Base = w.Sidecars[1].URL
	late.Visit("/my?secret=query-canary")
	s.cookies(late)
	late.try("code", s.code(late.wrongCode()))
	late.try("recovery_code", "ABCD-2345")
	s.add("ABCD-2345", "ABCD2345")
	late.try("recovery_code", alice.codes[1])
	s.cookies(late)
	third := alice.again()
	s.cookies(third)
	third.try("code", s.code(third.code()))
	s.cookies(third)
	fresh := third.Submit(third.Get(prefix), "/recovery-codes", nil)
	s.recovery(fresh.Codes())
	s.cookies(third)
	third.Submit(third.Get(prefix), "/disable", map[string]string{"password": "guessed-password"})
	before := w.dump()
	third.Submit(third.Get(prefix), "/disable", map[string]string{"password": "alice-demo"})
	bob := w.enrolled("bob")
	s.add(bob.secret)
	s.recovery(bob.codes)
	s.cookies(bob)
	bob.SignOut()

	// Requests that go wrong say why in the log.
	for _, header := range []string{
		"Cookie: session=" + alice.Cookie("session") + "; session=twice", "Authorization: Bearer key-alice",
		"Cookie: session=x; sallyport=" + third.Cookie("sallyport"), "X-Api-Key: api-canary",
		"Authorization: Basic YWxpY2U6YWxpY2UtZGVtbw==",
	} {
		send(t, w.URL(), "GET", "/my?secret=query-canary", header)
	}
	s.add("YWxpY2U6YWxpY2UtZGVtbw")
	w.office.behave(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == whoami {
			panic(http.ErrAbortHandler)
		}
		return false
	})
	send(t, w.URL(), "GET", "/my?secret=query-canary", "Cookie: session="+alice.Cookie("session"))
	w.office.behave(nil)
	w.Redis.Close()
	third.Get("/my?secret=query-canary")
	if err := w.Redis.Restart(); err != nil {
		t.Fatal(err)
	}

	s.wantAbsent(t, "Redis during the enrolment", during)
	s.wantAbsent(t, "Redis before the end", before)
	s.wantAbsent(t, "Redis", w.dump())
	for _, sidecar := range w.Sidecars {
		log := sidecar.Log.String()
		s.wantAbsent(t, "the log", log)
		s.wantAbsent(t, "the metrics", sidecar.Metrics(t))
		if !strings.Contains(log, "verify.") {
			t.Error("the log is empty: the test proves nothing")
		}
	}
	if len(s.texts) < 200 || !strings.Contains(before, "}:u\n") {
		t.Errorf("%d secrets were looked for", len(s.texts))
	}
	// The search can find: the app's own log of requests is full of them.
	var app strings.Builder
	for _, hit := range w.office.requests() {
		fmt.Fprintln(&app, hit)
	}
	if !strings.Contains(app.String(), "query-canary") && !strings.Contains(app.String(), "password=alice-demo") {
		t.Error("the search finds nothing even where secrets must be")
	}
}
