package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/test/stack"
)

// ask asks the operations port.
func ask(t *testing.T, s *stack.Sidecar, method, path string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.OpsURL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func TestOperationsPort(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	s := w.Sidecars[0]
	for _, tc := range []struct {
		method, path string
		status       int
		kind         string
	}{
		{"GET", "/healthz", 200, "application/json"},
		{"GET", "/readyz", 200, "application/json"},
		{"GET", "/metrics", 200, "text/plain"},
		{"HEAD", "/healthz", 200, "application/json"},
		{"POST", "/healthz", 405, ""},
		{"DELETE", "/metrics", 405, ""},
		{"GET", "/", 404, ""},
		{"GET", "/healthz/", 404, ""},
		{"GET", "/metrics/x", 404, ""},
		{"GET", "/debug/pprof/", 404, ""},
		{"GET", "/debug/pprof/cmdline", 404, ""},
		{"GET", "/debug/vars", 404, ""},
		{"GET", prefix, 404, ""},
		{"GET", "/my", 404, ""},
	} {
		response, body := ask(t, s, tc.method, tc.path)
		if response.StatusCode != tc.status || !strings.HasPrefix(response.Header.Get("Content-Type"), tc.kind) {
			t.Errorf("%s %s: %d %q %.80q", tc.method, tc.path, response.StatusCode, response.Header.Get("Content-Type"), body)
		}
	}
	if seen := w.office.requests(); len(seen) > 0 {
		t.Errorf("the operations port leads to the app: %+v", seen)
	}
	var report struct {
		Ready  bool
		Checks []struct {
			Name, Detail string
			OK           bool
		}
	}
	_, body := ask(t, s, "GET", "/readyz")
	if err := json.Unmarshal([]byte(body), &report); err != nil || !report.Ready {
		t.Errorf("/readyz: %v, %s", err, body)
	}
	var names []string
	for _, check := range report.Checks {
		names = append(names, check.Name)
		if !check.OK {
			t.Errorf("%s is not OK: %s", check.Name, check.Detail)
		}
	}
	if diff := cmp.Diff([]string{"clock", "keys", "policy", "serving", "store"}, names); diff != "" {
		t.Error(diff)
	}
}

// Nothing of the sidecar's operations is on the port that users reach.
func TestTrafficPortHasNoOperations(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{})
	p := w.signedIn("alice")
	for _, path := range []string{"/readyz", "/metrics", "/debug/pprof/", "/debug/pprof/heap", "/debug/vars"} {
		w.office.requests()
		answer := p.Get(path)
		wantStatus(t, answer, http.StatusOK)
		if seen := w.office.requests(); len(seen) != 1 || !strings.HasPrefix(answer.Body, "the office saw GET "+path) {
			t.Errorf("%s is not the app's: %s", path, answer.Body)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := startOffice(t, stack.Options{Policy: stack.Policy{Admins: true}})
	s := w.Sidecars[0]
	// Series of closed sets are there before their first event.
	for _, series := range []string{
		`sallyport_decisions_total{decision="challenge"}`, `sallyport_decisions_total{decision="refuse"}`,
		`sallyport_verifications_total{factor="recovery",result="spent"}`, `sallyport_streams_cut_total`,
	} {
		if !strings.Contains(s.Metrics(t), "\n"+series+" 0\n") {
			t.Errorf("there is no %s at the start", series)
		}
	}

	alice := w.signedIn("alice")
	alice.enrol()
	late := alice.again()
	late.try("code", late.wrongCode())
	late.try("code", alice.last)
	late.try("recovery_code", alice.codes[0])
	other := alice.again()
	other.try("recovery_code", alice.codes[0])
	other.try("code", other.code())
	other.Submit(other.Get(prefix), "/disable", map[string]string{"password": "x"})
	other.Submit(other.Get(prefix), "/disable", map[string]string{"password": "alice-demo"})
	w.signedIn("adam").wantPasses(false, "an administrator")
	send(t, w.URL(), "GET", "/my", "Cookie: session=a; session=b")
	send(t, w.URL(), "TRACE", "/my")

	for series, want := range map[string]float64{
		`sallyport_verifications_total{factor="totp",result="wrong"}`:     1,
		`sallyport_verifications_total{factor="totp",result="replayed"}`:  1,
		`sallyport_verifications_total{factor="totp",result="ok"}`:        1,
		`sallyport_verifications_total{factor="recovery",result="ok"}`:    1,
		`sallyport_verifications_total{factor="password",result="wrong"}`: 1,
		`sallyport_verifications_total{factor="password",result="ok"}`:    1,
		`sallyport_enrolment_events_total{event="enrol.start"}`:           1,
		`sallyport_enrolment_events_total{event="enrol.confirm"}`:         1,
		`sallyport_enrolment_events_total{event="disable"}`:               1,
		`sallyport_decisions_total{decision="enrol"}`:                     1,
		`sallyport_refusals_total{code="ambiguous_cookie"}`:               1,
		`sallyport_refusals_total{code="method_not_allowed"}`:             1,
		`sallyport_policy_generation`:                                     1,
		`sallyport_policy_last_reload_successful`:                         1,
		`sallyport_requests_in_flight`:                                    0,
		`sallyport_build_info{version="test"}`:                            1,
	} {
		if got := s.Metric(t, series); got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
	for _, series := range []string{
		`sallyport_decisions_total{decision="allow"}`, `sallyport_identity_seconds_count`,
		`sallyport_redis_command_seconds_count{command="evalsha"}`,
		`go_gc_heap_live_bytes`, // the hashes of recovery codes made garbage to collect
	} {
		if s.Metric(t, series) == 0 {
			t.Errorf("%s is 0", series)
		}
	}
	labels := regexp.MustCompile(`(?m)^sallyport_[a-z_]+\{([^}]*)\}`)
	for _, match := range labels.FindAllStringSubmatch(s.Metrics(t), -1) {
		for label := range strings.SplitSeq(match[1], ",") {
			name, _, _ := strings.Cut(label, "=")
			if !slices.Contains([]string{
				"decision", "code", "factor", "result", "event", "command", "reason", "version", "le",
			}, name) {
				t.Errorf("a series has the label %s", label)
			}
		}
	}
}
