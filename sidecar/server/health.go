package server

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// check is one condition of readiness.
type check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Detail says what holds, or what is wrong and what to do.
	Detail string `json:"detail,omitempty"`
}

// readiness is the sum of the checks. It starts not ready: nothing is known yet.
type readiness struct {
	mu     sync.Mutex
	checks map[string]check
}

// The checks that must all hold.
const (
	checkPolicy   = "policy"
	checkKeys     = "keys"
	checkStore    = "store"
	checkClock    = "clock"
	checkServing  = "serving"
	notYetChecked = "not checked yet"
)

func newReadiness() *readiness {
	r := &readiness{checks: map[string]check{}}
	for _, name := range []string{checkPolicy, checkKeys, checkStore, checkClock, checkServing} {
		r.checks[name] = check{Name: name, Detail: notYetChecked}
	}
	return r
}

// set notes the outcome of a check and reports whether it changed from or to OK.
func (r *readiness) set(name string, ok bool, detail string) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed = r.checks[name].OK != ok
	r.checks[name] = check{Name: name, OK: ok, Detail: detail}
	return changed
}

func (r *readiness) report() (ready bool, checks []check) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ready = true
	for _, c := range r.checks {
		ready = ready && c.OK
		checks = append(checks, c)
	}
	slices.SortFunc(checks, func(a, b check) int { return strings.Compare(a.Name, b.Name) })
	return ready, checks
}

// operations serves health, readiness and metrics, on a port of their own, and
// answers probes if there is a handler of them.
func operations(r *readiness, gatherer prometheus.Gatherer, probes http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]bool{"healthy": true})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		ready, checks := r.report()
		status := http.StatusOK
		if !ready {
			status = http.StatusServiceUnavailable
		}
		writeJSON(w, status, struct {
			Ready  bool    `json:"ready"`
			Checks []check `json:"checks"`
		}{ready, checks})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
	if probes != nil {
		mux.Handle("/probe/", probes)
	}
	return mux
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a reader who left is no news
}
