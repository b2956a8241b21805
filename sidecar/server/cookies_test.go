package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/test/stack"
)

// What cookies can and cannot do.

func TestTokenIsNeverOneThatWasThereBefore(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	planted := strings.Repeat("B", 42) + "A" // well formed, and the attacker's

	victim := alice.again()
	victim.setCookie("sallyport", planted)
	victim.verify()
	victim.wantPasses(true, "the victim")
	token := victim.Cookie("sallyport")
	session := "session=" + victim.Cookie("session")
	if token == planted || token == "" {
		t.Fatalf("the token after the challenge is %q", token)
	}
	if reaches(w, session+"; sallyport="+planted) {
		t.Error("a token that was planted before the challenge is verified")
	}
	if !reaches(w, session+"; sallyport="+token) {
		t.Error("the victim's own cookies do not work: the test proves nothing")
	}

	// So does another code, for the same enrolment: the old token is dead.
	w.clock.Advance(15 * time.Minute)
	victim.verify()
	if victim.Cookie("sallyport") == token || reaches(w, session+"; sallyport="+token) {
		t.Error("the token from before the second code still counts")
	}
	token = victim.Cookie("sallyport")

	// And so does regeneration.
	card := victim.Get(prefix)
	wantStatus(t, victim.Submit(card, "/recovery-codes", nil), http.StatusOK)
	if victim.Cookie("sallyport") == token || reaches(w, session+"; sallyport="+token) {
		t.Error("the token from before the regeneration still counts")
	}
	victim.wantPasses(true, "with the new token")
}

func TestTokenIsReadExactly(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	session, token := "session="+alice.Cookie("session"), alice.Cookie("sallyport")
	other := w.signedIn("alice")
	if !reaches(w, session+"; sallyport="+token) {
		t.Fatal("the cookies as they are do not work")
	}
	for name, cookies := range map[string]string{
		"without the last character":  session + "; sallyport=" + token[:len(token)-1],
		"with a character more":       session + "; sallyport=" + token + "A",
		"padded":                      session + "; sallyport=" + token + "=",
		"with the spare bits set":     session + "; sallyport=" + token[:len(token)-1] + nextLetter(token),
		"in quotes":                   session + `; sallyport="` + token + `"`,
		"twice":                       session + "; sallyport=" + token + "; sallyport=" + token,
		"twice, one of them wrong":    session + "; sallyport=" + strings.Repeat("A", 43) + "; sallyport=" + token,
		"by the production name":      session + "; __Host-sallyport=" + token,
		"in capitals":                 session + "; SALLYPORT=" + token,
		"with another sign-in":        "session=" + other.Cookie("session") + "; sallyport=" + token,
		"without a sign-in":           "sallyport=" + token,
		"of an encoded name":          session + "; %73allyport=" + token,
		"beside one of another case":  session + "; sallyport=" + token + "; Sallyport=" + token,
		"nameless":                    session + "; =sallyport=" + token,
		"with another in the session": session + ",sallyport=" + token,
	} {
		if reaches(w, cookies) {
			t.Errorf("a token %s verifies", name)
		}
	}
}

// nextLetter is another last letter that decodes to the same bytes where the
// decoder ignores spare bits.
func nextLetter(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	at := strings.IndexByte(alphabet, token[len(token)-1])
	return string(alphabet[at^1])
}

// Each of these lines may be nobody's to one server and Alice's to another.
func TestMalformedSessionCookies(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	s := w.enrolled("alice").again().Cookie("session")
	for _, line := range []string{
		"session=" + s + "; session=" + s,
		"session=x; session=" + s,
		"session=" + s + "; session=x",
		"session=" + s + "; Session=" + s,
		"SESSION=" + s,
		`session="` + s + `"`,
		`session="` + s,
		`session=a"b` + s,
		`session=a\b` + s,
		"session=café" + s,
		"session=" + s + "\xff",
		"session =" + s,
		"session= " + s,
		"session=" + s + " x",
		"session",
		"session; session=" + s,
		"=session=" + s,
		"%73ession=" + s,
		"session%20=" + s,
		`"session"=` + s,
		"theme=dark,session=" + s,
		"theme=dark session=" + s,
		`theme="dark; session=` + s + `; x="`,
		`theme="a session=` + s + `"`,
		"session=" + s + ",theme=dark",
		"a=b\tsession=" + s,
		"session=" + s + "; session",
		"session=" + s + ";session=",
		"; session=" + s + "; SESSION=y",
	} {
		w.office.requests()
		answer := send(t, w.URL(), "GET", "/my", "Cookie: "+line, "Accept: */*")
		for _, hit := range w.office.requests() {
			if hit.User != "" {
				t.Errorf("%q reached the app as %s: %d", line, hit.User, answer.Status)
			}
			if strings.Contains(hit.Header.Get("Cookie"), s) {
				t.Errorf("%q reached the app with a session in it: %d", line, answer.Status)
			}
		}
		if answer.Status != http.StatusBadRequest {
			t.Errorf("%q is answered %d", line, answer.Status)
		}
	}
	answer := send(t, w.URL(), "GET", "/my", "Cookie: a=b", "Cookie: session="+s, "Cookie: session="+s, "Accept: text/html")
	wantStatus(t, answer, http.StatusBadRequest)
	if !strings.Contains(answer.Text("message"), "Delete this site's cookies") {
		t.Errorf("the page says %q", answer.Text("message"))
	}
	answer = send(t, w.URL(), "GET", "/my", "Authorization: Bearer key-alice", "Authorization: Basic eDp5")
	wantStatus(t, answer, http.StatusBadRequest)
	wantProblemCode(t, answer, "ambiguous_authorization")
	if w.Sidecars[0].Metric(t, `sallyport_refusals_total{code="ambiguous_cookie"}`) == 0 {
		t.Error("refusals are not counted")
	}
}

// Other cookies may look as they like.
func TestOddCookiesOfTheAppKeepEveryByte(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	line := `prefs={"a":[1,2]}; x="y z"; empty=; flag;  session=` + alice.Cookie("session") + `;é=ü; __Host-a=b`
	w.office.requests()
	send(t, w.URL(), "GET", "/my", "Cookie: "+line+"; sallyport="+alice.Cookie("sallyport"))
	seen := w.office.requests()
	if len(seen) != 1 || seen[0].Header.Get("Cookie") != line {
		t.Errorf("the app saw %+v", seen)
	}
}

func TestSidecarsCookiesAreNotTheApps(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	w.office.behave(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/sets" {
			return false
		}
		for _, line := range []string{
			"sallyport=planted; Path=/", "sallyport=; Max-Age=0", "SALLYPORT=x", "sallyport-return=L2V2aWw", "theme=dark",
			" sallyport =x", "=sallyport=x",
		} {
			rw.Header().Add("Set-Cookie", line)
		}
		return true
	})
	token := alice.Cookie("sallyport")
	answer := alice.Get("/sets")
	if got := answer.Header.Values("Set-Cookie"); len(got) != 1 || got[0] != "theme=dark" {
		t.Errorf("the app set %q", got)
	}
	if alice.Cookie("sallyport") != token {
		t.Error("the app changed the sidecar's cookie")
	}
	for _, hit := range w.office.requests() {
		if strings.Contains(hit.Header.Get("Cookie"), "sallyport") {
			t.Errorf("the app saw the sidecar's cookie: %s", hit.Target)
		}
	}
}

// An app that renews its session cookie signs nobody out of the second factor; one
// that takes it away does.
func TestVerificationFollowsTheAppsCookie(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	old := "session=" + alice.Cookie("session") + "; sallyport=" + alice.Cookie("sallyport")
	w.office.behave(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/renew" {
			return false
		}
		w.office.adopt("renewed", "alice")
		http.SetCookie(rw, &http.Cookie{Name: "session", Value: "renewed", Path: "/"})
		return true
	})
	wantStatus(t, alice.Get("/renew"), http.StatusOK)
	if alice.Cookie("session") != "renewed" {
		t.Fatal("the session was not renewed")
	}
	alice.wantPasses(true, "with the renewed cookie")
	if !reaches(w, old) {
		t.Error("a request that was under way with the old cookie is stopped")
	}
	if reaches(w, "session=renewed; sallyport="+strings.Repeat("A", 43)) {
		t.Error("the renewed cookie alone is verified")
	}
}
