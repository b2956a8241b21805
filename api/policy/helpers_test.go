package policy_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/api/policy"
)

// baseRules are the smallest valid rules of type Endpoint, without defaults.
func baseRules() *policy.Rules {
	return &policy.Rules{
		App:      policy.App{Port: policy.Port{Number: 8080}},
		Identity: policy.Identity{Type: policy.IdentityEndpoint, Endpoint: &policy.EndpointIdentity{}},
	}
}

func asJWT(r *policy.Rules) *policy.JWTIdentity {
	j := &policy.JWTIdentity{
		Issuer:   "https://id.example.com",
		Audience: []string{"portal"},
		JWKS:     policy.JWKS{URL: "https://id.example.com/jwks.json"},
	}
	r.Identity = policy.Identity{Type: policy.IdentityJWT, JWT: j}
	return j
}

func asHeaders(r *policy.Rules) *policy.HeadersIdentity {
	h := &policy.HeadersIdentity{TrustedProxies: []string{"10.0.0.0/8"}}
	r.Identity = policy.Identity{Type: policy.IdentityHeaders, Headers: h}
	return h
}

func span(d time.Duration) *policy.Duration { return &policy.Duration{Duration: d} }

func repeat(n int, format string) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(format, i)
	}
	return list
}

type ruleCase struct {
	name   string
	mutate func(*policy.Rules)
	// want are the faults: the path in full, "|", and a part of the message.
	want []string
}

// runRuleCases gives rules their defaults, changes them, and wants exactly the
// given faults.
func runRuleCases(t *testing.T, cases []ruleCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			r := baseRules()
			tc.mutate(r)
			r.SetDefaults("portal")
			before := mustJSON(t, r)
			got := r.Validate()
			if diff := cmp.Diff(before, mustJSON(t, r)); diff != "" {
				t.Errorf("Validate changed the rules (-before +after):\n%s", diff)
			}
			compareFaults(t, got, tc.want)
		})
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func compareFaults(t *testing.T, got policy.Faults, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d faults, want %d:\n%v", len(got), len(want), got)
	}
	for i, w := range want {
		path, message, _ := strings.Cut(w, "|")
		if got[i].Path != path || message == "" || !strings.Contains(got[i].Message, message) {
			t.Errorf("fault %d is %q, want path %q and %q in the message", i, got[i], path, message)
		}
		if strings.ContainsAny(got[i].String(), "\n\r\x00") {
			t.Errorf("fault %d does not stay on one line: %q", i, got[i])
		}
	}
}
