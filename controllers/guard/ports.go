package guard

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// PortOf returns the number of the app's port where the policy names it: the pod's
// TCP port of that name, or, where the sidecar has taken the name over, the port
// that the sidecar forwards to. 0 means that the pod tells nothing.
func PortOf(pod *corev1.Pod, name string) int32 {
	for _, c := range serving(pod) {
		if c.Name == mfav1alpha1.SidecarContainer {
			continue
		}
		if n := namedPort(c, name, corev1.ProtocolTCP); n != 0 {
			return n
		}
	}
	return forwardedPort(pod)
}

// appPort is the app's port in this pod.
func (in *Input) appPort(pod *corev1.Pod) int32 {
	if n := forwardedPort(pod); n != 0 {
		return n
	}
	if name := in.Policy.Spec.App.Port.Name; name != "" {
		if n := PortOf(pod, name); n != 0 {
			return n
		}
	}
	return in.AppPort
}

// forwardedPort is the port that the pod's sidecar forwards to, 0 where there is no
// sidecar or where its arguments do not say.
func forwardedPort(pod *corev1.Pod) int32 {
	i := slices.IndexFunc(pod.Spec.InitContainers, isSidecar)
	if i < 0 {
		return 0
	}
	args := pod.Spec.InitContainers[i].Args
	for at, arg := range args {
		app, ok := strings.CutPrefix(arg, "--app=")
		if !ok && arg == "--app" && at+1 < len(args) {
			app, ok = args[at+1], true
		}
		if !ok {
			continue
		}
		u, err := url.Parse(app)
		if err != nil {
			return 0
		}
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil {
			return 0
		}
		return int32(n)
	}
	return 0
}

// targetPort is the port of the pod that a Service's port leads to, 0 where it leads
// to none. It follows the endpoint controllers: a number is taken as it is, whether
// the pod declares it or not; a name is looked for in the containers first and then
// in the sidecar containers, that is, in init containers that restart always. The
// endpoint controllers look there since Kubernetes 1.28, and every release that is
// supported does.
func targetPort(pod *corev1.Pod, port *corev1.ServicePort) int32 {
	switch {
	case port.TargetPort.Type == intstr.String && port.TargetPort.StrVal != "":
		for _, c := range serving(pod) {
			if n := namedPort(c, port.TargetPort.StrVal, port.Protocol); n != 0 {
				return n
			}
		}
		return 0
	case port.TargetPort.IntVal != 0:
		return port.TargetPort.IntVal
	default: // the API server fills it in like this
		return port.Port
	}
}

// namedPort is the number of the container's port of that name, 0 where there is none.
func namedPort(c *corev1.Container, name string, protocol corev1.Protocol) int32 {
	for _, p := range c.Ports {
		if p.Name == name && orTCP(p.Protocol) == orTCP(protocol) {
			return p.ContainerPort
		}
	}
	return 0
}

// serving returns the containers that run as long as the pod, in the order in which
// the endpoint controllers look for a port's name.
func serving(pod *corev1.Pod) []*corev1.Container {
	var all []*corev1.Container
	for i := range pod.Spec.Containers {
		all = append(all, &pod.Spec.Containers[i])
	}
	for i := range pod.Spec.InitContainers {
		if restartsAlways(pod.Spec.InitContainers[i]) {
			all = append(all, &pod.Spec.InitContainers[i])
		}
	}
	return all
}

// allContainers returns every container of the pod's template: the node opens a host
// port for whichever declares it.
func allContainers(pod *corev1.Pod) []corev1.Container {
	return slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers)
}

// carriedPolicy names the policy whose sidecar the pod carries.
func carriedPolicy(pod *corev1.Pod) (name string, ok bool) {
	name = pod.Annotations[mfav1alpha1.PolicyAnnotation]
	return name, name != "" && slices.ContainsFunc(pod.Spec.InitContainers, isSidecar)
}

// redirected reports whether the pod's network sends the app's traffic to the sidecar.
func redirected(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool {
		return c.Name == mfav1alpha1.RedirectContainer
	})
}

func isSidecar(c corev1.Container) bool {
	return c.Name == mfav1alpha1.SidecarContainer && restartsAlways(c)
}

func restartsAlways(c corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

func orTCP(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP
	}
	return p
}

func isTCP(p corev1.Protocol) bool { return orTCP(p) == corev1.ProtocolTCP }
