package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/injection"
	"github.com/sallyport/sallyport/controllers/rollout"
	"github.com/sallyport/sallyport/controllers/selection"
	"github.com/sallyport/sallyport/sidecar/control"
)

const (
	maxAttention = 10
	// impatience is how soon sidecars that have not yet obeyed are asked again at first.
	impatience = time.Second
)

// podState says what a policy can count on in a pod.
type podState int

const (
	unprotected podState = iota
	stale
	protected
)

// observedPod is a running pod that the policy governs.
type observedPod struct {
	pod      corev1.Pod
	state    podState
	outdated bool
	// why the pod is not protected.
	why string
}

// observePods finds the pods that the policy governs and asks the sidecars' own
// reports what each obeys. It sets PodsProtected and Conflicted: a pod counts as
// protected only if its sidecar was heard of within seconds and obeys what is
// published.
func (r *MFAPolicyReconciler) observePods(ctx context.Context, p *pass) error {
	all := new(corev1.PodList)
	// A pass only reads pods, and a namespace may hold thousands: they are not copied.
	if err := r.Client.List(ctx, all, client.InNamespace(p.policy.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list the pods of %s: %w", p.policy.Namespace, err)
	}
	governed, lost := p.divide(all.Items)
	p.others = besides(all.Items, p.siblings)
	p.reportConflict(lost)
	var beats map[types.UID]control.Heartbeat
	var unheard error
	if p.channel == nil {
		unheard = errNoChannel
	} else {
		beats, unheard = heartbeats(ctx, p.channel, p.policy.Name)
	}
	p.pods = make([]observedPod, 0, len(governed))
	for _, pod := range governed {
		p.pods = append(p.pods, p.observe(pod, beats))
	}
	slices.SortFunc(p.pods, func(a, b observedPod) int { return cmp.Compare(a.pod.Name, b.pod.Name) })
	p.reportPods(unheard)
	if unheard == nil && p.policy.Status.Pods.Stale > 0 {
		p.soon(max(impatience, r.Clock().Sub(p.news())/4))
	}
	return nil
}

// news is when something last happened that should have a stale pod's sidecar obey, or
// be heard of. The longer ago that is, the less often the sidecars are asked: some never
// will, and asking them every second for ever would cost a core for each ten thousand.
func (p *pass) news() time.Time {
	latest := p.policy.CreationTimestamp.Time
	happened := func(at time.Time) {
		if at.After(latest) {
			latest = at
		}
	}
	if p.published != nil {
		happened(p.published.IssuedAt)
	}
	if c := meta.FindStatusCondition(p.policy.Status.Conditions, string(mfav1alpha1.ConditionPodsProtected)); c != nil {
		happened(c.LastTransitionTime.Time)
	}
	for _, o := range p.pods {
		if o.state != stale {
			continue
		}
		happened(o.pod.CreationTimestamp.Time)
		for _, c := range o.pod.Status.InitContainerStatuses {
			if c.State.Running != nil {
				happened(c.State.Running.StartedAt.Time)
			}
		}
	}
	return latest
}

// divide returns the running pods that the policy governs, and those that it
// selects and an older policy governs. A policy that is being deleted governs every
// pod that still carries its sidecar.
func (p *pass) divide(pods []corev1.Pod) (governed []corev1.Pod, lost []lostPod) {
	for _, pod := range pods {
		if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		if name, _, ok := injection.Injected(&pod); ok && name == p.policy.Name {
			governed = append(governed, pod)
			continue
		}
		if p.deleting() {
			continue
		}
		covering := selection.Governing(p.siblings, labels.Set(pod.Labels))
		at := slices.IndexFunc(covering, func(c *mfav1alpha1.MFAPolicy) bool { return c.Name == p.policy.Name })
		switch {
		case at == 0:
			governed = append(governed, pod)
		case at > 0:
			lost = append(lost, lostPod{pod.Name, covering[0].Name})
		}
	}
	return governed, lost
}

// besides returns the running pods that no policy governs.
func besides(pods []corev1.Pod, policies []mfav1alpha1.MFAPolicy) []corev1.Pod {
	return slices.DeleteFunc(slices.Clone(pods), func(pod corev1.Pod) bool {
		_, _, injected := injection.Injected(&pod)
		return injected || pod.Status.Phase != corev1.PodRunning || len(selection.Governing(policies, labels.Set(pod.Labels))) > 0
	})
}

// lostPod is a pod that an older policy governs.
type lostPod struct{ pod, winner string }

func (p *pass) reportConflict(lost []lostPod) {
	if len(lost) == 0 {
		p.fails(mfav1alpha1.ConditionConflicted, mfav1alpha1.ReasonNoConflict, "No older policy selects the same pods")
		return
	}
	slices.SortFunc(lost, func(a, b lostPod) int { return cmp.Compare(a.pod, b.pod) })
	p.holds(mfav1alpha1.ConditionConflicted, mfav1alpha1.ReasonOlderPolicyWins,
		"Policy %s is older and governs %d of the pods that this one selects, such as %s; narrow the selector of one of the two",
		lost[0].winner, len(lost), lost[0].pod)
}

// observe judges one pod by what its sidecar last said.
func (p *pass) observe(pod corev1.Pod, beats map[types.UID]control.Heartbeat) observedPod {
	o := observedPod{pod: pod}
	_, revision, ok := injection.Injected(&pod)
	if !ok {
		o.why = "runs without a sidecar: it was created before the policy"
		return o
	}
	o.outdated = !p.deleting() && revision != p.settings.Revision()
	o.state = stale
	beat, heard := beats[pod.UID]
	switch {
	case !heard:
		o.why = silence(&pod)
	case p.published == nil || beat.PolicyUID != p.published.UID || beat.Generation != p.published.Generation:
		o.why = fmt.Sprintf("its sidecar obeys generation %d", beat.Generation)
	case beat.Fault != "":
		o.why = "its sidecar says: " + beat.Fault
	default:
		o.state = protected
	}
	return o
}

// reportPods sets PodsProtected and the counts.
func (p *pass) reportPods(unheard error) {
	s := &mfav1alpha1.PodStatus{Selected: int32(len(p.pods))} //nolint:gosec // a namespace holds fewer pods than that
	var behind []corev1.Pod
	for _, o := range p.pods {
		switch o.state {
		case protected:
			s.Protected++
		case stale:
			s.Stale++
		case unprotected:
			s.Unprotected++
		}
		if o.outdated {
			s.Outdated++
		}
		if o.state != protected && len(s.Attention) < maxAttention {
			s.Attention = append(s.Attention, mfav1alpha1.PodAttention{Name: o.pod.Name, Reason: o.why})
		}
		if o.state == unprotected || o.outdated || p.deleting() {
			behind = append(behind, o.pod)
		}
	}
	s.Command = rollout.Command(p.policy.Namespace, behind)
	p.policy.Status.Pods = s
	p.judgePods(s, unheard)
}

func (p *pass) judgePods(s *mfav1alpha1.PodStatus, unheard error) {
	const t = mfav1alpha1.ConditionPodsProtected
	switch {
	case s.Selected == 0:
		p.holds(t, mfav1alpha1.ReasonNoPods, "No running pod is selected")
	case s.Unprotected > 0:
		p.fails(t, mfav1alpha1.ReasonPodsUnprotected, "%d of %d pods run without a sidecar, such as %s. Restart them: %s",
			s.Unprotected, s.Selected, p.first(unprotected), s.Command)
	case unheard != nil:
		p.unknown(t, mfav1alpha1.ReasonStoreUnreachable,
			"What the sidecars obey cannot be known while the condition StoreReady or KeysReady is False")
	case s.Stale > 0:
		p.fails(t, mfav1alpha1.ReasonPodsStale, "%d of %d pods do not obey the published rules: %s", s.Stale, s.Selected, p.reasons())
	case s.Outdated > 0:
		p.holds(t, mfav1alpha1.ReasonAllProtected,
			"%d pods obey the published rules; %d of them were injected with older settings: %s", s.Protected, s.Outdated, s.Command)
	default:
		p.holds(t, mfav1alpha1.ReasonAllProtected, "%d pods obey the published rules", s.Protected)
	}
}

func (p *pass) first(state podState) string {
	at := slices.IndexFunc(p.pods, func(o observedPod) bool { return o.state == state })
	return p.pods[at].pod.Name
}

// reasons names the first pods that are stale, and why.
func (p *pass) reasons() string {
	var parts []string
	for _, a := range p.policy.Status.Pods.Attention[:min(3, len(p.policy.Status.Pods.Attention))] {
		parts = append(parts, a.Name+": "+a.Reason)
	}
	return strings.Join(parts, "; ")
}

// heartbeats returns what the policy's sidecars said within the last seconds, by pod.
func heartbeats(ctx context.Context, channel *control.Channel, policyName string) (map[types.UID]control.Heartbeat, error) {
	list, err := channel.Heartbeats(ctx, policyName)
	if err != nil {
		return nil, err
	}
	beats := make(map[types.UID]control.Heartbeat, len(list))
	for _, beat := range list {
		beats[types.UID(beat.PodUID)] = beat
	}
	return beats, nil
}
