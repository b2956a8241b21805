package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/injection"
	"github.com/sallyport/sallyport/controllers/selection"
)

// policiesIn asks for every policy of the namespace that the object is.
func (r *MFAPolicyReconciler) policiesIn(ctx context.Context, namespace client.Object) []reconcile.Request {
	return r.policiesWhere(ctx, namespace.GetName(), func(*mfav1alpha1.MFAPolicy) bool { return true })
}

// policiesOfNamespace asks for every policy of the object's namespace.
func (r *MFAPolicyReconciler) policiesOfNamespace(ctx context.Context, object client.Object) []reconcile.Request {
	return r.policiesWhere(ctx, object.GetNamespace(), func(*mfav1alpha1.MFAPolicy) bool { return true })
}

// policiesOfPod asks for the policies that select a pod or whose sidecar it carries.
func (r *MFAPolicyReconciler) policiesOfPod(ctx context.Context, object client.Object) []reconcile.Request {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return nil
	}
	carried, _, _ := injection.Injected(pod)
	return r.policiesWhere(ctx, pod.Namespace, func(p *mfav1alpha1.MFAPolicy) bool {
		covers, err := selection.Covers(p, labels.Set(pod.Labels))
		return covers || err != nil || p.Name == carried
	})
}

// policiesOfRule asks for the policy that a cluster-scoped object was made for, or
// for all policies where it was made for all of them.
func (r *MFAPolicyReconciler) policiesOfRule(ctx context.Context, object client.Object) []reconcile.Request {
	namespace, name := object.GetLabels()[mfav1alpha1.PolicyNamespaceLabel], object.GetLabels()[mfav1alpha1.PolicyNameLabel]
	if name != "" {
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: namespace, Name: name}}}
	}
	return r.AllPolicies(ctx)
}

// AllPolicies asks for every policy: for news that concern all of them.
func (r *MFAPolicyReconciler) AllPolicies(ctx context.Context) []reconcile.Request {
	return r.policiesWhere(ctx, "", func(*mfav1alpha1.MFAPolicy) bool { return true })
}

func (r *MFAPolicyReconciler) policiesWhere(
	ctx context.Context, namespace string, wanted func(*mfav1alpha1.MFAPolicy) bool,
) []reconcile.Request {
	list := new(mfav1alpha1.MFAPolicyList)
	if err := r.Client.List(ctx, list, client.InNamespace(namespace)); err != nil {
		log.FromContext(ctx).Error(err, "Could not list the policies that an event concerns; they are looked at again in due time")
		return nil
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if wanted(&list.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return requests
}

// podChanged lets through what a policy's status depends upon. Whether a pod is
// ready is not part of it.
func podChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*corev1.Pod)
		after, ok2 := e.ObjectNew.(*corev1.Pod)
		return !ok || !ok2 || before.Status.Phase != after.Status.Phase || before.Status.PodIP != after.Status.PodIP ||
			(before.DeletionTimestamp == nil) != (after.DeletionTimestamp == nil) ||
			!labels.Equals(before.Labels, after.Labels) || silence(before) != silence(after)
	}}
}
