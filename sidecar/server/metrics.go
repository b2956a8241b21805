package server

import (
	"context"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/sallyport/sallyport/sidecar/authz"
	"github.com/sallyport/sallyport/sidecar/identity"
	"github.com/sallyport/sallyport/sidecar/mfa"
)

// metrics are what an operator watches. Labels come from closed sets: never a
// user, a path or a host.
type metrics struct {
	decisions       *prometheus.CounterVec
	refusals        *prometheus.CounterVec
	verifications   *prometheus.CounterVec
	enrolments      *prometheus.CounterVec
	redisSeconds    *prometheus.HistogramVec
	redisErrors     *prometheus.CounterVec
	identitySeconds prometheus.Histogram
	identityErrors  *prometheus.CounterVec
	rolesUnknown    prometheus.Counter
	generation      prometheus.Gauge
	reloads         *prometheus.CounterVec
	reloadOK        prometheus.Gauge
	inFlight        prometheus.Gauge
	streamsCut      prometheus.Counter
	drift           prometheus.Gauge

	// byDecision are the series of decisions: each request counts in one of them.
	byDecision map[authz.Decision]prometheus.Counter
}

func newMetrics(registry prometheus.Registerer, version string) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "sallyport", Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "sallyport", Name: name, Help: help})
	}
	buckets := []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1}
	m := &metrics{
		decisions:     counter("decisions_total", "Requests by decision.", "decision"),
		refusals:      counter("refusals_total", "Requests refused before a decision, by code.", "code"),
		verifications: counter("verifications_total", "Attempts at a factor by result.", "factor", "result"),
		enrolments:    counter("enrolment_events_total", "Changes of enrolments by event.", "event"),
		redisSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "sallyport", Name: "redis_command_seconds", Help: "Time of a Redis command.", Buckets: buckets,
		}, []string{"command"}),
		redisErrors: counter("redis_errors_total", "Redis commands that failed.", "command"),
		identitySeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "sallyport", Name: "identity_seconds", Help: "Time of a question to the identity source.", Buckets: buckets,
		}),
		identityErrors: counter("identity_errors_total", "Identities that could not be established, by reason.", "reason"),
		rolesUnknown: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "sallyport", Name: "roles_unknown_total", Help: "Requests of users whose roles cannot be read, while the policy requires two-factor of administrators.",
		}),
		generation: gauge("policy_generation", "Generation of the policy in force; 0 without one."),
		reloads:    counter("policy_reloads_total", "Policy reloads by result.", "result"),
		reloadOK:   gauge("policy_last_reload_successful", "1 if the last policy read was taken, else 0."),
		inFlight:   gauge("requests_in_flight", "Requests being served."),
		streamsCut: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "sallyport", Name: "streams_cut_total", Help: "Long-lived requests ended because they may no longer pass.",
		}),
	}
	m.drift = gauge("clock_drift_seconds", "How far Redis's clock is ahead of this machine's, as of the last look.")
	buildInfo := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "sallyport", Name: "build_info", Help: "Always 1; the version is a label.",
	}, []string{"version"})
	buildInfo.WithLabelValues(version).Set(1)
	// All other figures of memory have garbage in them.
	live := collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/gc/heap/live:bytes$`)}
	registry.MustRegister(
		m.decisions, m.refusals, m.verifications, m.enrolments, m.redisSeconds, m.redisErrors, m.identitySeconds,
		m.identityErrors, m.rolesUnknown, m.generation, m.reloads, m.reloadOK, m.inFlight, m.streamsCut, m.drift, buildInfo,
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(live)), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.zero()
	return m
}

// zero makes every series of a closed set exist from the start, so that a rate
// over it is right from its first event.
func (m *metrics) zero() {
	m.byDecision = map[authz.Decision]prometheus.Counter{}
	for _, d := range []authz.Decision{authz.Refuse, authz.Allow, authz.SignIn, authz.Challenge, authz.Enrol} {
		m.byDecision[d] = m.decisions.WithLabelValues(d.String())
	}
	for _, f := range []mfa.Factor{mfa.FactorTOTP, mfa.FactorRecovery, mfa.FactorPassword} {
		for _, r := range []string{"ok", "wrong", "replayed", "spent", "locked", "factor_off", "stale", "error"} {
			m.verifications.WithLabelValues(string(f), r)
		}
	}
}

// decided takes what was decided about a request.
func (m *metrics) decided(d authz.Decision) { m.byDecision[d].Inc() }

// ObserveRedis takes the time and the outcome of one Redis command.
func (m *metrics) ObserveRedis(command string, took time.Duration, err error) {
	m.redisSeconds.WithLabelValues(command).Observe(took.Seconds())
	if err != nil {
		m.redisErrors.WithLabelValues(command).Inc()
	}
}

// asked takes one question that an identity source put to somebody else.
func (m *metrics) asked(e identity.Event) {
	m.identitySeconds.Observe(e.Took.Seconds())
}

func (m *metrics) identified(id identity.Identity) {
	if id.Kind == identity.Indeterminate {
		m.identityErrors.WithLabelValues(string(id.Reason)).Inc()
	}
}

func (m *metrics) reloaded(err error, generation int64) {
	if err != nil {
		m.reloads.WithLabelValues("refused").Inc()
		m.reloadOK.Set(0)
		return
	}
	m.reloads.WithLabelValues("taken").Inc()
	m.reloadOK.Set(1)
	m.generation.Set(float64(generation))
}

// settled notes that the policy in force is the last one read, again.
func (m *metrics) settled() { m.reloadOK.Set(1) }

// Record counts a security event of the domain.
func (m *metrics) Record(_ context.Context, e mfa.Event) {
	switch e.Name {
	case mfa.EventVerified, mfa.EventRecoveryUsed:
		m.verifications.WithLabelValues(string(e.Factor), "ok").Inc()
	case mfa.EventVerifyFailed:
		m.verifications.WithLabelValues(string(e.Factor), string(e.Result)).Inc()
	case mfa.EventDisabled:
		m.verifications.WithLabelValues(string(e.Factor), "ok").Inc()
		m.enrolments.WithLabelValues(string(e.Name)).Inc()
	default:
		m.enrolments.WithLabelValues(string(e.Name)).Inc()
	}
}
