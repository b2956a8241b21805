package injection

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

func isTCP(p corev1.ContainerPort) bool {
	return cmp.Or(p.Protocol, corev1.ProtocolTCP) == corev1.ProtocolTCP
}

// appPort resolves the policy's app.port in the pod.
func (s Settings) appPort(pod *corev1.Pod, before *found) (int32, error) {
	numbers := s.appPorts(pod, before)
	switch {
	case len(numbers) == 0 && s.App.Name != "":
		return 0, s.refuse("no container declares a TCP port named %s; add it to ports of the app's container, or change spec.app.port", s.App.Name)
	case len(numbers) == 0:
		return 0, s.refuse("no container declares port %d (TCP); add it to ports of the app's container, or change spec.app.port", s.App.Number)
	case len(numbers) > 1:
		return 0, s.refuse("its containers declare port %s as %d and as %d; give the app's port a name of its own, or write its number into spec.app.port",
			s.App.Name, numbers[0], numbers[1])
	case isOurs(numbers[0]):
		return 0, s.refuse("the app's port %d is the sidecar's own; have the app listen on another", numbers[0])
	case before != nil && before.app != numbers[0]:
		return 0, s.refuseContainer(mfav1alpha1.SidecarContainer, "field args differs")
	}
	return numbers[0], nil
}

// appPorts returns the numbers by which the pod declares the policy's app.port. A name
// may be the sidecar's already; then the sidecar knows the number.
func (s Settings) appPorts(pod *corev1.Pod, before *found) []int32 {
	var numbers []int32
	for _, c := range running(pod) {
		for _, p := range c.Ports {
			if s.isApp(p) {
				numbers = append(numbers, p.ContainerPort)
			}
		}
	}
	if before != nil && slices.Contains(before.names, s.App.Name) && declares(pod, before.app) {
		numbers = append(numbers, before.app)
	}
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

func (s Settings) isApp(p corev1.ContainerPort) bool {
	if s.App.Name != "" {
		return isTCP(p) && p.Name == s.App.Name
	}
	return isTCP(p) && p.ContainerPort == s.App.Number
}

func declares(pod *corev1.Pod, number int32) bool {
	return slices.ContainsFunc(running(pod), func(c *corev1.Container) bool {
		return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return isTCP(p) && p.ContainerPort == number })
	})
}

func isOurs(number int32) bool {
	return number == mfav1alpha1.TrafficPort || number == mfav1alpha1.OperationsPort
}

// takePorts moves every name and host port of the app's port to the sidecar's port.
// Services and whoever else goes by a name then reach the sidecar. The names are
// declared by the sidecar; a host port stays with the app's container, as the package
// comment explains. Probes and hooks that went by the name go by the number.
func (s Settings) takePorts(pod *corev1.Pod, app int32, before *found) (taken, error) {
	t := taken{app: app}
	if before != nil {
		t.names = slices.Clone(before.names)
	}
	for _, c := range running(pod) {
		own := numbersOf(c)
		var names []string
		var open []corev1.ContainerPort
		for i := range c.Ports {
			p := &c.Ports[i]
			if p.ContainerPort != app || !isTCP(*p) {
				continue
			}
			if p.HostPort != 0 {
				open = append(open, corev1.ContainerPort{
					ContainerPort: mfav1alpha1.TrafficPort, Protocol: corev1.ProtocolTCP, HostPort: p.HostPort, HostIP: p.HostIP,
				})
				p.HostPort, p.HostIP = 0, ""
			}
			if p.Name != "" {
				names = append(names, p.Name)
				p.Name = ""
			}
		}
		c.Ports = append(c.Ports, open...)
		for _, p := range places(c) {
			for _, port := range p.ports() {
				if port.Type == intstr.String && slices.Contains(names, port.StrVal) {
					*port = intstr.FromInt32(own[port.StrVal])
				}
			}
		}
		for _, name := range names {
			if !slices.Contains(t.names, name) {
				t.names = append(t.names, name)
			}
		}
	}
	return t, s.refuseAmbiguous(pod, t.names)
}

// refuseAmbiguous refuses a pod in which a name that is the sidecar's now leads to
// another port as well: what looks for the name might take either.
func (s Settings) refuseAmbiguous(pod *corev1.Pod, names []string) error {
	for _, c := range running(pod) {
		for _, p := range c.Ports {
			if isTCP(p) && slices.Contains(names, p.Name) {
				return s.refuse("container %s declares port %d by the name %s, which is also the app's; rename one of the two",
					c.Name, p.ContainerPort, p.Name)
			}
		}
	}
	return nil
}

// numbersOf resolves names of ports as the node does: within the container, the first
// that has the name, of whatever protocol.
func numbersOf(c *corev1.Container) map[string]int32 {
	numbers := map[string]int32{}
	for _, p := range slices.Backward(c.Ports) {
		if p.Name != "" {
			numbers[p.Name] = p.ContainerPort
		}
	}
	return numbers
}
