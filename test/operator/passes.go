package operator

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Passes is how many times the operator has gone over a policy.
func (p *Process) Passes() float64 {
	p.t.Helper()
	_, metrics, err := Status(p.t.Context(), p.MetricsURL)
	if err != nil {
		p.t.Fatalf("read the operator's metrics: %v", err)
	}
	sum := 0.0
	for line := range strings.Lines(metrics) {
		if !strings.HasPrefix(line, `controller_runtime_reconcile_total{controller="mfapolicy"`) {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
		if err != nil {
			p.t.Fatalf("%q: %v", line, err)
		}
		sum += value
	}
	return sum
}

// AwaitPasses waits until the operator has gone over its policies n more times.
func (p *Process) AwaitPasses(n float64) {
	p.t.Helper()
	begin := p.Passes()
	Await(p.t, fmt.Sprintf("%v passes more", n), func(context.Context) error {
		if made := p.Passes() - begin; made < n {
			return fmt.Errorf("%v were made", made)
		}
		return nil
	})
}
