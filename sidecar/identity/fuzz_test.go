package identity_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sidecar/identity"
)

// Whatever the app answers with 200, it is a user that another JSON decoder reads as
// well, or nothing is known. It is never nobody.
func FuzzEndpointAnswer(f *testing.F) {
	for _, body := range []string{
		alice, `{"id":17}`, `{"id":""}`, `{"id":null}`, `{"id":1e0}`, `{"id":["u-1"]}`, `{"ID":"u-1"}`, "[]", "null", "", `{"id":"u-1"} {}`,
		`{"id":"u-1","id":"u-2"}`, "{\"id\":\"u-\xff\"}", `{"id":"u-\ud800"}`, `{"id":"u\u0000"}`, "\ufeff" + alice,
	} {
		f.Add([]byte(body), "application/json")
	}
	f.Add([]byte(alice), "application/problem+json; charset=latin1")
	f.Fuzz(func(t *testing.T, body []byte, kind string) {
		source, err := identity.NewEndpoint(endpointConfig(), identity.EndpointOptions{
			App: &url.URL{Scheme: "http", Host: "app.example"}, Clock: newClock().Now,
			Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				a := answer(io.NopCloser(strings.NewReader(string(body))))
				a.Header = http.Header{"Content-Type": {kind}}
				return a, nil
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		switch id := source.Identify(t.Context(), request("Cookie", "session=s1")); id.Kind {
		case identity.Anonymous:
			t.Fatalf("%q is nobody's", body)
		case identity.Indeterminate:
			if id.Reason == "" || id.Subject != "" {
				t.Fatalf("%q became %+v", body, id)
			}
		case identity.Authenticated:
			var read map[string]json.RawMessage
			if err := json.Unmarshal(body, &read); err != nil {
				t.Fatalf("%q became %+v, and is no JSON object: %v", body, id, err)
			}
			var text string
			if json.Unmarshal(read["id"], &text) != nil {
				text = string(read["id"])
			}
			if text != id.Subject || text == "" || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == '\ufffd' }) {
				t.Fatalf("%q became %+v", body, id)
			}
		}
	})
}
