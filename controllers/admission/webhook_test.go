package admission_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1ac "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/sallyport/sallyport/controllers/admission"
)

func TestWebhookIsForOnePolicyAndFailsClosed(t *testing.T) {
	p := policy(t, "portal", `{matchLabels: {app: portal}, matchExpressions: [{key: tier, operator: In, values: [web, api]}]}`)
	got := admission.Webhook(p, admission.Target{Namespace: "sallyport-system", Name: "sallyport-webhook", CABundle: []byte("pem")})
	if *got.Name != "sallyport.acme.portal" || len(got.Webhooks) != 1 {
		t.Fatalf("got %s with %d webhooks", *got.Name, len(got.Webhooks))
	}
	hook := got.Webhooks[0]
	if *hook.FailurePolicy != "Fail" || *hook.ReinvocationPolicy != "IfNeeded" || *hook.SideEffects != "None" ||
		*hook.TimeoutSeconds != 5 || *hook.MatchPolicy != "Equivalent" || len(hook.MatchConditions) != 0 {
		t.Errorf("got %+v", hook)
	}
	namespace := metav1ac.LabelSelector().WithMatchExpressions(
		metav1ac.LabelSelectorRequirement().WithKey("kubernetes.io/metadata.name").WithOperator("In").WithValues("acme"))
	if diff := cmp.Diff(namespace, hook.NamespaceSelector); diff != "" {
		t.Errorf("namespaceSelector (-want +got):\n%s", diff)
	}
	object := metav1ac.LabelSelector().WithMatchLabels(map[string]string{"app": "portal"}).WithMatchExpressions(
		metav1ac.LabelSelectorRequirement().WithKey("tier").WithOperator("In").WithValues("web", "api"))
	if diff := cmp.Diff(object, hook.ObjectSelector); diff != "" {
		t.Errorf("objectSelector (-want +got):\n%s", diff)
	}
	client := admissionregistrationv1ac.WebhookClientConfig().WithCABundle([]byte("pem")...).
		WithService(admissionregistrationv1ac.ServiceReference().
			WithNamespace("sallyport-system").WithName("sallyport-webhook").WithPath("/mutate-pods").WithPort(443))
	if diff := cmp.Diff(client, hook.ClientConfig); diff != "" {
		t.Errorf("clientConfig (-want +got):\n%s", diff)
	}
}

func TestWebhookNameIsOfOnePolicyAndFits(t *testing.T) {
	long := strings.Repeat("x", 253)
	names := map[string]bool{}
	for _, c := range [][2]string{{"a", "b"}, {"a", "b.c"}, {"b", "a"}, {"a", long}, {"a", long[1:]}, {"b", long}} {
		name := admission.WebhookName(c[0], c[1])
		if len(name) > 253 {
			t.Errorf("%d characters", len(name))
		}
		if names[name] {
			t.Errorf("%s is the name for two policies", name)
		}
		names[name] = true
	}
}
