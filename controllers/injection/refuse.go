package injection

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

const operatingSystemLabel = "kubernetes.io/os"

// refuseShape refuses what no sidecar could guard.
func (s Settings) refuseShape(pod *corev1.Pod) error {
	spec := &pod.Spec
	windows := spec.OS != nil && spec.OS.Name == corev1.Windows || spec.NodeSelector[operatingSystemLabel] == string(corev1.Windows)
	_, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]
	switch {
	case spec.HostNetwork:
		return s.refuse("it has hostNetwork, so whoever reaches its node reaches the app without the sidecar; remove hostNetwork, and use a Service or hostPort")
	case spec.HostPID:
		return s.refuse("it has hostPID, so the app could read the sidecar's keys; remove hostPID")
	case spec.ShareProcessNamespace != nil && *spec.ShareProcessNamespace:
		return s.refuse("it has shareProcessNamespace, so the app could read the sidecar's keys; remove shareProcessNamespace")
	case windows:
		return s.refuse("it is a Windows pod, and the sidecar runs on Linux; narrow spec.selector of the policy")
	case mirror:
		return s.refuse("it is a static pod, which a node runs without asking; run the app by a Deployment, or narrow spec.selector of the policy")
	case len(spec.EphemeralContainers) > 0:
		return s.refuse("it has the ephemeral container %s, which would stand behind the second factor; remove ephemeralContainers", spec.EphemeralContainers[0].Name)
	}
	return nil
}

// refuseForeign refuses what is somebody else's and bears our names, takes our ports
// or reads our Secret. The injected containers are out of the pod; injected tells that
// they were there, and so that volumes with our names are ours.
func (s Settings) refuseForeign(pod *corev1.Pod, injected bool) error {
	if claimed, there := pod.Annotations[mfav1alpha1.PolicyAnnotation]; there && claimed != s.Policy {
		return s.refuse("its annotation %s says that policy %q injected it; remove the annotation", mfav1alpha1.PolicyAnnotation, claimed)
	}
	if err := s.refuseVolumes(pod, injected); err != nil {
		return err
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if err := s.refusePorts(&c, injected); err != nil {
			return err
		}
		if err := s.refuseReader(&c); err != nil {
			return err
		}
	}
	return nil
}

func (s Settings) refusePorts(c *corev1.Container, injected bool) error {
	for _, p := range c.Ports {
		moved := injected && s.Capture == mfav1alpha1.CapturePort && isTCP(p) &&
			p.Name == "" && p.HostPort != 0 && p.ContainerPort == mfav1alpha1.TrafficPort
		switch {
		case p.Name == trafficName || p.Name == operationsName:
			return s.refuse("container %s declares a port named %s, which is reserved for the sidecar; rename it", c.Name, p.Name)
		case isOurs(p.HostPort):
			return s.refuse("container %s declares the host port %d, which is reserved for the sidecar; choose another", c.Name, p.HostPort)
		case isOurs(p.ContainerPort) && !moved:
			return s.refuse("container %s declares port %d, on which the sidecar listens; have it listen on another", c.Name, p.ContainerPort)
		}
	}
	return nil
}

// refuseReader refuses a container that would read the Secret of the sidecars.
func (s Settings) refuseReader(c *corev1.Container) error {
	for _, m := range c.VolumeMounts {
		if ourVolume(m.Name) {
			return s.refuse("container %s mounts the volume %s, which is the sidecar's; remove it from volumeMounts", c.Name, m.Name)
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil && e.ValueFrom.SecretKeyRef.Name == mfav1alpha1.SidecarSecret {
			return s.refuse("container %s reads the sidecars' Secret %s by env %s; remove it from env", c.Name, mfav1alpha1.SidecarSecret, e.Name)
		}
	}
	for _, e := range c.EnvFrom {
		if e.SecretRef != nil && e.SecretRef.Name == mfav1alpha1.SidecarSecret {
			return s.refuse("container %s reads the sidecars' Secret %s by envFrom; remove it from envFrom", c.Name, mfav1alpha1.SidecarSecret)
		}
	}
	return nil
}

func (s Settings) refuseVolumes(pod *corev1.Pod, injected bool) error {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if ourVolume(v.Name) {
			if injected { // compared already
				continue
			}
			return s.refuse("its volume %s has a name that is reserved for the sidecar; rename it", v.Name)
		}
		if slices.Contains(secretsOf(v), mfav1alpha1.SidecarSecret) {
			return s.refuse("its volume %s reads the sidecars' Secret %s; remove it from volumes", v.Name, mfav1alpha1.SidecarSecret)
		}
	}
	return nil
}

// secretsOf names every Secret that a volume hands out, to containers or to a driver.
func secretsOf(v *corev1.Volume) []string {
	var names []string
	local := func(ref *corev1.LocalObjectReference) {
		if ref != nil {
			names = append(names, ref.Name)
		}
	}
	switch {
	case v.Secret != nil:
		names = append(names, v.Secret.SecretName)
	case v.Projected != nil:
		for _, source := range v.Projected.Sources {
			if source.Secret != nil {
				names = append(names, source.Secret.Name)
			}
		}
	case v.CSI != nil:
		local(v.CSI.NodePublishSecretRef)
	case v.AzureFile != nil:
		names = append(names, v.AzureFile.SecretName)
	case v.CephFS != nil:
		local(v.CephFS.SecretRef)
	case v.Cinder != nil:
		local(v.Cinder.SecretRef)
	case v.FlexVolume != nil:
		local(v.FlexVolume.SecretRef)
	case v.ISCSI != nil:
		local(v.ISCSI.SecretRef)
	case v.RBD != nil:
		local(v.RBD.SecretRef)
	case v.ScaleIO != nil:
		local(v.ScaleIO.SecretRef)
	case v.StorageOS != nil:
		local(v.StorageOS.SecretRef)
	}
	return names
}
