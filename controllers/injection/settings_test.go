package injection_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sallyport/sallyport/api/policy"
	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/injection"
)

func TestResolveCapture(t *testing.T) {
	const label = "pod-security.kubernetes.io/enforce"
	for _, c := range []struct {
		name   string
		want   mfav1alpha1.Capture
		labels map[string]string
		got    mfav1alpha1.Capture
	}{
		{"auto without a level", mfav1alpha1.CaptureAuto, nil, mfav1alpha1.CaptureRedirect},
		{"auto, only warned of", mfav1alpha1.CaptureAuto, map[string]string{"pod-security.kubernetes.io/warn": "restricted"}, mfav1alpha1.CaptureRedirect},
		{"auto and privileged", mfav1alpha1.CaptureAuto, map[string]string{label: "privileged"}, mfav1alpha1.CaptureRedirect},
		{"auto and baseline", mfav1alpha1.CaptureAuto, map[string]string{label: "baseline"}, mfav1alpha1.CapturePort},
		{"auto and restricted", mfav1alpha1.CaptureAuto, map[string]string{label: "restricted"}, mfav1alpha1.CapturePort},
		{"auto and a level that is none", mfav1alpha1.CaptureAuto, map[string]string{label: "strict"}, mfav1alpha1.CapturePort},
		{"nothing is auto", "", nil, mfav1alpha1.CaptureRedirect},
		{"a stated redirect", mfav1alpha1.CaptureRedirect, map[string]string{label: "restricted"}, mfav1alpha1.CaptureRedirect},
		{"a stated port", mfav1alpha1.CapturePort, nil, mfav1alpha1.CapturePort},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := injection.ResolveCapture(c.want, c.labels); got != c.got {
				t.Errorf("ResolveCapture = %s; want %s", got, c.got)
			}
		})
	}
}

func TestForTakesThePolicysOwn(t *testing.T) {
	p := new(mfav1alpha1.MFAPolicy)
	p.Namespace, p.Name = "acme", "portal"
	p.Spec.App.Port = policy.Port{Name: "http"}
	plain := injection.For(p, mfav1alpha1.CapturePort, injection.Operator{Image: "i"})
	if plain.RedisKey != mfav1alpha1.RedisKey || plain.LogLevel != "info" || plain.Resources.Limits.Memory().String() != "128Mi" ||
		plain.Namespace != "acme" || plain.Policy != "portal" || plain.App.Name != "http" || plain.Image != "i" {
		t.Errorf("For = %+v", plain)
	}
	p.Spec.Redis = new(mfav1alpha1.RedisReference)
	p.Spec.Sidecar.LogLevel = "debug"
	p.Spec.Sidecar.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceCPU: *quantity("1")}}
	own := injection.For(p, mfav1alpha1.CapturePort, injection.Operator{Image: "i"})
	if own.RedisKey != "redis-portal.json" || own.LogLevel != "debug" || own.Resources.Limits.Cpu().String() != "1" ||
		!own.Resources.Limits.Memory().IsZero() {
		t.Errorf("For = %+v", own)
	}
}

func TestRevisionFollowsWhatIsInjected(t *testing.T) {
	original := settings(mfav1alpha1.CapturePort)
	for _, c := range []struct {
		name   string
		change func(*injection.Settings)
		same   bool
	}{
		{"nothing", func(*injection.Settings) {}, true},
		{"the operator's version alone", func(s *injection.Settings) { s.Version = "v9" }, true},
		{"the key of hooks", func(s *injection.Settings) { s.HookKey = nil }, true},
		{"the image", func(s *injection.Settings) { s.Image = "other" }, false},
		{"the pull policy", func(s *injection.Settings) { s.PullPolicy = corev1.PullAlways }, false},
		{"arguments", func(s *injection.Settings) { s.ExtraArgs = nil }, false},
		{"the policy", func(s *injection.Settings) { s.Policy = "other" }, false},
		{"the app's port", func(s *injection.Settings) { s.App = policy.Port{Name: "http"} }, false},
		{"the capture", func(s *injection.Settings) { s.Capture = mfav1alpha1.CaptureRedirect }, false},
		{"the resources", func(s *injection.Settings) { s.Resources.Limits = nil }, false},
		{"the log level", func(s *injection.Settings) { s.LogLevel = "debug" }, false},
		{"the key for Redis", func(s *injection.Settings) { s.RedisKey = "other" }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := original
			c.change(&s)
			if same := s.Revision() == original.Revision(); same != c.same {
				t.Errorf("the same revision: %v; want %v", same, c.same)
			}
		})
	}
}

func TestInjectedBelievesContainersAndAnnotationsTogether(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*corev1.Pod)
	}{
		{"no annotations", func(p *corev1.Pod) { p.Annotations = nil }},
		{"no revision", func(p *corev1.Pod) { delete(p.Annotations, mfav1alpha1.RevisionAnnotation) }},
		{"another policy's annotation", func(p *corev1.Pod) { p.Annotations[mfav1alpha1.PolicyAnnotation] = "lax" }},
		{"no containers", func(p *corev1.Pod) { p.Spec.InitContainers = nil }},
		{"a container that ends", func(p *corev1.Pod) { sidecarOf(p).RestartPolicy = nil }},
		{"a container without arguments", func(p *corev1.Pod) { sidecarOf(p).Args = nil }},
		{"a container of another namespace", func(p *corev1.Pod) { sidecarOf(p).Args[1] = "other/portal" }},
		{"a container that is none of init", func(p *corev1.Pod) {
			p.Spec.Containers, p.Spec.InitContainers = p.Spec.InitContainers, nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod := base()
			if err := injection.Inject(pod, settings(mfav1alpha1.CaptureRedirect)); err != nil {
				t.Fatal(err)
			}
			if _, _, ok := injection.Injected(pod); !ok {
				t.Fatal("an injected pod is not taken for one")
			}
			c.change(pod)
			if name, _, ok := injection.Injected(pod); ok {
				t.Errorf("Injected = %q, true", name)
			}
		})
	}
}

// Another webhook adds containers in front of ours; called again, Inject comes first
// again and takes over what the newcomers have.
func TestInjectCompletesWhatAnotherWebhookChanged(t *testing.T) {
	probe := func() *corev1.Probe {
		return &corev1.Probe{TimeoutSeconds: 1, ProbeHandler: corev1.ProbeHandler{
			HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(8080)},
		}}
	}
	mesh := corev1.Container{
		Name: "mesh", RestartPolicy: new(corev1.ContainerRestartPolicyAlways), StartupProbe: probe(),
		Ports: []corev1.ContainerPort{{Name: "again", ContainerPort: 8080, HostPort: 81}},
	}
	for _, capture := range captures {
		t.Run(mode(capture), func(t *testing.T) {
			once := base()
			if err := injection.Inject(once, settings(capture)); err != nil {
				t.Fatal(err)
			}
			once.Spec.InitContainers = append([]corev1.Container{mesh}, once.Spec.InitContainers...)
			if err := injection.Inject(once, settings(capture)); err != nil {
				t.Fatalf("second Inject: %v", err)
			}
			atOnce := base()
			atOnce.Spec.InitContainers = append([]corev1.Container{mesh}, atOnce.Spec.InitContainers...)
			if err := injection.Inject(atOnce, settings(capture)); err != nil {
				t.Fatal(err)
			}
			checkPod(t, once, settings(capture))
			if got, want := names(once), names(atOnce); got != want {
				t.Errorf("init containers %s; want %s", got, want)
			}
			sidecar, want := sidecarOf(once), sidecarOf(atOnce)
			if len(sidecar.Ports) != len(want.Ports) || argument(sidecar, "--probes") != argument(want, "--probes") {
				t.Errorf("the sidecar took over %v %s; want %v %s", sidecar.Ports, argument(sidecar, "--probes"), want.Ports, argument(want, "--probes"))
			}
		})
	}
}

func names(pod *corev1.Pod) string {
	var all string
	for _, c := range pod.Spec.InitContainers {
		all += c.Name + " "
	}
	return all
}

// The API server and its plugins write into the injected containers before the webhook
// is called again; that is no reason to refuse.
func TestInjectToleratesWhatTheAPIServerAdds(t *testing.T) {
	for _, capture := range captures {
		t.Run(mode(capture), func(t *testing.T) {
			pod := base()
			if err := injection.Inject(pod, settings(capture)); err != nil {
				t.Fatal(err)
			}
			for i := range pod.Spec.InitContainers {
				c := &pod.Spec.InitContainers[i]
				c.ImagePullPolicy = corev1.PullAlways
				c.ResizePolicy = []corev1.ContainerResizePolicy{{ResourceName: corev1.ResourceCPU, RestartPolicy: corev1.NotRequired}}
				if c.Resources.Limits == nil {
					c.Resources.Limits = corev1.ResourceList{}
				}
				c.Resources.Limits[corev1.ResourceCPU] = *quantity("1")
				for _, get := range httpGets(c) {
					get.Protocol = new(corev1.HTTPProtocolHTTP1)
				}
			}
			before := pod.DeepCopy()
			if err := injection.Inject(pod, settings(capture)); err != nil {
				t.Fatal(err)
			}
			for i := range before.Spec.InitContainers { // the default of an alpha feature comes back by itself
				for _, get := range httpGets(&before.Spec.InitContainers[i]) {
					get.Protocol = nil
				}
			}
			if diff := cmp.Diff(before, pod); diff != "" {
				t.Errorf("the pod changed:\n%s", diff)
			}
		})
	}
}

func TestARewrittenProbeKeepsTheDefaultProtocol(t *testing.T) {
	pod := base()
	if err := injection.Inject(pod, settings(mfav1alpha1.CaptureRedirect)); err != nil {
		t.Fatal(err)
	}
	pod.Spec.Containers[0].ReadinessProbe.HTTPGet.Protocol = new(corev1.HTTPProtocolHTTP1)
	pod.Spec.Containers[0].ReadinessProbe.TimeoutSeconds = 1
	if err := injection.Inject(pod, settings(mfav1alpha1.CaptureRedirect)); err != nil {
		t.Error(err)
	}
}

func TestProbesThatTheSidecarCannotMakeAreRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*corev1.HTTPGetAction)
	}{
		{"over HTTP/2 without TLS", func(g *corev1.HTTPGetAction) { g.Protocol = new(corev1.HTTPProtocolHTTP2) }},
		{"with a path without end", func(g *corev1.HTTPGetAction) { g.Path = "/" + strings.Repeat("a", 8<<10) }},
		{"with headers without end", func(g *corev1.HTTPGetAction) {
			g.HTTPHeaders = slices.Repeat([]corev1.HTTPHeader{{Name: "X-A", Value: "a"}}, 65)
		}},
		{"with more than an argument holds", func(g *corev1.HTTPGetAction) {
			g.HTTPHeaders = slices.Repeat([]corev1.HTTPHeader{{Name: "X-A", Value: strings.Repeat("a", 4<<10)}}, 20)
		}},
		{"with a value that is no header's", func(g *corev1.HTTPGetAction) {
			g.HTTPHeaders = []corev1.HTTPHeader{{Name: "X-A", Value: "a\r\nX-B: b"}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, func(p *corev1.Pod) { c.change(p.Spec.Containers[0].ReadinessProbe.HTTPGet) },
				settings(mfav1alpha1.CaptureRedirect), "capture: Port")
		})
	}
}
