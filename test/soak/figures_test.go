package soak_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// figures are what a run counts.
type figures struct {
	rate                                                                    float64
	passed, barred, away, enrolled, unsure, locked, replayed, urgent, other atomic.Int64
	complaints, codes, recoveryCodes                                        atomic.Int64

	mu       sync.Mutex
	lastPass time.Time
	gap      time.Duration
	latency  []time.Duration
	faults   map[string][]toll
}

// toll is what one fault cost.
type toll struct {
	took    time.Duration
	refused int64
}

func (f *figures) accepted(field string) {
	if field == "code" {
		f.codes.Add(1)
		return
	}
	f.recoveryCodes.Add(1)
}

// pass counts a request that reached the app, and how long none had.
func (f *figures) pass(took time.Duration) {
	f.passed.Add(1)
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.lastPass.IsZero() {
		f.gap = max(f.gap, now.Sub(f.lastPass))
	}
	f.lastPass = now
	if rand.IntN(10) == 0 && len(f.latency) < 1<<20 {
		f.latency = append(f.latency, took)
	}
}

func (f *figures) fault(name string, took time.Duration, refused int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.faults == nil {
		f.faults = map[string][]toll{}
	}
	f.faults[name] = append(f.faults[name], toll{took, refused})
}

// work makes ordinary requests: most with sessions that have passed, some with those
// that have not.
func (r *run) work(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		begin := time.Now()
		if n%10 == 0 {
			r.knock(r.barred.any())
		} else {
			r.ask(r.ready.any(), n)
		}
		for _, who := range r.app.trespassers() {
			r.violate("this reached the app with a password alone: %s", who)
		}
		if wait := time.Duration(r.pace.Load()) - time.Since(begin); wait > 0 {
			rest(ctx, wait)
		}
	}
}

// ask makes a request of somebody who has passed.
func (r *run) ask(b *browser, n int) {
	if b == nil {
		return
	}
	begin := time.Now()
	a := (&browser{r: r, session: b.session, token: b.token}).get(fmt.Sprintf("/my/%d", n))
	switch {
	case a.status == http.StatusOK:
		r.figures.pass(time.Since(begin))
	case a.away():
		r.figures.away.Add(1)
	case a.status == http.StatusUnauthorized: // its session has just been closed
		r.figures.other.Add(1)
	default:
		r.violate("who has passed is answered %d %s", a.status, a.location)
	}
}

// knock makes a request of somebody who has not.
func (r *run) knock(b *browser) {
	if b == nil {
		return
	}
	a := (&browser{r: r, session: b.session}).get("/my")
	switch {
	case a.away():
		r.figures.away.Add(1)
	case a.status == http.StatusSeeOther && strings.HasPrefix(a.location, prefix+"/challenge"):
		r.figures.barred.Add(1)
	case a.status == http.StatusUnauthorized:
		r.figures.other.Add(1)
	default:
		r.violate("who has only given a password is answered %d %s", a.status, a.location)
	}
}

// report prints the run as a table.
func (r *run) report(before, after []size) {
	f := &r.figures
	var out strings.Builder
	row := func(what, format string, args ...any) {
		fmt.Fprintf(&out, "| %s | %s |\n", what, fmt.Sprintf(format, args...))
	}
	out.WriteString("| what | figure |\n| --- | --- |\n")
	row("duration of the faults", "%s, of %d sidecars", *duration, sidecars)
	row("load, requests per second", "%.0f, %.0f %% of the most", f.rate, *share*100)
	row("requests that passed / of a password alone, stopped", "%d / %d", f.passed.Load(), f.barred.Load())
	f.mu.Lock()
	slices.Sort(f.latency)
	if n := len(f.latency); n > 0 {
		row("latency p50 / p99 / p99.9, ms", "%.1f / %.1f / %.1f", ms(f.latency[n/2]), ms(f.latency[n*99/100]), ms(f.latency[n*999/1000]))
	}
	row("longest time in which nothing passed", "%.1f s", f.gap.Seconds())
	for _, name := range slices.Sorted(maps.Keys(f.faults)) {
		var took time.Duration
		var refused int64
		for _, cost := range f.faults[name] {
			took, refused = max(took, cost.took), refused+cost.refused
		}
		row("Redis was "+name, "%d times; all well again after at most %.1f s; %d requests turned away", len(f.faults[name]), took.Seconds(), refused)
	}
	f.mu.Unlock()
	row("enrolments acknowledged", "%d", f.enrolled.Load())
	row("codes / recovery codes acknowledged", "%d / %d", f.codes.Load(), f.recoveryCodes.Load())
	row("codes and enrolments of which nobody knows (503)", "%d", f.unsure.Load())
	row("spent codes sent again, and refused", "%d, %d of them spent right before the primary was lost", f.replayed.Load(), f.urgent.Load())
	row("users who had to wait", "%d", f.locked.Load())
	row("lines of the sidecars' logs at WARN and above", "%d", f.complaints.Load())
	for i := range before {
		b, a := before[i], after[i]
		row(fmt.Sprintf("sidecar %d, memory in use after the warm-up, at the end, MiB", i+1), "%s, %s", b.live.mib(), a.live.mib())
		row(fmt.Sprintf("sidecar %d, RSS", i+1), "%s, %s", b.rss.mib(), a.rss.mib())
		row(fmt.Sprintf("sidecar %d, goroutines", i+1), "%.0f to %.0f, %.0f to %.0f",
			b.goroutines.least, b.goroutines.most, a.goroutines.least, a.goroutines.most)
	}
	row("violations", "%d", len(r.violations))
	fmt.Println(out.String()) //nolint:forbidigo // what the run is for
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
