package admission

import (
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// policyValidations of PolicyBackstop, in the order in which a person should hear of
// them, and the variables that they use. They are few, and their messages are no
// expressions: each that the API server compiles costs it 20 KiB or more.
func policyValidations(p *mfav1alpha1.MFAPolicy) ([]variable, []validation) {
	required := []validation{
		{
			at:         change,
			expression: covers(&p.Spec.Selector, "oldObject") + " || !(" + covers(&p.Spec.Selector, "object") + ")",
			short: "These labels would have MFAPolicy " + p.Name + " select a pod that was not created under it. " +
				"Create the pod anew with these labels instead",
		},
		{
			at:         creation,
			expression: initContainers + `.exists(c, c.name == 'sallyport')`,
			short: "MFAPolicy " + p.Name + " selects this pod, but the pod arrived without the init container sallyport. The injector adds it; " +
				"if it did not, ask whoever runs Sallyport whether the webhook configuration " + WebhookName(p.Namespace, p.Name) + " is there",
		},
		{
			at:         creation,
			expression: initContainers + `.all(c, !(c.name in ['sallyport', 'sallyport-redirect']) || c.image in ` + literals(p.Status.Images) + `)`,
			short: "The image of an injected container is not one that the operator injects for MFAPolicy " + p.Name +
				". Leave the container out: the injector adds it",
		},
	}
	if p.Spec.Capture != mfav1alpha1.CaptureRedirect {
		return nil, required // what Auto comes to is the injector's to say
	}
	realm := literal(p.Namespace + "/" + p.Name)
	return []variable{followed}, append(required, validation{
		at:         creation,
		expression: `!(` + realm + ` in variables.followed) || ` + initContainers + `.exists(c, c.name == 'sallyport-redirect')`,
		short: "MFAPolicy " + p.Name + " has capture Redirect, but the pod arrived without the init container sallyport-redirect. " +
			"Leave the injected containers out: the injector adds both. If the policy was changed just now, try again",
	})
}

// covers is the expression that tells whether a selector matches a pod.
func covers(s *metav1.LabelSelector, pod string) string {
	label := func(key string) string { return pod + ".metadata.?labels[?" + literal(key) + "]" }
	requirements := []string{"true"}
	for key, value := range s.MatchLabels {
		requirements = append(requirements, label(key)+" == optional.of("+literal(value)+")")
	}
	for _, e := range s.MatchExpressions {
		has := label(e.Key) + ".hasValue()"
		isOneOf := "(" + has + " && " + label(e.Key) + ".value() in " + literals(e.Values) + ")"
		requirements = append(requirements, map[metav1.LabelSelectorOperator]string{
			metav1.LabelSelectorOpIn: isOneOf, metav1.LabelSelectorOpNotIn: "!" + isOneOf,
			metav1.LabelSelectorOpExists: has, metav1.LabelSelectorOpDoesNotExist: "!" + has,
		}[e.Operator])
	}
	slices.Sort(requirements)
	return strings.Join(requirements, " && ")
}

func literals(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = literal(v)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// literal writes a string as CEL does, whose escapes are among Go's.
func literal(s string) string { return strconv.QuoteToASCII(s) }
