package admission

import (
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	admissionregistrationv1ac "k8s.io/client-go/applyconfigurations/admissionregistration/v1"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

const (
	// BackstopName is the name of the backstop.
	BackstopName = "sallyport-backstop"
	// StatusBackstopName is the name of the one for pods/status.
	StatusBackstopName = "sallyport-status-backstop"
)

// Backstop is the policy, evaluated by the API server itself, that refuses a pod
// which should carry a sidecar and does not, and what would take the sidecar's force
// from a pod that carries one. It does nothing without a binding.
//
// It looks at pods/ephemeralcontainers, since such a container shares the pod's
// network and would reach the app behind the sidecar. It leaves the other
// subresources alone: a resize cannot change metadata or images, and StatusBackstop
// looks after pods/status.
func Backstop() *admissionregistrationv1ac.ValidatingAdmissionPolicyApplyConfiguration {
	rules := []*admissionregistrationv1ac.NamedRuleWithOperationsApplyConfiguration{
		ruleFor("pods", admissionregistrationv1.Create, admissionregistrationv1.Update),
		ruleFor("pods/ephemeralcontainers", admissionregistrationv1.Update),
	}
	spec := admissionregistrationv1ac.ValidatingAdmissionPolicySpec().
		WithFailurePolicy(admissionregistrationv1.Fail).
		WithParamKind(admissionregistrationv1ac.ParamKind().
			WithAPIVersion(mfav1alpha1.GroupVersion.String()).WithKind("MFAPolicy")).
		WithMatchConstraints(admissionregistrationv1ac.MatchResources().
			WithMatchPolicy(admissionregistrationv1.Equivalent).WithResourceRules(rules...))
	for _, v := range variables {
		spec.WithVariables(admissionregistrationv1ac.Variable().WithName(v.name).WithExpression(flatten(v.expression)))
	}
	for _, v := range validations {
		spec.WithValidations(v.build().WithMessageExpression(flatten(v.message)))
	}
	return admissionregistrationv1ac.ValidatingAdmissionPolicy(BackstopName).
		WithLabels(map[string]string{mfav1alpha1.ManagedByLabel: mfav1alpha1.ManagedBy}).
		WithSpec(spec)
}

// BackstopBinding puts the backstop in force for the pods of a policy. Delete it
// before the policy: while it stands without one, it refuses every write to them.
func BackstopBinding(p *mfav1alpha1.MFAPolicy) *admissionregistrationv1ac.ValidatingAdmissionPolicyBindingApplyConfiguration {
	return admissionregistrationv1ac.ValidatingAdmissionPolicyBinding(WebhookName(p.Namespace, p.Name)).
		WithLabels(labelsFor(p)).
		WithSpec(admissionregistrationv1ac.ValidatingAdmissionPolicyBindingSpec().
			WithPolicyName(BackstopName).
			WithValidationActions(admissionregistrationv1.Deny).
			WithParamRef(admissionregistrationv1ac.ParamRef().
				WithName(p.Name).WithNamespace(p.Namespace).
				WithParameterNotFoundAction(admissionregistrationv1.DenyAction)).
			WithMatchResources(matchResources(p)))
}

// StatusBackstop is the policy that refuses to change, through pods/status, the labels
// of a pod and the annotations that the injector set. The API server allows that to
// whoever may write a pod's status, which Backstop does not see.
//
// It takes no parameter, and so cannot be kept from its decision by a policy that is
// missing: what the kubelet says of a pod, which never changes these, is not held up.
func StatusBackstop() *admissionregistrationv1ac.ValidatingAdmissionPolicyApplyConfiguration {
	spec := admissionregistrationv1ac.ValidatingAdmissionPolicySpec().
		WithFailurePolicy(admissionregistrationv1.Fail).
		WithMatchConstraints(admissionregistrationv1ac.MatchResources().
			WithMatchPolicy(admissionregistrationv1.Equivalent).
			WithResourceRules(ruleFor("pods/status", admissionregistrationv1.Update)))
	for _, v := range statusValidations {
		spec.WithValidations(v.build())
	}
	return admissionregistrationv1ac.ValidatingAdmissionPolicy(StatusBackstopName).
		WithLabels(map[string]string{mfav1alpha1.ManagedByLabel: mfav1alpha1.ManagedBy}).
		WithSpec(spec)
}

// StatusBackstopBinding puts StatusBackstop in force for the pods of a policy.
func StatusBackstopBinding(p *mfav1alpha1.MFAPolicy) *admissionregistrationv1ac.ValidatingAdmissionPolicyBindingApplyConfiguration {
	return admissionregistrationv1ac.ValidatingAdmissionPolicyBinding(objectName("sallyport-status.", p.Namespace, p.Name)).
		WithLabels(labelsFor(p)).
		WithSpec(admissionregistrationv1ac.ValidatingAdmissionPolicyBindingSpec().
			WithPolicyName(StatusBackstopName).
			WithValidationActions(admissionregistrationv1.Deny).
			WithMatchResources(matchResources(p)))
}

func matchResources(p *mfav1alpha1.MFAPolicy) *admissionregistrationv1ac.MatchResourcesApplyConfiguration {
	return admissionregistrationv1ac.MatchResources().
		WithMatchPolicy(admissionregistrationv1.Equivalent).
		WithNamespaceSelector(namespaceSelector(p.Namespace)).
		WithObjectSelector(selector(&p.Spec.Selector))
}

func (v validation) build() *admissionregistrationv1ac.ValidationApplyConfiguration {
	return admissionregistrationv1ac.Validation().
		WithExpression(flatten(v.expression)).
		WithMessage(v.short).
		WithReason(metav1.StatusReasonForbidden)
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
