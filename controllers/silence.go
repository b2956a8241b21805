package controllers

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// silence says why nothing has been heard of a pod's sidecar, as far as the kubelet
// knows. A kubelet that waits longer and longer names one cause by turns in two ways;
// here it has one text, so that the status stays still.
func silence(pod *corev1.Pod) string {
	for i := range pod.Status.InitContainerStatuses {
		c := &pod.Status.InitContainerStatuses[i]
		if c.Name != mfav1alpha1.SidecarContainer && c.Name != mfav1alpha1.RedirectContainer || c.State.Waiting == nil {
			continue
		}
		switch reason := c.State.Waiting.Reason; reason {
		case "", "ContainerCreating", "PodInitializing":
		case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName":
			return fmt.Sprintf("the image %s of its container %s cannot be pulled; the pod's events say why", c.Image, c.Name)
		case "CrashLoopBackOff":
			return fmt.Sprintf("its container %s ends again and again: kubectl -n %s logs %s -c %s", c.Name, pod.Namespace, pod.Name, c.Name)
		default:
			return fmt.Sprintf("its container %s cannot start: %s; the pod's events say why", c.Name, reason)
		}
	}
	for i := range pod.Status.InitContainerStatuses {
		c := &pod.Status.InitContainerStatuses[i]
		if c.Name == mfav1alpha1.SidecarContainer && c.Started != nil && *c.Started {
			return "its sidecar has not been heard of for ten seconds"
		}
	}
	return "its sidecar is starting"
}
