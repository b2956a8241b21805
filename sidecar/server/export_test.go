package server

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/sallyport/sallyport/sidecar/authz"
)

// Decider returns what the door of the policy in force does to decide about the
// request, once it has read its own cookies and removed them.
func (s *Server) Decider(ctx context.Context, t testing.TB, r *http.Request) func() (authz.Decision, error) {
	t.Helper()
	d := s.current.Load()
	if !s.checkStore(ctx, d) {
		t.Fatal("the store cannot be relied upon")
	}
	token := d.read(r).token
	if refusal := d.hygiene.Clean(r); refusal != nil {
		t.Fatalf("the request is refused: %s", refusal.Code)
	}
	return func() (authz.Decision, error) {
		v := &visit{token: token}
		err := d.decide(r, v)
		return v.decision, err
	}
}

// CutRequest is what may end a request.
var CutRequest = cut

// BeginRequest is what the server does with a request first.
func BeginRequest(r *http.Request, random io.Reader) (begun *http.Request, done func()) {
	begun, c := begin(r, random)
	return begun, c.release
}
