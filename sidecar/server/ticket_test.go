package server_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/test/stack"
)

const wrongTicket = "That ticket is not valid. Check it, or ask your administrator for a new one."

func ticketPolicy(everyone bool) stack.Policy {
	return stack.Policy{Everyone: everyone, Spec: map[string]any{"enrolment": map[string]any{"mode": "Ticket"}}}
}

// enable asks for a secret with what was typed as a ticket.
func (p *person) enable(ticket string) *stack.Page {
	p.w.t.Helper()
	return p.Submit(p.Get(prefix), "/enable", map[string]string{"ticket": ticket})
}

// wantNoSecret fails the test unless the ticket was refused.
func wantNoSecret(t *testing.T, refused *stack.Page) {
	t.Helper()
	wantStatus(t, refused, http.StatusUnprocessableEntity)
	wantText(t, refused, "error", wrongTicket)
	wantCard(t, refused, "not-configured", "Not configured")
	if strings.Contains(refused.Body, "otpauth") || refused.Secret() != "" {
		t.Errorf("a secret is shown without a ticket:\n%s", refused.Body)
	}
}

// Whoever has stolen a password of somebody who has not enrolled has no ticket.
func TestNobodyEnrolsWithoutTheirTicket(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: ticketPolicy(true)})
	bob := w.IssueTicket("id-bob", time.Hour)
	thief := w.signedIn("alice")
	for _, tc := range []struct{ name, typed string }{
		{"none", ""},
		{"one that nobody issued", stack.NewTicket(t)},
		{"another user's", bob},
		{"a short one", "0123"},
		{"a long one", strings.Repeat("0", 1000)},
		{"no digits", strings.Repeat("x", 32)},
		{"other digits", strings.Repeat("\u0661", 32)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantNoSecret(t, thief.enable(tc.typed))
		})
	}
	alice := w.IssueTicket("id-alice", time.Hour)
	for _, typed := range []string{"", stack.NewTicket(t), bob, alice[:31], alice + "0"} {
		wantNoSecret(t, thief.enable(typed))
	}
	thief.wantPasses(false, "without a ticket")
	if failures := audits(t, w.Sidecars[0], "enrol.fail"); len(failures) != 12 || failures[0]["factor"] != "ticket" || failures[0]["result"] != "wrong" {
		t.Errorf("these were audited: %v", failures)
	}
	if starts := audits(t, w.Sidecars[0], "enrol.start"); len(starts) != 0 {
		t.Errorf("secrets were minted: %v", starts)
	}
}

func TestTicketAsPeopleTypeIt(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: ticketPolicy(false)})
	ticket := w.IssueTicket("id-alice", time.Hour)
	alice := w.signedIn("alice")
	grouped := ticket[:8] + "-" + ticket[8:16] + " " + ticket[16:24] + "-" + ticket[24:]
	for _, typed := range []string{ticket, strings.ToUpper(ticket), grouped, " " + ticket + " "} {
		wantStatus(t, alice.enable(typed), http.StatusOK)
	}
}

// A ticket is spent by the confirmation, and not by the page with the secret.
func TestTicketWorksOnce(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: ticketPolicy(true)})
	ticket := w.IssueTicket("id-alice", time.Hour)
	alice := w.signedIn("alice")
	first := alice.enable(ticket)
	wantStatus(t, first, http.StatusOK)
	alice.secret = first.Secret()
	wantStatus(t, alice.Submit(first, "/confirm", map[string]string{"code": alice.wrongCode()}), http.StatusUnprocessableEntity)
	second := alice.enable(ticket)
	other := w.signedIn("alice")
	third := other.enable(ticket)
	during := w.dump()
	wantStatus(t, alice.confirm(second), http.StatusOK)
	alice.wantPasses(true, "with a ticket")
	wantStatus(t, alice.Submit(alice.Get(prefix), "/disable", map[string]string{"password": "alice-demo"}), http.StatusOK)
	wantNoSecret(t, alice.enable(ticket))
	wantNoSecret(t, other.confirm(third))

	var s secrets
	digest := sha256.Sum256([]byte(ticket))
	s.add(ticket, strings.ToUpper(ticket), string(digest[:]), hex.EncodeToString(digest[:]))
	s.wantAbsent(t, "Redis during the enrolment", during)
	s.wantAbsent(t, "the log", w.Sidecars[0].Log.String())
	s.wantAbsent(t, "the metrics", w.Sidecars[0].Metrics(t))
}

func TestTicketExpires(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: ticketPolicy(true)})
	ticket := w.IssueTicket("id-alice", time.Minute)
	alice := w.signedIn("alice")
	wantStatus(t, alice.enable(ticket), http.StatusOK)
	w.clock.Advance(time.Minute)
	// It says so itself: the store still has it.
	wantNoSecret(t, alice.enable(ticket))
	fresh := w.IssueTicket("id-alice", time.Hour)
	pending := alice.enable(fresh)
	w.Redis.Del(w.onlyTicket())
	wantNoSecret(t, alice.confirm(pending))
}

// A newer ticket takes the older one back, up to the last moment.
func TestNewerTicketReplacesTheOlder(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: ticketPolicy(true)})
	older := w.IssueTicket("id-alice", time.Hour)
	thief, alice := w.signedIn("alice"), w.signedIn("alice")
	stolen := thief.enable(older)
	wantStatus(t, stolen, http.StatusOK)
	newer := w.IssueTicket("id-alice", time.Hour)
	wantNoSecret(t, thief.confirm(stolen))
	wantNoSecret(t, thief.enable(older))
	wantStatus(t, alice.confirm(alice.enable(newer)), http.StatusOK)
}

// What was begun while a policy asked for no ticket ends where it asks for one.
func TestSecretOfBeforeTicketsIsNotConfirmed(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	thief := w.signedIn("alice")
	begun := thief.Submit(thief.Get(prefix), "/enable", nil)
	wantStatus(t, begun, http.StatusOK)
	w.setPolicy(ticketPolicy(true))
	w.IssueTicket("id-alice", time.Hour)
	w.Eventually("tickets are asked for", func() bool { return !thief.passes() })
	wantNoSecret(t, thief.confirm(begun))
	thief.wantPasses(false, "with a secret of before")
}

// Whoever can write to Redis and has no keys cannot issue a ticket: neither one made
// up, nor another user's, nor one with a later end.
func TestTicketCannotBeForged(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: ticketPolicy(true)})
	bob := w.IssueTicket("id-bob", time.Hour)
	ofBob := w.onlyTicket()
	value, err := w.Redis.Get(ofBob)
	if err != nil {
		t.Fatal(err)
	}
	w.Redis.Del(ofBob)
	old := w.IssueTicket("id-alice", -time.Hour)
	ofAlice := w.onlyTicket()
	expired, err := w.Redis.Get(ofAlice)
	if err != nil {
		t.Fatal(err)
	}
	_, mac, _ := strings.Cut(expired, ".")
	alice := w.signedIn("alice")
	for _, tc := range []struct{ name, stored, typed string }{
		{"another user's", value, bob},
		{"a later end", "99999999999." + mac, old},
		{"no end", mac, old},
		{"nothing but an end", "99999999999.", old},
		{"nothing", "", old},
		{"the digest as it is", "99999999999." + old, old},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := w.Redis.Set(ofAlice, tc.stored); err != nil {
				t.Fatal(err)
			}
			wantNoSecret(t, alice.enable(tc.typed))
		})
	}
}

// onlyTicket returns the key of the one ticket that the store has.
func (w *world) onlyTicket() string {
	w.t.Helper()
	var found []string
	for _, key := range w.Redis.Keys() {
		if strings.HasSuffix(key, "}:t") {
			found = append(found, key)
		}
	}
	if len(found) != 1 {
		w.t.Fatalf("the store has the tickets %q", found)
	}
	return found[0]
}

// A store that cannot be read, or is another, is never one without a ticket to ask for.
func TestTicketAndRedisAway(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: ticketPolicy(true)})
	ticket := w.IssueTicket("id-alice", time.Hour)
	alice := w.signedIn("alice")
	card := alice.Get(prefix)
	w.Redis.SetError("LOADING Redis is loading the dataset in memory")
	wantStatus(t, alice.Submit(card, "/enable", map[string]string{"ticket": ticket}), http.StatusServiceUnavailable)
	w.Redis.SetError("")
	w.Redis.FlushAll()
	wantStatus(t, alice.Submit(card, "/enable", map[string]string{"ticket": ticket}), http.StatusServiceUnavailable)
}

// One ticket and many browsers: one enrols.
func TestOneTicketEnrolsOneBrowser(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: ticketPolicy(true), Sidecars: 2})
	ticket := w.IssueTicket("id-alice", time.Hour)
	const n = 12
	var pending [n]*stack.Page
	var people [n]*person
	for i := range n {
		people[i] = w.visitor("alice")
		people[i].Base = w.Sidecars[i%2].URL
		people[i].signIn()
		pending[i] = people[i].enable(ticket)
		wantStatus(t, pending[i], http.StatusOK)
	}
	var group sync.WaitGroup
	statuses := make(chan int, n)
	for i, p := range people {
		code := codeAt(t, pending[i].Secret(), w.clock.Now())
		action, fields := pending[i].Form("/confirm")
		fields.Set("code", code)
		group.Go(func() { statuses <- p.Post(action, fields).Status })
	}
	group.Wait()
	close(statuses)
	enrolled := 0
	for status := range statuses {
		if status == http.StatusOK {
			enrolled++
		}
	}
	if enrolled != 1 {
		t.Errorf("%d browsers enrolled by one ticket", enrolled)
	}
}

func TestTicketsAreNotAskedOfTheEnrolled(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: stack.Policy{Everyone: true}})
	alice := w.enrolled("alice")
	card := alice.Get(prefix)
	if card.Doc.Find("#ticket").Length() != 0 || w.signedIn("bob").Get(prefix).Doc.Find("#ticket").Length() != 0 {
		t.Error("a policy without tickets asks for one")
	}
	w.setPolicy(ticketPolicy(true))
	bob := w.signedIn("bob")
	w.Eventually("tickets are asked for", func() bool { return bob.Get(prefix).Doc.Find("#ticket").Length() == 1 })
	again := alice.again()
	again.verify()
	again.wantPasses(true, "enrolled before tickets")
	// An answer to a form that has no such field is the same as to one left empty.
	action, fields := bob.Get(prefix).Form("/enable")
	wantNoSecret(t, bob.Post(action, url.Values{"csrf_token": fields["csrf_token"]}))
}

// Whoever was not the first to enrol can see that somebody was, and when.
func TestChallengeSaysWhenTwoFactorWasSetUp(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	thief := w.enrolled("alice")
	since := thief.status().ConfirmedAt
	w.clock.Advance(48 * time.Hour)
	challenge := w.signedIn("alice").Get(prefix + "/challenge")
	shown := challenge.Doc.Find(".recovery time")
	if shown.AttrOr("datetime", "") != since.Format(time.RFC3339) || shown.Text() != since.Format("2 January 2006") {
		t.Errorf("set up at %v, and shown is %q:\n%s", since, shown.Text(), challenge.Body)
	}
	if !strings.Contains(challenge.Doc.Find(".recovery").Text(), "If it was not you who did that, tell your administrator.") {
		t.Errorf("nobody says what to do:\n%s", challenge.Body)
	}
}
