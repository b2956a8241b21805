package guard

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// powerfulContainers finds containers whose privileges reach the sidecar beside them:
// the containers of a pod share its network, so whoever may program that can lead
// traffic past the sidecar, whatever the capture. An init container may too, and what
// it leaves behind stays. They are named and not refused, since meshes and network
// tools ask for these privileges with good reason.
func powerfulContainers(f findings, pod *corev1.Pod) {
	for _, c := range allContainers(pod) {
		if c.Name == mfav1alpha1.SidecarContainer || c.Name == mfav1alpha1.RedirectContainer || c.SecurityContext == nil {
			continue
		}
		if privileged := c.SecurityContext.Privileged; privileged != nil && *privileged {
			f.add(kindPod, pod.Name, "Its container %s is privileged, so it can lead traffic past the sidecar and read the sidecar's keys. "+
				"Set privileged: false in its securityContext, or run it in a pod of its own.", c.Name)
			continue
		}
		if c.SecurityContext.Capabilities == nil {
			continue
		}
		for _, power := range c.SecurityContext.Capabilities.Add {
			if does := reaches(power); does != "" {
				f.add(kindPod, pod.Name, "Its container %s has the capability %s, so it can %s. "+
					"Remove it from capabilities.add in its securityContext, or run the container in a pod of its own.", c.Name, power, does)
			}
		}
	}
}

// reaches says what a container can do to its pod's sidecar by a capability, "" where
// that is nothing.
func reaches(power corev1.Capability) string {
	const network, node = "lead traffic past the sidecar", "take over its node, and so the sidecar and its keys"
	switch {
	case slices.Contains([]corev1.Capability{"NET_ADMIN", "CAP_NET_ADMIN"}, power):
		return network
	case slices.Contains([]corev1.Capability{
		"ALL", "SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH", "BPF",
		"CAP_ALL", "CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_DAC_READ_SEARCH", "CAP_BPF",
	}, power):
		return node
	}
	return ""
}
