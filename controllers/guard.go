package controllers

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/guard"
)

// guardApp closes the ways to the app that do not pass the sidecar, where it can,
// and names those that remain. It sets DirectAccessBlocked.
func (r *MFAPolicyReconciler) guardApp(ctx context.Context, p *pass) error {
	const t = mfav1alpha1.ConditionDirectAccessBlocked
	in, err := r.surroundings(ctx, p)
	if err != nil {
		p.unknown(t, mfav1alpha1.ReasonNotChecked, "The ways to the app could not be looked at: %v", err)
		return err
	}
	if err := r.restrict(ctx, p, in); err != nil {
		p.unknown(t, mfav1alpha1.ReasonNotChecked, "The app's port could not be closed by a NetworkPolicy: %v", err)
		return err
	}
	if in.Capture == mfav1alpha1.CapturePort {
		in.Reached = r.Prober.Reached(ctx, in.Pods, in.AppPort)
	}
	ways := guard.Ways(*in)
	p.policy.Status.WaysAround = ways
	if len(ways) > 0 {
		p.fails(t, mfav1alpha1.ReasonWayAround, "The app can be reached without the sidecar, by %s %s: %s (%d ways in all, see status.waysAround)",
			ways[0].Kind, ways[0].Name, ways[0].Message, len(ways))
		return nil
	}
	p.holds(t, mfav1alpha1.ReasonNoWayAround, "No way to the app but through the sidecar was found")
	return nil
}

// surroundings gathers what leads to the policy's pods.
func (r *MFAPolicyReconciler) surroundings(ctx context.Context, p *pass) (*guard.Input, error) {
	in := &guard.Input{Policy: p.policy, Capture: p.policy.Status.Capture, Others: p.others}
	for _, o := range p.pods {
		in.Pods = append(in.Pods, o.pod)
	}
	in.AppPort = appPort(p, in.Pods)
	services, policies := new(corev1.ServiceList), new(networkingv1.NetworkPolicyList)
	if err := r.Client.List(ctx, services, client.InNamespace(p.policy.Namespace)); err != nil {
		return nil, fmt.Errorf("list the Services of %s: %w", p.policy.Namespace, err)
	}
	if err := r.Client.List(ctx, policies, client.InNamespace(p.policy.Namespace)); err != nil {
		return nil, fmt.Errorf("list the NetworkPolicies of %s: %w", p.policy.Namespace, err)
	}
	in.Services, in.NetworkPolicies = services.Items, policies.Items
	return in, nil
}

// appPort is the number of the app's port: that of the policy, or of the pods' port
// of that name; 0 where no pod tells.
func appPort(p *pass, pods []corev1.Pod) int32 {
	port := p.policy.Spec.App.Port
	if port.Number != 0 {
		return port.Number
	}
	for i := range pods {
		if n := guard.PortOf(&pods[i], port.Name); n != 0 {
			return n
		}
	}
	return 0
}

// restrict keeps a NetworkPolicy that leaves out the app's port, only where capture
// is Port and only while no other NetworkPolicy selects the pods: NetworkPolicies
// add up, and ours would then open what theirs closes.
func (r *MFAPolicyReconciler) restrict(ctx context.Context, p *pass, in *guard.Input) error {
	if p.leaving() {
		return nil
	}
	name := guard.NetworkPolicyName(p.policy.Name)
	others := slices.DeleteFunc(slices.Clone(in.NetworkPolicies), func(n networkingv1.NetworkPolicy) bool { return n.Name == name })
	at := slices.IndexFunc(in.NetworkPolicies, func(n networkingv1.NetworkPolicy) bool { return n.Name == name })
	wanted := r.NetworkPolicies && in.Capture == mfav1alpha1.CapturePort && in.AppPort != 0 && guard.MayRestrict(p.policy, others, in.Pods...)
	if !wanted {
		if at < 0 || !metav1.IsControlledBy(&in.NetworkPolicies[at], p.policy) {
			return nil
		}
		ours := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: p.policy.Namespace, Name: name}}
		if err := r.Client.Delete(ctx, ours); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("remove NetworkPolicy %s: %w", name, err)
		}
		return nil
	}
	if at >= 0 && !metav1.IsControlledBy(&in.NetworkPolicies[at], p.policy) {
		return fmt.Errorf("NetworkPolicy %s is not the operator's; rename it, or run without --network-policies", name)
	}
	return r.applied.ensure(ctx, r.Client, ensured{
		object:  &networkingv1.NetworkPolicy{},
		key:     client.ObjectKey{Namespace: p.policy.Namespace, Name: name},
		desired: guard.NetworkPolicy(p.policy, []int32{in.AppPort}),
		sole:    true,
	}, r.Clock())
}
