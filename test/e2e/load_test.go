package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// load is people who use the portal all the time, each request on its way as soon as the
// one before has ended and a short pause is over.
type load struct {
	t      *testing.T
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	counts map[string]map[outcome]int
	// since is when each person's last request ended, by how it did.
	since map[string]map[outcome]time.Time
}

// pause between two requests of a person's: a machine of two cores has more to do.
const pause = 25 * time.Millisecond

// underLoad begins to use the portal. What somebody is called is how results name them.
func underLoad(t *testing.T, people map[string]*visitor) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{t: t, cancel: cancel, counts: map[string]map[outcome]int{}, since: map[string]map[outcome]time.Time{}}
	for name, v := range people {
		l.counts[name], l.since[name] = map[outcome]int{}, map[outcome]time.Time{}
		l.done.Go(func() { l.use(ctx, name, v) })
	}
	t.Cleanup(l.stop)
	return l
}

func (l *load) use(ctx context.Context, name string, v *visitor) {
	impatient := &http.Client{Jar: v.Client.Jar, Transport: v.Client.Transport, CheckRedirect: v.Client.CheckRedirect, Timeout: 20 * time.Second}
	for ctx.Err() == nil {
		o := ask(ctx, impatient, v.Base+"/my", "")
		if ctx.Err() == nil {
			l.mu.Lock()
			l.counts[name][o]++
			l.since[name][o] = time.Now()
			l.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// stop ends the load.
func (l *load) stop() {
	l.cancel()
	l.done.Wait()
}

// settles waits until a person has been answered so n times from now on, and by nothing
// else after the first of these.
func (l *load) settles(person string, want outcome, n int) {
	l.t.Helper()
	began, counted := time.Now(), 0
	until(l.t, fmt.Sprintf("%s is %s %d times", person, want, n), func(context.Context) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		for o, at := range l.since[person] {
			if o != want && at.After(began) {
				began, counted = time.Now(), l.counts[person][want]
			}
		}
		if counted == 0 {
			counted = l.counts[person][want]
		}
		if got := l.counts[person][want] - counted; got < n {
			return fmt.Errorf("%d times, all in all %v", got, l.counts[person])
		}
		return nil
	})
}

// ends stops the load and fails the test unless each person met only the outcomes that
// are allowed them, the first of which must have happened.
func (l *load) ends(allowed map[string][]outcome) {
	l.t.Helper()
	l.stop()
	for _, person := range slices.Sorted(maps.Keys(l.counts)) {
		counts := l.counts[person]
		l.t.Logf("%s: %s", person, tell(counts))
		if counts[allowed[person][0]] == 0 {
			l.t.Errorf("%s was never %s", person, allowed[person][0])
		}
		for o, n := range counts {
			if !slices.Contains(allowed[person], o) {
				l.t.Errorf("%s: %d requests ended as %q", person, n, o)
			}
		}
	}
}

func tell(counts map[outcome]int) string {
	var parts []string
	for _, o := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[o], o))
	}
	return strings.Join(parts, ", ")
}
