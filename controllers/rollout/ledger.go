package rollout

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// maxAttempts is how often a workload is restarted for one revision, if somebody
// takes the annotation off again.
const maxAttempts = 2

// ledger is what was done for one policy and one revision.
type ledger struct {
	mu       sync.Mutex
	revision string
	entries  map[types.UID]*entry
}

// entry is what is known of one workload.
type entry struct {
	owner owner
	// attempts is how often it was restarted for the ledger's revision.
	attempts int
	// since is when the rollout began, as far as this process saw.
	since time.Time
	// completed is when it was first seen to be complete, zero before that.
	completed time.Time
}

func (r *Restarter) ledger(policy types.UID) *ledger {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ledgers == nil {
		r.ledgers = map[types.UID]*ledger{}
	}
	if r.ledgers[policy] == nil {
		r.ledgers[policy] = new(ledger)
	}
	return r.ledgers[policy]
}

// of returns what is known of the workload, beginning to note it where nothing is. A
// workload that bears the revision was restarted for it, if by an earlier process.
func (l *ledger) of(w *workload, now time.Time) *entry {
	e := l.entries[w.meta.UID]
	if e == nil {
		e = &entry{owner: w.owner, since: now}
		if w.restartedFor() == l.revision {
			e.attempts = 1
		}
		l.entries[w.meta.UID] = e
	}
	return e
}

// known lists what is noted, always in the same order.
func (l *ledger) known() []types.UID {
	return slices.SortedFunc(maps.Keys(l.entries), func(a, b types.UID) int {
		return cmp.Or(compareOwners(l.entries[a].owner, l.entries[b].owner), cmp.Compare(a, b))
	})
}

// attempts is how often the workload was restarted for the ledger's revision.
func (l *ledger) attempts(w *workload) int {
	if e := l.entries[w.meta.UID]; e != nil {
		return e.attempts
	}
	return 0
}

// restarted notes a restart.
func (l *ledger) restarted(w *workload, now time.Time) {
	e := l.of(w, now)
	e.attempts++
	e.since, e.completed = now, time.Time{}
}
