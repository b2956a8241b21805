package guard

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// openNetworkPolicies finds what other NetworkPolicies leave open where ours must
// give way to them.
func (in *Input) openNetworkPolicies(f findings) {
	own := NetworkPolicyName(in.Policy.Name)
	others := slices.DeleteFunc(slices.Clone(in.NetworkPolicies), func(n networkingv1.NetworkPolicy) bool {
		return n.Name == own || n.Namespace != in.Policy.Namespace || !limitsIngress(&n)
	})
	alone := MayRestrict(in.Policy, others, in.Pods...)
	var uncovered, admitting []string
	var port int32
	for i := range in.Pods {
		pod := &in.Pods[i]
		if !in.besideSidecar(pod) || in.appPort(pod) == 0 {
			continue
		}
		covered, by := false, []string(nil)
		for j := range others {
			if !covers(&others[j], pod) {
				continue
			}
			covered = true
			if admitsAnyone(&others[j], pod, in.appPort(pod)) {
				by = append(by, others[j].Name)
			}
		}
		switch {
		case len(by) > 0:
			port = in.appPort(pod)
			admitting = append(admitting, by...)
		case !covered && !alone:
			port = in.appPort(pod)
			uncovered = append(uncovered, pod.Name)
		}
	}
	if len(admitting) > 0 {
		f.add(kindNamespace, in.Policy.Namespace, "The app's port %d is admitted from anywhere by the NetworkPolicies that select its pods: %s. "+
			"Let them admit port %d instead, or use capture: Redirect.", port, some(admitting), mfav1alpha1.TrafficPort)
	}
	if len(uncovered) > 0 {
		f.add(kindNamespace, in.Policy.Namespace, "No NetworkPolicy closes the app's port %d of these pods: %s. Sallyport adds none of its own, "+
			"since others select some of the policy's pods and it would open what they close. "+
			"Let the others cover every pod and admit port %d, or use capture: Redirect.", port, some(uncovered), mfav1alpha1.TrafficPort)
	}
}

func covers(n *networkingv1.NetworkPolicy, pod *corev1.Pod) bool {
	selector, err := metav1.LabelSelectorAsSelector(&n.Spec.PodSelector)
	return err == nil && selector.Matches(labels.Set(pod.Labels))
}

// admitsAnyone reports whether the NetworkPolicy admits every client, or every pod of
// the cluster, to the port.
func admitsAnyone(n *networkingv1.NetworkPolicy, pod *corev1.Pod, port int32) bool {
	return slices.ContainsFunc(n.Spec.Ingress, func(rule networkingv1.NetworkPolicyIngressRule) bool {
		return admitsPort(rule.Ports, pod, port) && (len(rule.From) == 0 || slices.ContainsFunc(rule.From, isAnyone))
	})
}

func admitsPort(ports []networkingv1.NetworkPolicyPort, pod *corev1.Pod, port int32) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
		switch {
		case p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP:
			return false
		case p.Port == nil:
			return true
		case p.Port.StrVal != "":
			return slices.ContainsFunc(serving(pod), func(c *corev1.Container) bool {
				return namedPort(c, p.Port.StrVal, corev1.ProtocolTCP) == port
			})
		case p.EndPort != nil:
			return p.Port.IntVal <= port && port <= *p.EndPort
		default:
			return p.Port.IntVal == port
		}
	})
}

func isAnyone(peer networkingv1.NetworkPolicyPeer) bool {
	if peer.IPBlock != nil {
		return len(peer.IPBlock.Except) == 0 && (peer.IPBlock.CIDR == "0.0.0.0/0" || peer.IPBlock.CIDR == "::/0")
	}
	return isEverything(peer.NamespaceSelector) && (peer.PodSelector == nil || isEverything(peer.PodSelector))
}

func isEverything(s *metav1.LabelSelector) bool {
	return s != nil && len(s.MatchLabels) == 0 && len(s.MatchExpressions) == 0
}
