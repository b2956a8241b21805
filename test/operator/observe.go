package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// WantIn fails the test for each text that does not occur.
func WantIn(t testing.TB, what, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s does not say %q:\n%s", what, want, text)
		}
	}
}

// Events of an object, oldest first.
func (c *Cluster) Events(of client.Object) []eventsv1.Event {
	c.t.Helper()
	list := new(eventsv1.EventList)
	if err := c.Client.List(c.t.Context(), list, client.InNamespace(of.GetNamespace())); err != nil {
		c.t.Fatalf("list the events: %v", err)
	}
	var found []eventsv1.Event
	for _, e := range list.Items {
		if e.Regarding.UID == of.GetUID() {
			found = append(found, e)
		}
	}
	return found
}

// AwaitEvent waits for an event of the policy.
func (c *Cluster) AwaitEvent(of client.Object, kind string, reason mfav1alpha1.ConditionReason) eventsv1.Event {
	c.t.Helper()
	var found eventsv1.Event
	Await(c.t, fmt.Sprintf("an event %s %s", kind, reason), func(context.Context) error {
		all := c.Events(of)
		for _, e := range all {
			if e.Reason == string(reason) && e.Type == kind {
				found = e
				return nil
			}
		}
		return fmt.Errorf("there are %d others", len(all))
	})
	return found
}

// AwaitMessage waits until a condition's message holds a text, and returns it.
func (c *Cluster) AwaitMessage(p *mfav1alpha1.MFAPolicy, condition mfav1alpha1.ConditionType, text string) string {
	c.t.Helper()
	message := ""
	Await(c.t, fmt.Sprintf("%s says %q", condition, text), func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		for _, is := range p.Status.Conditions {
			if is.Type == string(condition) && is.ObservedGeneration == p.Generation && strings.Contains(is.Message, text) {
				message = is.Message
				return nil
			}
		}
		return fmt.Errorf("conditions %+v", p.Status.Conditions)
	})
	return message
}

// SidecarSecret is the namespace's Secret; nil where there is none.
func (c *Cluster) SidecarSecret(namespace string) *corev1.Secret {
	c.t.Helper()
	secret := new(corev1.Secret)
	err := c.Client.Get(c.t.Context(), client.ObjectKey{Namespace: namespace, Name: mfav1alpha1.SidecarSecret}, secret)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		c.t.Fatalf("read the sidecars' Secret: %v", err)
	}
	return secret
}

// EpochOf is what the cluster remembers of a realm's store.
func (c *Cluster) EpochOf(realm string) string {
	c.t.Helper()
	namespace, _, _ := strings.Cut(realm, "/")
	secret := c.SidecarSecret(namespace)
	if secret == nil {
		return ""
	}
	epochs := map[string]string{}
	if err := json.Unmarshal(secret.Data[mfav1alpha1.EpochsKey], &epochs); err != nil {
		c.t.Fatalf("read the epochs of %s: %v", namespace, err)
	}
	return epochs[realm]
}

// Rules are the admission rules of one policy.
type Rules struct {
	Webhooks []admissionregistrationv1.MutatingWebhookConfiguration
	Policies []admissionregistrationv1.ValidatingAdmissionPolicy
	Bindings []admissionregistrationv1.ValidatingAdmissionPolicyBinding
}

// Complete reports whether a policy has all that it should: the webhook, its own part
// of the backstop, and the bindings of that and of the part that all share.
func (r Rules) Complete() bool {
	return len(r.Webhooks) == 1 && len(r.Policies) == 1 && len(r.Bindings) == 2
}

// None reports whether nothing of a policy is left.
func (r Rules) None() bool { return len(r.Webhooks)+len(r.Policies)+len(r.Bindings) == 0 }

// RulesOf reads a policy's admission rules.
func (c *Cluster) RulesOf(p client.Object) Rules {
	c.t.Helper()
	of := client.MatchingLabels{mfav1alpha1.PolicyNamespaceLabel: p.GetNamespace(), mfav1alpha1.PolicyNameLabel: p.GetName()}
	webhooks, policies := new(admissionregistrationv1.MutatingWebhookConfigurationList), new(admissionregistrationv1.ValidatingAdmissionPolicyList)
	bindings := new(admissionregistrationv1.ValidatingAdmissionPolicyBindingList)
	for _, list := range []client.ObjectList{webhooks, policies, bindings} {
		if err := c.Client.List(c.t.Context(), list, of); err != nil {
			c.t.Fatalf("list the admission rules: %v", err)
		}
	}
	return Rules{webhooks.Items, policies.Items, bindings.Items}
}
