package controllers

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

var errNoChannel = errors.New("there is no channel to the sidecars")

// summarised are the conditions that Ready speaks for, the most telling first, with
// what is good.
var summarised = []struct {
	condition mfav1alpha1.ConditionType
	good      metav1.ConditionStatus
}{
	{mfav1alpha1.ConditionAccepted, metav1.ConditionTrue},
	{mfav1alpha1.ConditionKeysReady, metav1.ConditionTrue},
	{mfav1alpha1.ConditionStoreReady, metav1.ConditionTrue},
	{mfav1alpha1.ConditionPublished, metav1.ConditionTrue},
	{mfav1alpha1.ConditionInjectionReady, metav1.ConditionTrue},
	{mfav1alpha1.ConditionConflicted, metav1.ConditionFalse},
	{mfav1alpha1.ConditionPodsProtected, metav1.ConditionTrue},
}

// summarise sets Ready: to the first condition that is bad, else to the first that
// is not known, which is so for a reason that a bad one tells.
func (p *pass) summarise() {
	for _, wanted := range []func(*metav1.Condition, metav1.ConditionStatus) bool{isKnownBad, isUnknown} {
		for _, s := range summarised {
			c := meta.FindStatusCondition(p.policy.Status.Conditions, string(s.condition))
			if c == nil {
				c = &metav1.Condition{
					Type: string(s.condition), Status: metav1.ConditionUnknown,
					Reason: string(mfav1alpha1.ReasonNotChecked), Message: "It is not known yet",
				}
			}
			if wanted(c, s.good) {
				p.fails(mfav1alpha1.ConditionReady, mfav1alpha1.ConditionReason(c.Reason), "%s: %s", c.Type, c.Message)
				return
			}
		}
	}
	p.holds(mfav1alpha1.ConditionReady, mfav1alpha1.ReasonReady, "Everything that the policy asks for is in force")
}

func isKnownBad(c *metav1.Condition, good metav1.ConditionStatus) bool {
	return c.Status != good && !isUnknown(c, good)
}

func isUnknown(c *metav1.Condition, _ metav1.ConditionStatus) bool {
	return c.Status == metav1.ConditionUnknown
}

// saveStatus ends a pass: it sums up what its steps have found, and writes it.
func (r *MFAPolicyReconciler) saveStatus(ctx context.Context, p *pass) error {
	if p.gone {
		return nil
	}
	p.summarise()
	return r.writeStatus(ctx, p)
}

// writeStatus is the one writer of status. It writes what changed, and tells of every
// condition that did in an event. A pass that is not at its end must not say Ready:
// conditions of the steps to come are not there yet, or are those of the pass before.
func (r *MFAPolicyReconciler) writeStatus(ctx context.Context, p *pass) error {
	if equality.Semantic.DeepEqual(p.before.Status, p.policy.Status) {
		return nil
	}
	saved := p.policy.DeepCopy()
	if err := r.Client.Status().Patch(ctx, saved, client.MergeFrom(p.before)); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("save the status: %w", err))
	}
	r.tell(p)
	p.before = saved
	p.policy.ResourceVersion = saved.ResourceVersion
	return nil
}

// tell emits an event for each condition that is news.
func (r *MFAPolicyReconciler) tell(p *pass) {
	for _, c := range p.policy.Status.Conditions {
		if !isNews(meta.FindStatusCondition(p.before.Status.Conditions, c.Type), &c) {
			continue
		}
		kind := corev1.EventTypeNormal
		if isBad(&c) {
			kind = corev1.EventTypeWarning
		}
		r.Events.Eventf(p.policy, nil, kind, c.Reason, c.Type, "%s", c.Message)
	}
}

// isNews reports whether people should be told of a condition. One cause is told
// once: a Ready that is not True repeats another condition, and what cannot be known
// cannot for a reason that another one tells. A condition that begins as good as it
// gets is no news either.
func isNews(was, c *metav1.Condition) bool {
	changed := was == nil || was.Status != c.Status || was.Reason != c.Reason
	switch {
	case !changed, c.Status == metav1.ConditionUnknown:
		return false
	case c.Type == string(mfav1alpha1.ConditionReady):
		return !isBad(c)
	default:
		return was != nil || isBad(c)
	}
}

func isBad(c *metav1.Condition) bool {
	good := metav1.ConditionTrue
	if c.Type == string(mfav1alpha1.ConditionConflicted) {
		good = metav1.ConditionFalse
	}
	return c.Status != good
}
