package injection

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// Refusal says why a pod cannot be protected, and what to do about it. It is written
// for whoever tried to create the pod.
type Refusal struct{ sentence string }

// Error returns the sentence.
func (r *Refusal) Error() string { return r.sentence }

// refuse makes a Refusal; the sentence begins in the middle of "the pod cannot be
// protected: ...".
func (s Settings) refuse(format string, args ...any) error {
	return &Refusal{fmt.Sprintf("MFAPolicy %s/%s selects this pod, which cannot be protected: ", s.Namespace, s.Policy) +
		fmt.Sprintf(format, args...)}
}

// Inject puts the sidecar into the pod, which is left as it is where that fails. A pod
// that already carries exactly what would be injected does not change. One that was
// changed since, by another webhook, is completed: a reader of the pod's ports that
// came later finds its probes rewritten too.
func Inject(pod *corev1.Pod, s Settings) error {
	if err := s.check(); err != nil {
		return err
	}
	if pod.Namespace != "" && pod.Namespace != s.Namespace {
		return fmt.Errorf("the pod is of namespace %s, the policy of %s", pod.Namespace, s.Namespace)
	}
	out := pod.DeepCopy()
	if err := s.refuseShape(out); err != nil {
		return err
	}
	before, err := s.takeOut(out)
	if err != nil {
		return err
	}
	if err := s.refuseForeign(out, before != nil); err != nil {
		return err
	}
	now, err := s.take(out, before)
	if err != nil {
		return err
	}
	s.putIn(out, now, before)
	*pod = *out
	return nil
}

// Injected tells which policy's sidecar a pod carries, and of which revision. Both the
// containers and the annotations must say so, and say the same.
func Injected(pod *corev1.Pod) (policyName, revision string, ok bool) {
	i := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool {
		return c.Name == mfav1alpha1.SidecarContainer && restartsAlways(&c)
	})
	if i < 0 {
		return "", "", false
	}
	namespace, name, _ := strings.Cut(valueOf(pod.Spec.InitContainers[i].Args, flagFollow), "/")
	revision = pod.Annotations[mfav1alpha1.RevisionAnnotation]
	if name == "" || revision == "" || name != pod.Annotations[mfav1alpha1.PolicyAnnotation] ||
		pod.Namespace != "" && pod.Namespace != namespace {
		return "", "", false
	}
	return name, revision, true
}

// take has the sidecar take over what the capture asks for.
func (s Settings) take(pod *corev1.Pod, before *found) (taken, error) {
	app, err := s.appPort(pod, before)
	if err != nil {
		return taken{}, err
	}
	if s.Capture == mfav1alpha1.CapturePort {
		return s.takePorts(pod, app, before)
	}
	return s.takeProbes(pod, app, before)
}

// putIn adds the injected containers, first of all init containers: nothing of the
// pod's own runs before its guard. The API server's own additions to containers that
// were there before stay.
func (s Settings) putIn(pod *corev1.Pod, t taken, before *found) {
	overall := pod.Spec.Resources
	var injected []corev1.Container
	if s.Capture == mfav1alpha1.CaptureRedirect {
		injected = append(injected, s.redirect(t.app, overall))
	}
	injected = append(injected, s.sidecar(t, overall))
	if before == nil {
		pod.Spec.Volumes = append(pod.Spec.Volumes, s.volumes()...)
	} else {
		for i := range injected {
			adopt(&injected[i], before.containers[injected[i].Name])
		}
	}
	pod.Spec.InitContainers = append(injected, pod.Spec.InitContainers...)
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[mfav1alpha1.PolicyAnnotation] = s.Policy
	pod.Annotations[mfav1alpha1.RevisionAnnotation] = s.Revision()
	pod.Annotations[mfav1alpha1.VersionAnnotation] = s.Version
}

// valueOf is the argument that follows a flag, "" where there is none.
func valueOf(args []string, flag string) string {
	i := slices.Index(args, flag)
	if i < 0 || i+1 >= len(args) {
		return ""
	}
	return args[i+1]
}
