package controllers

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/rollout"
)

// rollOut restarts workloads whose pods were injected with older settings or not at
// all, a bounded number at a time, where the policy asks for it. Where it does not,
// status.pods.command says how.
func (r *MFAPolicyReconciler) rollOut(ctx context.Context, p *pass) error {
	if p.policy.Spec.Rollout != mfav1alpha1.RolloutAutomatic || !p.is(mfav1alpha1.ConditionInjectionReady) ||
		!p.is(mfav1alpha1.ConditionKeysReady) || p.leaving() {
		return nil
	}
	var outdated []corev1.Pod
	for _, o := range p.pods {
		if o.outdated || o.state == unprotected {
			outdated = append(outdated, o.pod)
		}
	}
	progress, err := r.Restarter.Step(ctx, rollout.Plan{
		Policy: p.policy, Want: p.settings.Revision(), Outdated: outdated, MaxAtOnce: 1,
	})
	if err != nil {
		return err
	}
	if len(outdated) > 0 || len(progress.InProgress) > 0 {
		p.soon(2 * time.Second)
	}
	if p.policy.Status.Pods != nil {
		p.policy.Status.Pods.Rollout = progress.Message
	}
	return nil
}
