package admission

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	admissionregistrationv1ac "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

const (
	// Path is where the injector listens.
	Path = "/mutate-pods"
	// WebhookEntry names the one webhook of each configuration; the API server puts it
	// before what the injector says to a person.
	WebhookEntry = "inject." + mfav1alpha1.GroupName

	// timeoutSeconds leaves a slow replica time to answer, and a person who waits a
	// plain error rather than a hung command.
	timeoutSeconds = 5
	// servicePort is what the API server dials where the target names none.
	servicePort = 443
	// maxName bounds the name of an object.
	maxName = 253
)

// Target is where the API server reaches the injector.
type Target struct {
	// Namespace and Name of the Service. Left out where URL is set.
	Namespace, Name string
	// Port of the Service; 443 where it is 0.
	Port int32
	// URL is the whole address, Path included, of an injector outside the cluster.
	URL string
	// CABundle is the PEM of the authorities that the injector's certificate must be
	// signed by.
	CABundle []byte
}

// Webhook is the configuration that sends a policy's pods, and no others, to the
// injector at their creation, and refuses them while it cannot be reached.
func Webhook(p *mfav1alpha1.MFAPolicy, to Target) *admissionregistrationv1ac.MutatingWebhookConfigurationApplyConfiguration {
	rule := admissionregistrationv1ac.RuleWithOperations().
		WithOperations(admissionregistrationv1.Create).
		WithAPIGroups("").WithAPIVersions("v1").WithResources("pods").
		WithScope(admissionregistrationv1.NamespacedScope)
	hook := admissionregistrationv1ac.MutatingWebhook().
		WithName(WebhookEntry).
		WithClientConfig(clientConfig(to)).
		WithRules(rule).
		WithNamespaceSelector(namespaceSelector(p.Namespace)).
		WithObjectSelector(selector(&p.Spec.Selector)).
		WithFailurePolicy(admissionregistrationv1.Fail).
		WithMatchPolicy(admissionregistrationv1.Equivalent).
		WithSideEffects(admissionregistrationv1.SideEffectClassNone).
		WithTimeoutSeconds(timeoutSeconds).
		WithReinvocationPolicy(admissionregistrationv1.IfNeededReinvocationPolicy).
		WithAdmissionReviewVersions("v1")
	return admissionregistrationv1ac.MutatingWebhookConfiguration(WebhookName(p.Namespace, p.Name)).
		WithLabels(labelsFor(p)).
		WithWebhooks(hook)
}

// WebhookName is the name of the webhook configuration for a policy, and of its
// PolicyBackstop and the binding of that. A namespace's name has no dots, so no two policies share one.
func WebhookName(namespace, policy string) string {
	return objectName("sallyport.", namespace, policy)
}

func objectName(prefix, namespace, policy string) string {
	name := prefix + namespace + "." + policy
	if len(name) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return prefix + hex.EncodeToString(sum[:])
}

func labelsFor(p *mfav1alpha1.MFAPolicy) map[string]string {
	return map[string]string{
		mfav1alpha1.ManagedByLabel:       mfav1alpha1.ManagedBy,
		mfav1alpha1.PolicyNamespaceLabel: p.Namespace,
		mfav1alpha1.PolicyNameLabel:      p.Name,
	}
}

func clientConfig(to Target) *admissionregistrationv1ac.WebhookClientConfigApplyConfiguration {
	config := admissionregistrationv1ac.WebhookClientConfig().WithCABundle(to.CABundle...)
	if to.URL != "" {
		return config.WithURL(to.URL)
	}
	port := to.Port
	if port == 0 {
		port = servicePort
	}
	return config.WithService(admissionregistrationv1ac.ServiceReference().
		WithNamespace(to.Namespace).WithName(to.Name).WithPath(Path).WithPort(port))
}

// namespaceSelector names a namespace by the label that the API server itself keeps
// on it, which nobody can change.
func namespaceSelector(namespace string) *metav1ac.LabelSelectorApplyConfiguration {
	return metav1ac.LabelSelector().WithMatchExpressions(metav1ac.LabelSelectorRequirement().
		WithKey(corev1.LabelMetadataName).WithOperator(metav1.LabelSelectorOpIn).WithValues(namespace))
}

func selector(s *metav1.LabelSelector) *metav1ac.LabelSelectorApplyConfiguration {
	out := metav1ac.LabelSelector()
	if len(s.MatchLabels) > 0 {
		out.WithMatchLabels(maps.Clone(s.MatchLabels))
	}
	for _, e := range s.MatchExpressions {
		out.WithMatchExpressions(metav1ac.LabelSelectorRequirement().
			WithKey(e.Key).WithOperator(e.Operator).WithValues(slices.Clone(e.Values)...))
	}
	return out
}
