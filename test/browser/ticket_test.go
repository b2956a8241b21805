package browser_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/sallyport/sallyport/test/stack"
)

// byTicket asks everybody to enrol, and for a ticket.
var byTicket = stack.Policy{Everyone: true, Spec: map[string]any{"enrolment": map[string]any{"mode": "Ticket"}}}

// idOfAlice is how the app names alice to the sidecar.
const idOfAlice = "u-1001"

// TestEnrollingByTicket is how somebody enrols whose administrator sent a ticket: a
// stolen password alone leads nowhere.
func TestEnrollingByTicket(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{Policy: byTicket})
	ticket := w.IssueTicket(idOfAlice, time.Hour)
	alice := w.person()
	alice.signsIn("alice")
	alice.open("/my/documents?x=1")
	alice.mustEnrol()
	alice.write(ticketField, stack.NewTicket(t))
	if status := alice.follow("button", enable); status != http.StatusUnprocessableEntity {
		t.Errorf("another ticket answered %d, want 422", status)
	}
	alice.reads("error", wrongTicket)
	alice.inState("not-configured")
	alice.wait(`document.activeElement.id === "ticket"`)

	// Typing goes on where the mistake was, by keyboard alone.
	alice.keys(ticket[:16] + "-" + ticket[16:])
	alice.enter()
	alice.inState("pending")
	ph := &phone{t: t, clock: w.clock, secret: eval[string](alice, `document.getElementById("secret").textContent.replace(/ /g, "")`)}
	alice.confirms(ph)
	alice.follow("link", "Continue")
	alice.isAt("/my/documents?x=1")
}

func TestEnrollingByTicketWithoutJavaScript(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{Policy: byTicket})
	ticket := w.IssueTicket(idOfAlice, time.Hour)
	alice := w.person()
	alice.withoutScripts()
	alice.signsIn("alice")
	alice.mustEnrol()
	alice.write(ticketField, ticket)
	alice.confirms(alice.mints(w.clock))
}
