package server_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/test/stack"
)

// documented is the schema as operators read it.
func documented(t *testing.T) (fields, events, results []string) {
	t.Helper()
	doc, err := os.ReadFile("../../docs/audit-events.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| (`[^|]*`) \\|([^|]*)\\|")
	name := regexp.MustCompile("`([^`]+)`")
	head, tail, _ := strings.Cut(string(doc), "\n| event | when |")
	for _, match := range row.FindAllStringSubmatch(head, -1) {
		for _, n := range name.FindAllStringSubmatch(match[1], -1) {
			fields = append(fields, n[1])
			if n[1] == "result" {
				for _, r := range name.FindAllStringSubmatch(match[2], -1) {
					results = append(results, r[1])
				}
			}
		}
	}
	for _, match := range row.FindAllStringSubmatch(tail, -1) {
		events = append(events, strings.Trim(match[1], "`"))
	}
	return fields, events, results
}

// wantDocumented holds one line of a log against the schema.
func wantDocumented(t *testing.T, line auditLine, fields, events, results []string) {
	t.Helper()
	for field, value := range line {
		if !slices.Contains(fields, field) {
			t.Errorf("%s has the field %s: %v", line["event"], field, value)
		}
	}
	for field, form := range map[string]string{
		"level": `^INFO$`, "msg": `^Security event$`, "requestId": `^[0-9a-f]{16}$`, "client": `^127\.0\.0\.1$`,
		"user": `^[A-Za-z0-9_-]{24}$`, "factor": `^(totp|recovery|password)$`, "userAgent": `^(?s).{0,200}$`,
		"reason": `^[a-z_]+$`, "code": `^[a-z_]+$`, "decision": `^[a-z_]+$`,
	} {
		value, there := line[field]
		optional := slices.Contains([]string{"user", "factor", "reason", "code", "decision"}, field)
		if text := fmt.Sprint(value); (there || !optional) && !regexp.MustCompile(form).MatchString(text) {
			t.Errorf("%s: %s is %q", line["event"], field, text)
		}
	}
	if result, there := line["result"]; there && !slices.Contains(results, fmt.Sprint(result)) {
		t.Errorf("%s: result is %v", line["event"], result)
	}
	if _, err := time.Parse(time.RFC3339, fmt.Sprint(line["time"])); err != nil {
		t.Errorf("%s: %v", line["event"], err)
	}
	if !slices.Contains(events, fmt.Sprint(line["event"])) {
		t.Errorf("the event %v is not documented", line["event"])
	}
}

func TestAuditEventsAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	fields, events, results := documented(t)
	if len(fields) < 12 || len(events) < 14 || len(results) < 6 {
		t.Fatalf("the document was not understood: %q, %q, %q", fields, events, results)
	}
	w := startOffice(t, stack.Options{Recheck: 50 * time.Millisecond})
	w.office.behave(w.office.streaming)
	alice := w.signedIn("alice")
	pending := alice.Submit(alice.Get(prefix), "/enable", nil)
	alice.secret = pending.Secret()
	alice.Submit(pending, "/confirm", map[string]string{"code": alice.wrongCode()})
	alice.codes = alice.Submit(pending, "/confirm", map[string]string{"code": alice.code()}).Codes()
	late := alice.again()
	late.Get("/my")
	late.try("code", late.wrongCode())
	late.try("code", alice.last)
	late.try("recovery_code", "x")
	late.try("recovery_code", alice.codes[0])
	alice.again().try("recovery_code", alice.codes[0])
	stream := late.open(t, "/events")
	late.Submit(late.Get(prefix), "/recovery-codes", nil)
	stream.wantEnd(t, "with the old cookie") // it was opened with the token from before
	late.SignOut()
	third := alice.again()
	third.verify()
	third.Submit(third.Get(prefix), "/disable", map[string]string{"password": "x"})
	third.Submit(third.Get(prefix), "/disable", map[string]string{"password": "alice-demo"})
	send(t, w.URL(), "GET", "/my", "Cookie: session=a; session=b")
	w.office.behave(json200("[]"))
	third.Get("/my")

	seen := map[string]bool{}
	for _, line := range audits(t, w.Sidecars[0], "") {
		wantDocumented(t, line, fields, events, results)
		seen[fmt.Sprint(line["event"])] = true
		for _, field := range []string{"user", "factor", "result", "reason", "code", "decision"} {
			if value, there := line[field]; there && value == "" {
				t.Errorf("%v has an empty %s", line["event"], field)
			}
		}
	}
	// Forged sign-ins and re-sealed seeds have tests of their own; resets and tickets are the operator's.
	elsewhere := []string{"session.forged", "key.reseal", "admin.reset", "admin.ticket"}
	for _, event := range events {
		if !seen[event] && !slices.Contains(elsewhere, event) {
			t.Errorf("%s is documented and never written", event)
		}
	}
}

// The reference that a person reads out leads to the lines of the log.
func TestReferenceOfAnErrorPage(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	page := send(t, w.URL(), "GET", "/my", "Cookie: session=a; session=b", "Accept: text/html")
	reference := page.Doc.Find(`[data-testid="message"] code`).Text()
	refused := audits(t, w.Sidecars[0], "request.refused")
	if len(refused) != 1 || refused[0]["requestId"] != reference || refused[0]["code"] != "ambiguous_cookie" {
		t.Errorf("the page's reference is %q, the log has %v", reference, refused)
	}
}

// What a client says of itself is quoted, cut short, and never a line of its own.
func TestHostileUserAgentForgesNoLine(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	forged := `"} {"audit":true,"event":"disable","user":"forged"}`
	for _, agent := range []string{
		forged, "\t" + forged + "\t", "x\x85y\u2028" + forged, strings.Repeat("ü", 150), "\xff\xfe", `\n\r` + forged, `\`, `"`,
	} {
		before := len(audits(t, w.Sidecars[0], ""))
		send(t, w.URL(), "TRACE", "/my", "User-Agent: "+agent, "X-Forwarded-For: 1.2.3.4\"}")
		after := audits(t, w.Sidecars[0], "") // every line is JSON, or this fails
		if len(after) != before+1 {
			t.Fatalf("%q made %d lines", agent, len(after)-before)
		}
		line := after[before]
		if line["event"] != "request.refused" || line["user"] != nil || line["client"] != "127.0.0.1" {
			t.Errorf("%q: %v", agent, line)
		}
		if got := fmt.Sprint(line["userAgent"]); len(got) > 200 {
			t.Errorf("%q: %d bytes of it are in the log", agent, len(got))
		}
	}
	// Lines cannot be broken on the way in either.
	answer := send(t, w.URL(), http.MethodGet, "/", "User-Agent: x\r\n{\"audit\":true,\"event\":\"disable\"}")
	wantStatus(t, answer, http.StatusBadRequest)
	if len(audits(t, w.Sidecars[0], "disable")) > 0 {
		t.Error("a line was forged")
	}
}
