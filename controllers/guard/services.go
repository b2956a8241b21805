package guard

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// openServices finds Services that lead to the app beside its sidecar, or to a pod
// that no sidecar guards.
func (in *Input) openServices(f findings) {
	for i := range in.Services {
		service := &in.Services[i]
		// The endpoint controllers make no endpoints for these either.
		if service.Namespace != in.Policy.Namespace || service.Spec.Type == corev1.ServiceTypeExternalName || len(service.Spec.Selector) == 0 {
			continue
		}
		governed := selected(service, in.Pods)
		if len(governed) == 0 {
			continue
		}
		in.unguarded(f, service, governed)
		if in.Capture == mfav1alpha1.CaptureRedirect {
			continue
		}
		for _, pod := range governed {
			if in.besideSidecar(pod) {
				in.openPorts(f, service, pod)
			}
		}
	}
}

// unguarded finds the pods behind a Service whose sidecar is missing: those that the
// policy governs, and those beside them that no policy does.
func (in *Input) unguarded(f findings, service *corev1.Service, governed []*corev1.Pod) {
	var bare, foreign []string
	for _, pod := range governed {
		if _, ok := carriedPolicy(pod); !ok && leadsTo(service, pod) {
			bare = append(bare, pod.Name)
		}
	}
	for _, pod := range selected(service, in.Others) {
		if _, ok := carriedPolicy(pod); !ok && leadsTo(service, pod) {
			foreign = append(foreign, pod.Name)
		}
	}
	if len(bare) > 0 {
		f.add(kindService, service.Name, "It leads to pods that run without the sidecar: %s. Restart them: status.pods.command says how.", some(bare))
	}
	if len(foreign) > 0 {
		f.add(kindService, service.Name, "Beside the app's pods it leads to pods that no policy covers: %s. "+
			"Widen the policy's selector to cover them, or narrow the Service's selector.", some(foreign))
	}
}

// openPorts finds the Service's ports that lead to the app's own port in a pod whose
// sidecar listens beside it.
func (in *Input) openPorts(f findings, service *corev1.Service, pod *corev1.Pod) {
	app := in.appPort(pod)
	if app == 0 {
		return
	}
	headless := service.Spec.ClusterIP == corev1.ClusterIPNone
	for i := range service.Spec.Ports {
		port := &service.Spec.Ports[i]
		if !isTCP(port.Protocol) {
			continue
		}
		switch {
		case targetPort(pod, port) == app:
			f.add(kindService, service.Name, "Its port %d leads to the app's own port %d%s. %s%s",
				port.Port, app, why(port), openTo(service, port), closing(port))
		// A headless Service's name stands for the pods' addresses, and nobody
		// translates the port that a client then dials.
		case headless && port.Port == app:
			f.add(kindService, service.Name, "It is headless, so its clients dial port %d of the pods themselves, which is the app's own. "+
				"Give the Service a cluster address, change its port to %d, or use capture: Redirect.", app, mfav1alpha1.TrafficPort)
		}
	}
}

// why says what makes the port lead to the app's own.
func why(port *corev1.ServicePort) string {
	switch {
	case port.TargetPort.StrVal != "":
		return fmt.Sprintf(", which a container other than the sidecar still calls %q", port.TargetPort.StrVal)
	case port.TargetPort.IntVal == 0 || port.TargetPort.IntVal == port.Port:
		return ", being the same number (a Service's targetPort is its port unless it says otherwise)"
	default:
		return " by number"
	}
}

// openTo says from where the Service can be reached beside the cluster's own pods.
func openTo(service *corev1.Service, port *corev1.ServicePort) string {
	var from []string
	if port.NodePort != 0 {
		from = append(from, fmt.Sprintf("port %d of every node", port.NodePort))
	}
	if service.Spec.Type == corev1.ServiceTypeLoadBalancer {
		from = append(from, "its load balancer")
	}
	if len(service.Spec.ExternalIPs) > 0 {
		from = append(from, "its external addresses")
	}
	if len(from) == 0 {
		return ""
	}
	// Traffic that a node forwards to a pod of its own may count as the node's, which
	// no NetworkPolicy keeps from the pod.
	return fmt.Sprintf("It is open from outside the cluster by %s, and a NetworkPolicy may not stop that. ", strings.Join(from, " and "))
}

func closing(port *corev1.ServicePort) string {
	if port.TargetPort.StrVal != "" {
		return fmt.Sprintf("Set its targetPort to %d, or use capture: Redirect.", mfav1alpha1.TrafficPort)
	}
	return fmt.Sprintf("Set its targetPort to the name of the app's container port, or to %d, or use capture: Redirect.", mfav1alpha1.TrafficPort)
}

// leadsTo reports whether the Service has an endpoint in the pod, or gives its
// address away.
func leadsTo(service *corev1.Service, pod *corev1.Pod) bool {
	return service.Spec.ClusterIP == corev1.ClusterIPNone || slices.ContainsFunc(service.Spec.Ports, func(p corev1.ServicePort) bool {
		return isTCP(p.Protocol) && targetPort(pod, &p) != 0
	})
}

// selected returns the pods that the Service's selector matches.
func selected(service *corev1.Service, pods []corev1.Pod) []*corev1.Pod {
	selector := labels.SelectorFromSet(service.Spec.Selector)
	var found []*corev1.Pod
	for i := range pods {
		if pods[i].Namespace == service.Namespace && selector.Matches(labels.Set(pods[i].Labels)) {
			found = append(found, &pods[i])
		}
	}
	return found
}
