package guard

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	networkingv1ac "k8s.io/client-go/applyconfigurations/networking/v1"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

const (
	firstPort int32 = 1
	lastPort  int32 = 65535
	// policyKind is the kind of what owns the NetworkPolicies that are ours.
	policyKind = "MFAPolicy"
)

// NetworkPolicyName is the name of the NetworkPolicy that belongs to a policy.
func NetworkPolicyName(policyName string) string { return "sallyport-" + policyName }

// NetworkPolicy admits everything to the policy's pods but the given TCP ports: it
// closes the way by a pod's own address where capture is Port. Apply it only where
// MayRestrict allows it.
//
// It does not hinder the kubelet's probes of the app's port, nor anything else on the
// pod's own node: the API exempts traffic from there. For the same reason it is no
// substitute for capture Redirect. A network plugin may ignore NetworkPolicies
// altogether, or the field endPort, taking a range for its first port; so the
// sidecar's own ports are named one by one as well, lest the front door be shut.
func NetworkPolicy(p *mfav1alpha1.MFAPolicy, ports []int32) *networkingv1ac.NetworkPolicyApplyConfiguration {
	rule := networkingv1ac.NetworkPolicyIngressRule()
	for _, r := range besides(ports) {
		tcp := networkingv1ac.NetworkPolicyPort().WithProtocol(corev1.ProtocolTCP).WithPort(intstr.FromInt32(r.first))
		if r.last > r.first {
			tcp.WithEndPort(r.last)
		}
		rule.WithPorts(tcp)
	}
	for _, own := range []int32{mfav1alpha1.TrafficPort, mfav1alpha1.OperationsPort} {
		if !slices.Contains(ports, own) {
			rule.WithPorts(networkingv1ac.NetworkPolicyPort().WithProtocol(corev1.ProtocolTCP).WithPort(intstr.FromInt32(own)))
		}
	}
	for _, protocol := range []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolSCTP} {
		rule.WithPorts(networkingv1ac.NetworkPolicyPort().WithProtocol(protocol))
	}
	return networkingv1ac.NetworkPolicy(NetworkPolicyName(p.Name), p.Namespace).
		WithLabels(map[string]string{mfav1alpha1.ManagedByLabel: mfav1alpha1.ManagedBy}).
		WithOwnerReferences(metav1ac.OwnerReference().
			WithAPIVersion(mfav1alpha1.GroupVersion.String()).WithKind(policyKind).
			WithName(p.Name).WithUID(p.UID).WithController(true)).
		WithSpec(networkingv1ac.NetworkPolicySpec().
			WithPodSelector(selectorOf(&p.Spec.Selector)).
			WithPolicyTypes(networkingv1.PolicyTypeIngress).
			WithIngress(rule))
}

type portRange struct{ first, last int32 }

// besides returns the ranges of ports without the given ones.
func besides(ports []int32) []portRange {
	var ranges []portRange
	next := firstPort
	for _, closed := range slices.Sorted(slices.Values(ports)) {
		if closed < next || closed > lastPort {
			continue // a repetition, or no port
		}
		if closed > next {
			ranges = append(ranges, portRange{next, closed - 1})
		}
		next = closed + 1
	}
	if next <= lastPort {
		ranges = append(ranges, portRange{next, lastPort})
	}
	return ranges
}

func selectorOf(s *metav1.LabelSelector) *metav1ac.LabelSelectorApplyConfiguration {
	out := metav1ac.LabelSelector()
	if len(s.MatchLabels) > 0 {
		out.WithMatchLabels(s.MatchLabels)
	}
	for _, r := range s.MatchExpressions {
		out.WithMatchExpressions(metav1ac.LabelSelectorRequirement().
			WithKey(r.Key).WithOperator(r.Operator).WithValues(r.Values...))
	}
	return out
}

// MayRestrict reports whether NetworkPolicy may be applied. NetworkPolicies only ever
// add: where another one already limits what reaches some of the pods, ours would
// open what it closes. Then ours must not exist, and must be removed.
//
// Another one stands in the way if it selects one of the policy's pods. Without any
// pods to look at, it does so unless its selector and the policy's exclude each other.
// NetworkPolicies of ours do not stand in each other's way: else each would yield to
// the other, for ever.
func MayRestrict(p *mfav1alpha1.MFAPolicy, others []networkingv1.NetworkPolicy, pods ...corev1.Pod) bool {
	selector, err := metav1.LabelSelectorAsSelector(&p.Spec.Selector)
	if err != nil {
		return false // what it selects is unknown
	}
	for i := range others {
		other := &others[i]
		if other.Namespace != p.Namespace || isOurs(other) || !limitsIngress(other) {
			continue
		}
		theirs, err := metav1.LabelSelectorAsSelector(&other.Spec.PodSelector)
		if err != nil || selectsAny(theirs, pods) || (len(pods) == 0 && !exclude(selector, theirs)) {
			return false
		}
	}
	return true
}

// isOurs reports whether a policy of this product owns the NetworkPolicy.
func isOurs(n *networkingv1.NetworkPolicy) bool {
	owner := metav1.GetControllerOf(n)
	return owner != nil && owner.Kind == policyKind && owner.APIVersion == mfav1alpha1.GroupVersion.String() &&
		n.Name == NetworkPolicyName(owner.Name)
}

// limitsIngress reports whether the NetworkPolicy speaks of ingress. The API server
// fills the types in, and one without them does.
func limitsIngress(n *networkingv1.NetworkPolicy) bool {
	return len(n.Spec.PolicyTypes) == 0 || slices.Contains(n.Spec.PolicyTypes, networkingv1.PolicyTypeIngress)
}
