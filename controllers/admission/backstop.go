package admission

import (
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	admissionregistrationv1ac "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// BackstopName is the name of the backstop that all policies share.
const BackstopName = "sallyport-backstop"

// Backstop is what the API server itself refuses for the pods of every policy:
// injected containers that are not what the injector writes, and whatever would take
// their force from them. It does nothing without a binding.
//
// It looks at pods/ephemeralcontainers, since such a container shares the pod's
// network and would reach the app behind the sidecar, and at pods/status, by which
// labels and annotations can be changed. It leaves the other subresources alone: a
// resize cannot change metadata or images.
//
// It has no paramKind: an API server that has just started refuses all that such a
// policy may look at, of every namespace, until it has discovered the kind. So it
// knows nothing of any policy; see PolicyBackstop.
func Backstop() *admissionregistrationv1ac.ValidatingAdmissionPolicyApplyConfiguration {
	everywhere := admissionregistrationv1ac.MatchResources().
		WithMatchPolicy(admissionregistrationv1.Equivalent).
		WithNamespaceSelector(metav1ac.LabelSelector()).
		WithObjectSelector(metav1ac.LabelSelector()).
		WithResourceRules(
			ruleFor("pods", admissionregistrationv1.Create, admissionregistrationv1.Update),
			ruleFor("pods/ephemeralcontainers", admissionregistrationv1.Update),
			ruleFor("pods/status", admissionregistrationv1.Update))
	return admissionregistrationv1ac.ValidatingAdmissionPolicy(BackstopName).
		WithLabels(map[string]string{mfav1alpha1.ManagedByLabel: mfav1alpha1.ManagedBy}).
		WithSpec(specOf(everywhere, variables, validations))
}

// BackstopBinding puts the backstop in force for the pods of a policy.
func BackstopBinding(p *mfav1alpha1.MFAPolicy) *admissionregistrationv1ac.ValidatingAdmissionPolicyBindingApplyConfiguration {
	return admissionregistrationv1ac.ValidatingAdmissionPolicyBinding(objectName(BackstopName+".", p.Namespace, p.Name)).
		WithLabels(labelsFor(p)).
		WithSpec(admissionregistrationv1ac.ValidatingAdmissionPolicyBindingSpec().
			WithPolicyName(BackstopName).
			WithValidationActions(admissionregistrationv1.Deny).
			WithMatchResources(podsOf(p)))
}

// PolicyBackstop is the part of the backstop that differs from policy to policy: that
// its pods carry a sidecar and of which images, whether the app's port must be
// redirected, and which labels would bring a pod into its selection. The API server
// compiles one for each policy, at each of its starts, so nothing belongs here that
// Backstop can say.
//
// The policy's status must name the images: without any, no pod is accepted.
func PolicyBackstop(p *mfav1alpha1.MFAPolicy) *admissionregistrationv1ac.ValidatingAdmissionPolicyApplyConfiguration {
	variables, validations := policyValidations(p)
	pods := podsOf(p).WithResourceRules(ruleFor("pods", admissionregistrationv1.Create, admissionregistrationv1.Update))
	return admissionregistrationv1ac.ValidatingAdmissionPolicy(WebhookName(p.Namespace, p.Name)).
		WithLabels(labelsFor(p)).
		WithSpec(specOf(pods, variables, validations))
}

// PolicyBackstopBinding puts PolicyBackstop in force.
func PolicyBackstopBinding(p *mfav1alpha1.MFAPolicy) *admissionregistrationv1ac.ValidatingAdmissionPolicyBindingApplyConfiguration {
	name := WebhookName(p.Namespace, p.Name)
	return admissionregistrationv1ac.ValidatingAdmissionPolicyBinding(name).
		WithLabels(labelsFor(p)).
		WithSpec(admissionregistrationv1ac.ValidatingAdmissionPolicyBindingSpec().
			WithPolicyName(name).
			WithValidationActions(admissionregistrationv1.Deny))
}

func specOf(
	pods *admissionregistrationv1ac.MatchResourcesApplyConfiguration, variables []variable, validations []validation,
) *admissionregistrationv1ac.ValidatingAdmissionPolicySpecApplyConfiguration {
	spec := admissionregistrationv1ac.ValidatingAdmissionPolicySpec().
		WithFailurePolicy(admissionregistrationv1.Fail).
		WithMatchConstraints(pods)
	for _, v := range variables {
		spec.WithVariables(admissionregistrationv1ac.Variable().WithName(v.name).WithExpression(flatten(v.expression)))
	}
	for _, v := range validations {
		spec.WithValidations(v.build())
	}
	return spec
}

// podsOf matches the pods that a policy selects, or selected before a change of their
// labels.
func podsOf(p *mfav1alpha1.MFAPolicy) *admissionregistrationv1ac.MatchResourcesApplyConfiguration {
	return admissionregistrationv1ac.MatchResources().
		WithMatchPolicy(admissionregistrationv1.Equivalent).
		WithNamespaceSelector(namespaceSelector(p.Namespace)).
		WithObjectSelector(selector(&p.Spec.Selector))
}

func (v validation) build() *admissionregistrationv1ac.ValidationApplyConfiguration {
	built := admissionregistrationv1ac.Validation().
		WithExpression(flatten("!(" + string(v.at) + ") || (" + v.expression + ")")).
		WithMessage(v.short).
		WithReason(metav1.StatusReasonForbidden)
	if v.message != "" {
		built.WithMessageExpression(flatten(v.message))
	}
	return built
}

func ruleFor(
	resource string, operations ...admissionregistrationv1.OperationType,
) *admissionregistrationv1ac.NamedRuleWithOperationsApplyConfiguration {
	return admissionregistrationv1ac.NamedRuleWithOperations().
		WithAPIGroups("").WithAPIVersions("v1").WithResources(resource).
		WithScope(admissionregistrationv1.NamespacedScope).
		WithOperations(operations...)
}

// flatten joins the lines of an expression: they are broken for readers of this
// source only.
func flatten(expression string) string {
	return strings.Join(strings.Fields(expression), " ")
}
