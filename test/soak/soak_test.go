// Package soak_test runs several sidecars, as processes, for long under load while
// their Redis is killed, paused and failed over, and looks whether anything that was
// acknowledged is lost, anybody passes who must not, or anything grows.
//
// It does nothing without -duration; `make soak` is the whole run.
package soak_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	duration = flag.Duration("duration", 0, "how long the faults go on, such as 20m")
	share    = flag.Float64("load", 0.7, "the load, as a share of what was found to be the most")
)

const (
	sidecars = 3
	users    = 60
	actors   = 6
	workers  = 16

	warmUp    = 20 * time.Second
	calibrate = 5 * time.Second
	calm      = 15 * time.Second // after the last fault
	// faultEvery is how often something is done to Redis; shorter runs do it more often,
	// so that they have each kind once.
	faultEvery = time.Minute
	// watchedEvery is after how many faults the sidecars are watched in between.
	watchedEvery = 5

	// A recovery code takes 12 MiB to check, for a moment: so a sidecar is watched for a
	// while. The least at the end is held against the least after the warm-up where garbage
	// is not counted in, and against the most where it is.
	watched        = 10 * time.Second
	moreLive       = 4 << 20
	moreRSS        = 8 << 20
	moreGoroutines = 20
)

// run is one soak.
type run struct {
	*testing.T

	client   *http.Client
	app      *app
	redis    *store
	sidecars []*sidecar
	begin    time.Time
	figures  figures
	// ready are verified sessions, for ordinary requests; barred are those with a
	// password alone.
	ready, barred pool
	// enrolling is held by whoever enrols: eight recovery codes are hashed for each, and
	// a sidecar that is busy with that turns others away.
	enrolling sync.Mutex
	// pace is how long one worker waits from one request to the next.
	pace atomic.Int64

	mu         sync.Mutex
	violations []string
	// urgent are spent codes to be tried again once the present fault is over.
	urgent []spent
}

func TestSoak(t *testing.T) {
	if *duration == 0 {
		t.Skip("a long run: make soak, or -duration 2m")
	}
	r := &run{T: t, begin: time.Now(), client: newClient(), app: newApp(t), redis: newStore(t)}
	program := build(t)
	for range sidecars {
		r.sidecars = append(r.sidecars, r.startSidecar(program))
	}
	r.say("%d sidecars are ready", sidecars)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all sync.WaitGroup
	for i := range actors {
		all.Go(func() { r.act(ctx, i) })
	}
	r.waitFor("everybody to be enrolled", 5*time.Minute, func() bool { return r.figures.enrolled.Load() >= users })
	r.say("%d people are enrolled", users)
	for range workers {
		all.Go(func() { r.work(ctx) })
	}
	r.load(ctx)
	time.Sleep(warmUp) // what fills up in the beginning fills up now
	before := r.measure()
	r.faults(ctx)
	r.say("no more faults")
	time.Sleep(calm)
	after := r.measure()
	stop()
	all.Wait()
	r.compare(before, after)
	r.report(before, after)
	for _, v := range r.violations {
		t.Error(v)
	}
}

// load finds how much the machine bears, and leaves a share of that.
func (r *run) load(ctx context.Context) {
	was := r.figures.passed.Load()
	select {
	case <-time.After(calibrate):
	case <-ctx.Done():
	}
	most := float64(r.figures.passed.Load()-was) / calibrate.Seconds()
	r.figures.rate = *share * most
	r.pace.Store(int64(workers / r.figures.rate * float64(time.Second)))
	r.say("the machine bears %.0f requests a second; %.0f from now on", most, r.figures.rate)
}

// faults does something to Redis again and again, each kind in turn.
func (r *run) faults(ctx context.Context) {
	kinds := []fault{{"killed", r.kill}, {"paused", r.pause}, {"failed over after a spend", r.failOver}}
	every := min(faultEvery, *duration/time.Duration(len(kinds)))
	end := time.Now().Add(*duration)
	for i := 0; time.Until(end) > 0 && ctx.Err() == nil; i++ {
		next := time.Now().Add(every)
		r.once(kinds[i%len(kinds)])
		if (i+1)%watchedEvery == 0 {
			r.measure() // shows how it went, where a run fails
		}
		time.Sleep(time.Until(next))
	}
}

// violate notes that something happened that must not.
func (r *run) violate(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	what := fmt.Sprintf("%6.1fs  %s", time.Since(r.begin).Seconds(), fmt.Sprintf(format, args...))
	if len(r.violations) < 100 {
		r.violations = append(r.violations, what)
	}
	fmt.Println("VIOLATION", what) //nolint:forbidigo // it must be seen at once
}

func (r *run) say(format string, args ...any) {
	fmt.Printf("%6.1fs  %s\n", time.Since(r.begin).Seconds(), fmt.Sprintf(format, args...)) //nolint:forbidigo // progress
}

func (r *run) waitFor(what string, limit time.Duration, holds func() bool) {
	r.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.Fatalf("waited in vain for %s", what)
		}
	}
}
