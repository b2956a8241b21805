package controllers

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/sidecar/redisstore"
)

// Census counts enrolled users, a whole Redis at a time: one walk over the key space
// serves every policy on it. It is safe for concurrent use.
type Census struct {
	prefix string
	every  time.Duration
	clock  func() time.Time

	mu     sync.Mutex
	counts map[redis.UniversalClient]*count
}

type count struct {
	enrolled map[string]int64
	asOf     time.Time
	running  bool
}

// NewCensus returns a Census that counts at most once in every.
func NewCensus(prefix string, every time.Duration, clock func() time.Time) *Census {
	return &Census{prefix: prefix, every: every, clock: clock, counts: make(map[redis.UniversalClient]*count)}
}

// Enrolled returns the enrolled users of a realm as they were last counted; asOf is
// zero where they were not counted yet. A count that is due starts in the
// background and ends with ctx.
func (c *Census) Enrolled(ctx context.Context, store *Store, realm string) (enrolled int64, asOf time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, ok := c.counts[store.Client]
	if !ok {
		last = new(count)
		c.counts[store.Client] = last
	}
	if !last.running && c.clock().Sub(last.asOf) >= c.every {
		last.running = true
		go c.take(context.WithoutCancel(ctx), store.Client, last)
	}
	return last.enrolled[realm], last.asOf
}

// censusLimit ends a walk that Redis no longer answers.
const censusLimit = 10 * time.Minute

func (c *Census) take(ctx context.Context, client redis.UniversalClient, into *count) {
	ctx, cancel := context.WithTimeout(ctx, censusLimit)
	defer cancel()
	enrolled, err := redisstore.CountEnrolled(ctx, client, c.prefix)
	c.mu.Lock()
	defer c.mu.Unlock()
	into.running = false
	if err != nil {
		log.FromContext(ctx).Error(err, "Could not count the enrolled users; the last count stands")
		return
	}
	into.enrolled, into.asOf = enrolled, c.clock()
}

// countEnrolled says how many people have a second factor.
func (r *MFAPolicyReconciler) countEnrolled(ctx context.Context, p *pass) error {
	if p.channel == nil {
		return nil
	}
	enrolled, asOf := r.Census.Enrolled(ctx, p.store, p.realm())
	if asOf.IsZero() {
		p.soon(2 * time.Second)
		return nil
	}
	if was := p.policy.Status.Enrolment; was != nil && was.Enabled == enrolled && asOf.Sub(was.AsOf.Time) < time.Hour {
		return nil // the same number is not worth a write every few minutes
	}
	p.policy.Status.Enrolment = &mfav1alpha1.EnrolmentStatus{Enabled: enrolled, AsOf: metav1.NewTime(asOf)}
	return nil
}
