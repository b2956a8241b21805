package server_test

import (
	"net/http"
	"testing"

	"github.com/sallyport/sallyport/test/stack"
)

// TestASecondCredentialOpensNothing sends, beside the session of somebody who has
// only given a password, an Authorization header that is nobody's, somebody
// else's, or of no known scheme. The demo app lets the header outrank the cookie.
func TestASecondCredentialOpensNothing(t *testing.T) {
	t.Parallel()
	w := start(t, stack.Options{Policy: stack.Policy{Admins: true}})
	enrolled := w.enrolled("alice").again()
	required := w.signedIn("root")
	verified := w.enrolled("adam")
	headers := map[string]string{
		"junk bearer": "Bearer junk", "wrong Basic": "Basic cm9vdDp3cm9uZw==", "unknown scheme": "Hawk id=1", "empty": "",
		"another user's right Basic": "Basic aW5lczppbmVzLWRlbW8=", // ines:ines-demo, required and not enrolled
	}
	for name, header := range headers {
		for _, path := range []string{"/my", "/admin", "/api/tasks", "/dav", "/my/download/large"} {
			for who, p := range map[string]*person{"enrolled": enrolled, "required": required} {
				r := p.Request(http.MethodGet, path, nil)
				r.Header.Set("Authorization", header)
				if answer := p.Do(r); answer.Status == http.StatusOK {
					t.Errorf("%s user, %s: %s was served", who, name, path)
				}
			}
		}
	}
	// A verified user's session does not carry another user's credentials in.
	r := verified.Request(http.MethodGet, "/api/tasks", nil)
	r.Header.Set("Authorization", headers["another user's right Basic"])
	wantStatus(t, verified.Do(r), http.StatusBadRequest)
	wantStatus(t, verified.Get("/api/tasks"), http.StatusOK)
}
