package operator

import (
	"context"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// wipe takes away everything that an operator reacts to, for the next test on the
// same API server. Namespaces stay: nobody here finishes their deletion.
func (c *Cluster) wipe(ctx context.Context) {
	c.t.Helper()
	ours := client.MatchingLabels{mfav1alpha1.ManagedByLabel: mfav1alpha1.ManagedBy}
	for _, kind := range []struct {
		list    client.ObjectList
		options []client.ListOption
	}{
		{new(admissionregistrationv1.MutatingWebhookConfigurationList), []client.ListOption{ours}},
		{new(admissionregistrationv1.ValidatingAdmissionPolicyBindingList), []client.ListOption{ours}},
		{new(admissionregistrationv1.ValidatingAdmissionPolicyList), []client.ListOption{ours}},
		{new(mfav1alpha1.MFAPolicyList), nil},
		{new(corev1.PodList), nil},
		{new(corev1.SecretList), nil},
		{new(networkingv1.NetworkPolicyList), nil},
		{new(eventsv1.EventList), nil},
		{new(coordinationv1.LeaseList), []client.ListOption{client.InNamespace(Namespace)}},
	} {
		if err := c.Client.List(ctx, kind.list, kind.options...); err != nil {
			c.t.Errorf("wipe: list %T: %v", kind.list, err)
			continue
		}
		_ = meta.EachListItem(kind.list, c.remover(ctx))
	}
}

func (c *Cluster) remover(ctx context.Context) func(runtime.Object) error {
	return func(item runtime.Object) error {
		object, ok := item.(client.Object)
		if !ok {
			return nil
		}
		if len(object.GetFinalizers()) > 0 {
			base, _ := object.DeepCopyObject().(client.Object)
			object.SetFinalizers(nil)
			if err := c.Client.Patch(ctx, object, client.MergeFrom(base)); client.IgnoreNotFound(err) != nil {
				c.t.Errorf("wipe: release %T %s: %v", object, object.GetName(), err)
			}
		}
		if err := c.Client.Delete(ctx, object, client.GracePeriodSeconds(0)); client.IgnoreNotFound(err) != nil {
			c.t.Errorf("wipe: delete %T %s: %v", object, object.GetName(), err)
		}
		return nil
	}
}
