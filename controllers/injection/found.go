package injection

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// found is an earlier injection of the same pod: a webhook is called again once
// another one has changed the pod.
type found struct {
	taken
	containers map[string]corev1.Container
}

// takeOut removes an earlier injection from the pod's init containers and returns it,
// nil where there is none. Whatever bears one of our names must be exactly what is
// injected: what it took over is read from it, and from that it is made again and
// compared. Nothing is believed because of a name or an annotation.
func (s Settings) takeOut(pod *corev1.Pod) (*found, error) {
	f := &found{containers: map[string]corev1.Container{}}
	var rest []corev1.Container
	for _, c := range pod.Spec.InitContainers {
		if !ours(c.Name) {
			rest = append(rest, c)
			continue
		}
		if _, twice := f.containers[c.Name]; twice {
			return nil, s.refuseContainer(c.Name, "it is there twice")
		}
		f.containers[c.Name] = c
	}
	for _, c := range pod.Spec.Containers {
		if ours(c.Name) {
			return nil, s.refuseContainer(c.Name, "the name is reserved")
		}
	}
	if len(f.containers) == 0 {
		return nil, nil //nolint:nilnil // no earlier injection is an answer
	}
	if err := f.read(s); err != nil {
		return nil, err
	}
	if err := s.compare(pod, f); err != nil {
		return nil, err
	}
	pod.Spec.InitContainers = rest
	return f, nil
}

func (s Settings) refuseContainer(name, why string) error {
	return s.refuse("container %s is not what would be injected (%s); remove it from the pod's manifest, "+
		"for the sidecar is added when the pod is created", name, why)
}

// read sets what the sidecar took over, as the sidecar says itself.
func (f *found) read(s Settings) error {
	c, there := f.containers[mfav1alpha1.SidecarContainer]
	if !there {
		return s.refuseContainer(mfav1alpha1.RedirectContainer, "the sidecar is missing")
	}
	number, err := strconv.ParseInt(strings.TrimPrefix(valueOf(c.Args, flagApp), loopback), 10, 32)
	if err != nil {
		return s.refuseContainer(c.Name, "field args differs")
	}
	f.app = int32(number)
	if s.Capture == mfav1alpha1.CapturePort {
		for _, p := range c.Ports {
			if p.ContainerPort == mfav1alpha1.TrafficPort && p.Name != trafficName {
				f.names = append(f.names, p.Name)
			}
		}
		return nil
	}
	if document := valueOf(c.Args, flagProbes); document != "" {
		if err := json.Unmarshal([]byte(document), &f.probes); err != nil {
			return s.refuseContainer(c.Name, "field args differs")
		}
	}
	return nil
}

// compare makes the injection again and reports where the pod's differs.
func (s Settings) compare(pod *corev1.Pod, f *found) error {
	want := []corev1.Container{s.sidecar(f.taken, pod.Spec.Resources)}
	if s.Capture == mfav1alpha1.CaptureRedirect {
		want = append(want, s.redirect(f.app, pod.Spec.Resources))
	}
	for _, w := range want {
		got, there := f.containers[w.Name]
		if !there {
			return s.refuseContainer(mfav1alpha1.SidecarContainer, w.Name+" is missing")
		}
		if field := difference(got, w); field != "" {
			return s.refuseContainer(w.Name, "field "+field+" differs")
		}
	}
	if len(f.containers) > len(want) {
		return s.refuseContainer(mfav1alpha1.RedirectContainer, "capture is "+string(s.Capture))
	}
	for _, w := range s.volumes() {
		i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == w.Name })
		if i < 0 || !equality.Semantic.DeepEqual(pod.Spec.Volumes[i], w) {
			return s.refuseContainer(mfav1alpha1.SidecarContainer, "its volume "+w.Name+" is missing or differs")
		}
	}
	return nil
}

// difference names the first field in which a container is not what was injected, ""
// where there is none. What the API server and its own plugins write into a container
// is no difference.
func difference(got, want corev1.Container) string {
	got = *got.DeepCopy()
	adopt(&want, got)
	for _, p := range places(&got) {
		if get := *p.http; get != nil && get.Protocol != nil && *get.Protocol == corev1.HTTPProtocolHTTP1 {
			get.Protocol = nil
		}
	}
	fields := []struct {
		name      string
		got, want any
	}{
		{"image", got.Image, want.Image},
		{"command", got.Command, want.Command},
		{"args", got.Args, want.Args},
		{"env", got.Env, want.Env},
		{"ports", got.Ports, want.Ports},
		{"restartPolicy", got.RestartPolicy, want.RestartPolicy},
		{"resources", got.Resources, want.Resources},
		{"volumeMounts", got.VolumeMounts, want.VolumeMounts},
		{"securityContext", got.SecurityContext, want.SecurityContext},
		{"manifest", got, want},
	}
	for _, f := range fields {
		if !equality.Semantic.DeepEqual(f.got, f.want) {
			return f.name
		}
	}
	return ""
}

// adopt takes over into an injected container what the API server may have written
// into it: a pull policy that asks more often, resources that we say nothing about
// (LimitRanger, and requests that follow from limits), and its default resize policy.
func adopt(own *corev1.Container, there corev1.Container) {
	if there.ImagePullPolicy == corev1.PullAlways {
		own.ImagePullPolicy = corev1.PullAlways
	}
	own.ResizePolicy = there.ResizePolicy
	own.Resources.Requests = adopted(own.Resources.Requests, there.Resources.Requests)
	own.Resources.Limits = adopted(own.Resources.Limits, there.Resources.Limits)
}

func adopted(own, there corev1.ResourceList) corev1.ResourceList {
	for name, quantity := range there {
		if _, stated := own[name]; stated {
			continue
		}
		if own == nil {
			own = corev1.ResourceList{}
		}
		own[name] = quantity
	}
	return own
}
