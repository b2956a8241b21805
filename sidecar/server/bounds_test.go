package server_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/test/stack"
)

// What one request may cost: its headers, the time it takes to send them, and a form
// of the sidecar's own pages. What an app takes is the app's affair.
func TestBoundsOfARequest(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})

	t.Run("headers", func(t *testing.T) {
		t.Parallel()
		for size, want := range map[int]int{16 << 10: http.StatusOK, 64 << 10: http.StatusRequestHeaderFieldsTooLarge} {
			wantStatus(t, send(t, w.URL(), "GET", "/my", "X-Long: "+strings.Repeat("x", size)), want)
		}
	})

	t.Run("headers that never end", func(t *testing.T) {
		t.Parallel()
		address := strings.TrimPrefix(w.URL(), "http://")
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// The door hangs up after five seconds, by a clock that no test can move.
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "GET /my HTTP/1.1\r\nHost: %s\r\nX-Slow:", address); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("a client that sends no end of its headers keeps its connection: %v", err)
		}
	})

	t.Run("a form", func(t *testing.T) {
		t.Parallel()
		p := w.signedIn("alice")
		card := p.Get(prefix)
		target, fields := card.Form("/enable")
		fields.Set("more", strings.Repeat("x", 5<<10))
		wantStatus(t, p.Post(target, fields), http.StatusBadRequest)
		if got := p.status().State; got != "not-configured" {
			t.Errorf("a form that is too long was carried out: the state is %q", got)
		}
		wantStatus(t, p.Submit(card, "/enable", nil), http.StatusOK)
	})
}

// Somebody with the password alone, at a browser that still shows the card of a
// verification that has ended, neither sees nor changes anything.
func TestPasswordAloneManagesNothing(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	alice := w.enrolled("alice")
	stale := alice.again()
	stale.verify()
	card := stale.Get(prefix)
	wantStatus(t, alice.Submit(alice.Get(prefix), "/recovery-codes", nil), http.StatusOK)
	stale.wantPasses(false, "once the codes were made anew elsewhere")

	before := alice.status()
	challenge := prefix + "/challenge?" + url.Values{"return_to": {prefix}}.Encode()
	wantLocation(t, stale.Get(prefix), challenge)
	wantLocation(t, stale.Submit(card, "/recovery-codes", nil), challenge)
	wantLocation(t, stale.Submit(card, "/disable", map[string]string{"password": "alice-demo"}), challenge)
	after := alice.status()
	if before.ConfirmedAt == nil || after.ConfirmedAt == nil || !after.ConfirmedAt.Equal(*before.ConfirmedAt) {
		t.Errorf("the enrolment was %+v and is %+v", before, after)
	}
	alice.wantPasses(true, "alice, whose verification is the present one")
	alice.again().wantPasses(false, "with a password alone")
}
