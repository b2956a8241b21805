package identity_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/identity"
)

// users of an app with two kinds of credentials, by credential.
var (
	byCookie = map[string]string{"session=alice": "alice", "session=bob": "bob"}
	byHeader = map[string]string{"Basic alice": "alice", "Basic bob": "bob"}
)

// precedence says which user an app sees where both kinds of credentials come.
type precedence func(cookie, header string, hasHeader bool) string

var precedences = map[string]precedence{
	"the header outranks the cookie": func(cookie, header string, hasHeader bool) string {
		if hasHeader {
			return header
		}
		return cookie
	},
	"the cookie outranks the header": func(cookie, header string, _ bool) string {
		if cookie != "" {
			return cookie
		}
		return header
	},
	"the header counts for nothing": func(cookie, _ string, _ bool) string { return cookie },
}

func (p precedence) user(h http.Header) string {
	return p(byCookie[h.Get("Cookie")], byHeader[h.Get("Authorization")], len(h["Authorization"]) > 0)
}

// TestWhatGoesOnToTheAppIsWhatWasJudged holds every request that a source lets go
// on against every way in which the app's other paths may read it.
func TestWhatGoesOnToTheAppIsWhatWasJudged(t *testing.T) {
	t.Parallel()
	cookies := []string{"", "session=alice", "session=bob", "session=anonymous"}
	headers := []string{"", "Basic alice", "Basic bob", "Basic wrong", "Bearer junk", "Unknown x"}
	for name, asked := range precedences {
		t.Run("the path that is asked: "+name, func(t *testing.T) {
			t.Parallel()
			source := newEndpoint(t, newApp(t, func(w http.ResponseWriter, r *http.Request) {
				if user := asked.user(r.Header); user != "" {
					saysJSON(fmt.Sprintf(`{"id":%q}`, user))(w, r)
					return
				}
				w.WriteHeader(http.StatusUnauthorized)
			}), newClock(), nil)
			for _, cookie := range cookies {
				for _, header := range headers {
					r := request()
					if cookie != "" {
						r.Header.Set("Cookie", cookie)
					}
					if header != "" {
						r.Header.Set("Authorization", header)
					}
					id := source.Identify(t.Context(), r)
					for other, path := range precedences {
						seen := path.user(r.Header)
						if id.Kind != identity.Indeterminate && seen != "" && seen != id.Subject {
							t.Errorf("cookie %q, header %q: judged %q, but where %s the app sees %q",
								cookie, header, id.Subject, other, seen)
						}
					}
				}
			}
		})
	}
}

func TestEndpointKeepsTheAnonymousSessionOfTheSignInForm(t *testing.T) {
	t.Parallel()
	source := newEndpoint(t, newApp(t, says(http.StatusUnauthorized, "text/plain", "")), newClock(), nil)
	r := request("Cookie", "session=anonymous; csrf=c", "Authorization", "Basic eA==")
	if got := source.Identify(t.Context(), r); got.Kind != identity.Anonymous {
		t.Fatalf("got %+v, want nobody", got)
	}
	want := http.Header{"Cookie": {"session=anonymous; csrf=c"}}
	if diff := cmp.Diff(want, r.Header); diff != "" {
		t.Errorf("what goes on differs (-want +got):\n%s", diff)
	}
}
