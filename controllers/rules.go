package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/admission"
)

// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=mutatingwebhookconfigurations;validatingadmissionpolicies;validatingadmissionpolicybindings,verbs=get;list;watch;create;patch;delete

// installRules has the API server send the policy's pods, and no others, to the
// injector, and refuse those that arrive without their sidecar. It sets
// InjectionReady. The rules stand as soon as a policy is accepted, whatever else
// fails: a pod that waits for its keys is shut, one without a sidecar is open.
func (r *MFAPolicyReconciler) installRules(ctx context.Context, p *pass) error {
	if p.rules == nil && p.policy.Status.PublishedGeneration == 0 {
		p.fails(mfav1alpha1.ConditionInjectionReady, mfav1alpha1.ReasonRulesNotInstalled,
			"New pods get no sidecar until the spec is accepted")
		return nil
	}
	target := r.Webhook
	target.CABundle = r.Certificates.Bundle()
	if len(target.CABundle) == 0 {
		p.fails(mfav1alpha1.ConditionInjectionReady, mfav1alpha1.ReasonCertificateNotReady,
			"The webhook has no certificate yet")
		p.soon(time.Second)
		return nil
	}
	r.rememberImage(p)
	for _, rule := range rulesOf(p.policy, target) {
		err := r.applied.ensure(ctx, r.Client, rule, r.Clock())
		if _, ok := rule.object.(*admissionregistrationv1.MutatingWebhookConfiguration); ok && err == nil {
			err = r.confirm(ctx, p, rule)
		}
		if err != nil {
			p.fails(mfav1alpha1.ConditionInjectionReady, mfav1alpha1.ReasonRulesNotInstalled,
				"The admission rules could not be installed: %v", err)
			return err
		}
	}
	p.holds(mfav1alpha1.ConditionInjectionReady, mfav1alpha1.ReasonRulesInstalled,
		"New pods get their sidecar, with capture %s", p.policy.Status.Capture)
	return nil
}

// rulesOf are the admission rules of a policy, in the order in which they are made.
func rulesOf(p *mfav1alpha1.MFAPolicy, target admission.Target) []ensured {
	rule := func(object client.Object, name *string, desired runtime.ApplyConfiguration) ensured {
		return ensured{object: object, key: client.ObjectKey{Name: *name}, desired: desired, sole: true}
	}
	backstop, binding := admission.Backstop(), admission.BackstopBinding(p)
	own, ownBinding := admission.PolicyBackstop(p), admission.PolicyBackstopBinding(p)
	webhook := admission.Webhook(p, target)
	return []ensured{
		rule(&admissionregistrationv1.ValidatingAdmissionPolicy{}, backstop.Name, backstop),
		rule(&admissionregistrationv1.ValidatingAdmissionPolicyBinding{}, binding.Name, binding),
		rule(&admissionregistrationv1.ValidatingAdmissionPolicy{}, own.Name, own),
		rule(&admissionregistrationv1.ValidatingAdmissionPolicyBinding{}, ownBinding.Name, ownBinding),
		rule(&admissionregistrationv1.MutatingWebhookConfiguration{}, webhook.Name, webhook),
	}
}

// rememberImage puts the present image first in status.images. The one before stays:
// while the operator is upgraded, its old replica still injects.
func (r *MFAPolicyReconciler) rememberImage(p *pass) {
	images := p.policy.Status.Images
	if len(images) > 0 && images[0] == r.Injected.Image {
		return
	}
	images = slices.DeleteFunc(slices.Clone(images), func(image string) bool { return image == r.Injected.Image })
	images = slices.Insert(images, 0, r.Injected.Image)
	p.policy.Status.Images = images[:min(len(images), 2)]
}

// withdrawRules lets pods of a deleted policy be created as they are. It sets
// InjectionReady.
func (r *MFAPolicyReconciler) withdrawRules(ctx context.Context, p *pass) error {
	p.fails(mfav1alpha1.ConditionInjectionReady, mfav1alpha1.ReasonDeleting, "The policy is being deleted; new pods get no sidecar")
	return r.deleteRules(ctx, p.policy)
}

// deleteRules removes the admission rules that were made for a policy.
func (r *MFAPolicyReconciler) deleteRules(ctx context.Context, p *mfav1alpha1.MFAPolicy) error {
	// What they hold is of no matter for withdrawing them; what all policies share stays.
	for _, rule := range rulesOf(p, r.Webhook) {
		if rule.key.Name == admission.BackstopName {
			continue
		}
		rule.object.SetName(rule.key.Name)
		r.applied.forget(rule.object)
		if err := r.Client.Delete(ctx, rule.object); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("withdraw the admission rule %s: %w", rule.key.Name, err)
		}
	}
	return nil
}

// sweepRules removes the admission rules of a policy that is gone without our leave,
// its finalizer removed by somebody: they would refuse pods for ever, with nothing to
// delete that explains it. Every rule that stands at a start is an event of its own,
// so what went while no operator ran is swept too.
func (r *MFAPolicyReconciler) sweepRules(ctx context.Context, key client.ObjectKey) error {
	policy := new(mfav1alpha1.MFAPolicy)
	// The cache may be behind, and what is swept by mistake is a door left open.
	err := r.Live.Get(ctx, key, policy)
	if err == nil {
		return fmt.Errorf("MFAPolicy %s is there, but not yet in the cache", key)
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("ask whether MFAPolicy %s is gone: %w", key, err)
	}
	policy.Namespace, policy.Name = key.Namespace, key.Name
	r.channels.forget(key)
	return r.deleteRules(ctx, policy)
}
