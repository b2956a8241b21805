// Package rollout brings running pods up to date with what is injected: it says by
// which command, or restarts their workloads itself, where the policy asks for that.
//
// It may import api/v1alpha1 and the Kubernetes client. It must never create, delete
// or scale anything: it writes one annotation on the pod template of a Deployment,
// StatefulSet or DaemonSet that it has just seen, and leaves the rest to Kubernetes,
// whose rollout keeps the app available. It never forces a field away from others.
//
// +kubebuilder:rbac:groups=apps,resources=deployments;statefulsets;daemonsets,verbs=get;list;watch;patch
package rollout

import (
	"context"
	"errors"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

var errNoRevision = errors.New("restart workloads: no wanted revision was given")

// Plan is what is to be brought up to date.
type Plan struct {
	// Policy governs the pods. Nothing is restarted unless its rollout is Automatic.
	Policy *mfav1alpha1.MFAPolicy
	// Want is the revision of what is injected now.
	Want string
	// Outdated are the policy's running pods that lack the sidecar or carry another
	// revision.
	Outdated []corev1.Pod
	// MaxAtOnce bounds how many workloads of the policy are rolled out at once.
	// Default: 1.
	MaxAtOnce int
}

// Progress tells how far a plan is. Workloads are named as in deployment/portal.
type Progress struct {
	// Done were restarted and are complete.
	Done []string
	// InProgress are being rolled out; while there are as many as may be at once, no
	// other is restarted.
	InProgress []string
	// Waiting are to be restarted later, or by people: Message says by which command.
	Waiting []string
	// Message says what people must do or know. Empty where there is nothing.
	Message string
}

// Restarter restarts workloads a few at a time. It may serve several policies at
// once. It remembers what it did, for the life of the process; what must outlast
// that is in the annotation.
type Restarter struct {
	// Client writes.
	Client client.Client
	// Reader reads past the cache: what a cache shows may be older than the last
	// restart, which would then look undone. Nil means Client, which must not be a
	// caching one then.
	Reader client.Reader
	// Clock tells the time.
	Clock func() time.Time

	mu      sync.Mutex
	ledgers map[types.UID]*ledger
}

// Step looks at the plan's workloads and restarts as many as may be. It is to be
// called again as long as there are outdated pods or workloads in progress.
func (r *Restarter) Step(ctx context.Context, plan Plan) (Progress, error) {
	if plan.Want == "" {
		return Progress{}, errNoRevision
	}
	l := r.ledger(plan.Policy.UID)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.revision != plan.Want {
		l.revision, l.entries = plan.Want, map[types.UID]*entry{}
	}
	s := &step{Restarter: r, plan: plan, ledger: l, inProgress: map[owner]bool{}}
	if plan.Policy.Spec.Rollout != mfav1alpha1.RolloutAutomatic {
		return s.byHand(), nil
	}
	for _, do := range []func(context.Context) error{s.judge, s.recall, s.discover, s.start} {
		if err := do(ctx); err != nil {
			return s.progress(), err
		}
	}
	return s.progress(), nil
}

// Forget drops what was remembered of a policy that is gone.
func (r *Restarter) Forget(policy types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ledgers, policy)
}

func (r *Restarter) live() client.Reader {
	if r.Reader != nil {
		return r.Reader
	}
	return r.Client
}
