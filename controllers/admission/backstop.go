package admission

import (
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	admissionregistrationv1ac "k8s.io/client-go/applyconfigurations/admissionregistration/v1"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// BackstopName is the name of the backstop.
const BackstopName = "sallyport-backstop"

// Backstop is the policy, evaluated by the API server itself, that refuses a pod
// which should carry a sidecar and does not, and what would take the sidecar's force
// from a pod that carries one. It does nothing without a binding.
//
// It looks at pods/ephemeralcontainers, since such a container shares the pod's
// network and would reach the app behind the sidecar. It leaves the other
// subresources alone: a resize changes nothing that matters here, and what the
// kubelet says of a pod must never be held up.
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
		spec.WithValidations(admissionregistrationv1ac.Validation().
			WithExpression(flatten(v.expression)).
			WithMessage(v.short).
			WithMessageExpression(flatten(v.message)).
			WithReason(metav1.StatusReasonForbidden))
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
			WithMatchResources(admissionregistrationv1ac.MatchResources().
				WithMatchPolicy(admissionregistrationv1.Equivalent).
				WithNamespaceSelector(namespaceSelector(p.Namespace)).
				WithObjectSelector(selector(&p.Spec.Selector))))
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
