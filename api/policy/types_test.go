package policy_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/api/policy"
)

func TestDurationJSON(t *testing.T) {
	for in, want := range map[string]time.Duration{
		`"15m"`: 15 * time.Minute, `"0s"`: 0, `"1h30m"`: 90 * time.Minute, `"-1s"`: -time.Second,
	} {
		var d policy.Duration
		if err := json.Unmarshal([]byte(in), &d); err != nil || d.Duration != want {
			t.Errorf("%s is %s (%v), want %s", in, d, err, want)
		}
	}
	for _, in := range []string{`15`, `"15"`, `""`, `"1d"`, `true`, `{}`} {
		d := policy.Duration{Duration: time.Hour}
		if err := json.Unmarshal([]byte(in), &d); err == nil || !strings.Contains(err.Error(), "duration") {
			t.Errorf("%s gives %v, want an error that speaks of durations", in, err)
		}
	}
}

func TestPortJSON(t *testing.T) {
	for in, want := range map[string]policy.Port{
		`8080`: {Number: 8080}, `"http"`: {Name: "http"}, `0`: {}, `-1`: {Number: -1},
	} {
		p := policy.Port{Number: 1, Name: "stale"}
		if err := json.Unmarshal([]byte(in), &p); err != nil || p != want {
			t.Errorf("%s is %+v (%v), want %+v", in, p, err, want)
		}
	}
	for _, in := range []string{`80.5`, `1e99`, `4294967376`, `true`, `[]`, `{}`} {
		var p policy.Port
		if err := json.Unmarshal([]byte(in), &p); err == nil || p != (policy.Port{}) {
			t.Errorf("%s is %+v (%v), want an error and nothing", in, p, err)
		}
	}
}

func FuzzDurationJSON(f *testing.F) {
	for _, s := range []string{`"15m"`, `"0s"`, `""`, `0`, `"1.5h"`, `"-2562047h47m16.854775808s"`, "null"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) { roundTrip[policy.Duration](t, in) })
}

func FuzzPortJSON(f *testing.F) {
	for _, s := range []string{`8080`, `"http"`, `0`, `""`, `"\u0000"`, `1e3`, "null"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) { roundTrip[policy.Port](t, in) })
}

// roundTrip wants what can be read to be written and read to the same value.
func roundTrip[T comparable](t *testing.T, in []byte) {
	t.Helper()
	var first, second T
	if json.Unmarshal(in, &first) != nil {
		return
	}
	out, err := json.Marshal(first)
	if err != nil {
		t.Fatalf("writing %+v: %v", first, err)
	}
	if err := json.Unmarshal(out, &second); err != nil || first != second {
		t.Errorf("%s became %s: %+v, %+v (%v)", in, out, first, second, err)
	}
}
