package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// A result is how a request ended.
type result string

const (
	injected  result = "injected"
	unchanged result = "unchanged"
	refused   result = "refused"
	failed    result = "error"
)

// resultOf tells a refusal that a person can act on from a fault of ours.
func resultOf(err error) result {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if ok && status.ErrStatus.Code != http.StatusInternalServerError {
		return refused
	}
	return failed
}

type metrics struct {
	requests *prometheus.CounterVec
	duration prometheus.Histogram
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_injection_requests_total",
			Help: "Pods that the API server sent to the injector, by how it ended.",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "sallyport_injection_duration_seconds",
			Help:    "Time that the injector took for a pod.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1},
		}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("register the injector's metrics: %w", err)
		}
	}
	for _, r := range []result{injected, unchanged, refused, failed} {
		m.requests.WithLabelValues(string(r)) // a series that is there can be alerted on
	}
	return m, nil
}

func (m *metrics) observe(r result, took time.Duration) {
	m.requests.WithLabelValues(string(r)).Inc()
	m.duration.Observe(took.Seconds())
}
