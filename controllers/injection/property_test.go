package injection_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sallyport/sallyport/api/policy"
	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/injection"
	"github.com/sallyport/sallyport/sidecar/probe"
)

// FuzzInject makes a valid pod of each seed. What comes out is valid, comes out again
// unchanged, and has lost nothing that was the pod's own.
func FuzzInject(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, seed*7919)
	}
	f.Fuzz(func(t *testing.T, a, b uint64) { injectRandom(t, a, b) })
}

func TestInjectRandomPods(t *testing.T) {
	const pods = 2000
	injected := map[mfav1alpha1.Capture]int{}
	for seed := range uint64(pods) {
		if capture, ok := injectRandom(t, seed, 1); ok {
			injected[capture]++
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	for _, capture := range captures {
		if injected[capture] < pods/20 {
			t.Errorf("%d of %d pods were injected by %s; the test shows too little", injected[capture], pods, capture)
		}
	}
}

// injectRandom reports whether the pod of these seeds was injected, and how.
func injectRandom(t *testing.T, a, b uint64) (mfav1alpha1.Capture, bool) {
	t.Helper()
	r := rand.New(rand.NewPCG(a, b))
	pod := randomPod(r)
	s := settings(pick(r, captures...))
	s.App = pick(r, policy.Port{Number: 8080}, policy.Port{Name: "http"}, policy.Port{Name: "web"})
	out := pod.DeepCopy()
	if err := injection.Inject(out, s); err != nil {
		if _, refusal := errors.AsType[*injection.Refusal](err); !refusal {
			t.Fatalf("Inject: %v", err)
		}
		if !equality.Semantic.DeepEqual(pod, out) {
			t.Error("a refused pod was changed")
		}
		return s.Capture, false
	}
	checkPod(t, out, s)
	checkNothingLost(t, pod, out, s)
	again := out.DeepCopy()
	if err := injection.Inject(again, s); err != nil {
		t.Fatalf("second Inject: %v", err)
	}
	if !equality.Semantic.DeepEqual(out, again) {
		t.Errorf("the second call changed the pod:\n%s", cmp.Diff(out, again))
	}
	return s.Capture, true
}

func pick[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

func some(r *rand.Rand) bool { return r.IntN(3) == 0 }

func randomPod(r *rand.Rand) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "acme"}}
	for i := range r.IntN(3) {
		c := randomContainer(r, fmt.Sprintf("init-%d", i))
		if some(r) {
			c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
		} else {
			c.LivenessProbe, c.ReadinessProbe, c.StartupProbe, c.Lifecycle = nil, nil, nil, nil
		}
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, c)
	}
	for i := range 1 + r.IntN(3) {
		pod.Spec.Containers = append(pod.Spec.Containers, randomContainer(r, fmt.Sprintf("c-%d", i)))
	}
	if some(r) {
		pod.Spec.Volumes = []corev1.Volume{{Name: "v"}}
		pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
	}
	if some(r) {
		pod.Spec.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: *quantity("64Mi")}}
	}
	if some(r) {
		pod.Annotations = map[string]string{"a": "b"}
	}
	return pod
}

func randomContainer(r *rand.Rand, name string) corev1.Container {
	c := corev1.Container{Name: name, Image: "i"}
	free := []string{"http", "web", "metrics", "admin"}
	for range r.IntN(4) {
		p := corev1.ContainerPort{
			ContainerPort: pick[int32](r, 8080, 8080, 9090, 15080), Protocol: pick(r, "", corev1.ProtocolTCP, corev1.ProtocolUDP),
		}
		if p.ContainerPort == 15080 && !some(r) {
			p.ContainerPort = 7000
		}
		if i := r.IntN(len(free)); !some(r) {
			p.Name, free = free[i], slices.Delete(slices.Clone(free), i, i+1)
		}
		if some(r) {
			p.HostPort = int32(1 + r.IntN(60000))
		}
		c.Ports = append(c.Ports, p)
	}
	for _, target := range []**corev1.Probe{&c.LivenessProbe, &c.ReadinessProbe, &c.StartupProbe} {
		if !some(r) {
			*target = &corev1.Probe{ProbeHandler: randomHandler(r, &c), TimeoutSeconds: int32(r.IntN(4)), PeriodSeconds: int32(r.IntN(9))}
		}
	}
	if some(r) {
		h := randomHandler(r, &c)
		c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: h.Exec, HTTPGet: h.HTTPGet, TCPSocket: h.TCPSocket}}
	}
	return c
}

func randomHandler(r *rand.Rand, c *corev1.Container) corev1.ProbeHandler {
	port := intstr.FromInt32(pick[int32](r, 8080, 9090))
	for _, p := range c.Ports {
		if p.Name != "" && some(r) {
			port = intstr.FromString(p.Name)
		}
	}
	host := pick(r, "", "", "", "localhost", "192.0.2.1", "example.com")
	switch r.IntN(4) {
	case 0:
		return corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}
	case 1:
		return corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: port, Host: host}}
	case 2:
		return corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 8080, Service: pick(r, nil, new("s"))}}
	}
	return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
		Path: pick(r, "", "/", "/a?b=$(HOME)"), Port: port, Host: host, Scheme: pick(r, "", corev1.URISchemeHTTPS),
		HTTPHeaders: pick(r, nil, []corev1.HTTPHeader{{Name: "X-A", Value: "<$&>"}}),
	}}
}

// checkPod checks what must hold of every injected pod.
func checkPod(t *testing.T, pod *corev1.Pod, s injection.Settings) {
	t.Helper()
	first := []string{mfav1alpha1.SidecarContainer}
	if s.Capture == mfav1alpha1.CaptureRedirect {
		first = []string{mfav1alpha1.RedirectContainer, mfav1alpha1.SidecarContainer}
	}
	for i, name := range first {
		if pod.Spec.InitContainers[i].Name != name {
			t.Errorf("init container %d is %s; want %s", i, pod.Spec.InitContainers[i].Name, name)
		}
	}
	volumes := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		if volumes[v.Name] {
			t.Errorf("volume %s is there twice", v.Name)
		}
		volumes[v.Name] = true
	}
	app := strings.TrimPrefix(argument(sidecarOf(pod), "--app"), "http://127.0.0.1:")
	seen := map[string]bool{}
	for _, c := range allContainers(pod) {
		if seen[c.Name] {
			t.Errorf("container %s is there twice", c.Name)
		}
		seen[c.Name] = true
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("container %s mounts the volume %s, which is not there", c.Name, m.Name)
			}
			if m.Name == mfav1alpha1.SidecarVolume && c.Name != mfav1alpha1.SidecarContainer {
				t.Errorf("container %s mounts the keys", c.Name)
			}
		}
		checkPorts(t, &c, s, app)
	}
	if document := argument(sidecarOf(pod), "--probes"); document != "" {
		if _, err := probe.Decode([]byte(document)); err != nil {
			t.Errorf("the sidecar does not read its probes: %v", err)
		}
	}
}

// checkPorts checks that the names of one container are its own, that each named port
// of a probe is declared, and that nothing leads around the sidecar.
func checkPorts(t *testing.T, c *corev1.Container, s injection.Settings, app string) {
	t.Helper()
	declared := map[string]int32{}
	for _, p := range c.Ports {
		if _, twice := declared[p.Name]; twice {
			t.Errorf("container %s declares %s twice", c.Name, p.Name)
		}
		if p.Name != "" {
			declared[p.Name] = p.ContainerPort
		}
		around := fmt.Sprint(p.ContainerPort) == app && p.Protocol != corev1.ProtocolUDP && (p.Name != "" || p.HostPort != 0)
		ends := c.RestartPolicy == nil && strings.HasPrefix(c.Name, "init-")
		if around && s.Capture == mfav1alpha1.CapturePort && !ends {
			t.Errorf("container %s leads around the sidecar by %+v", c.Name, p)
		}
	}
	for _, get := range httpGets(c) {
		if _, there := declared[get.Port.StrVal]; get.Port.Type == intstr.String && !there {
			t.Errorf("a probe of container %s asks port %s, which it does not declare", c.Name, get.Port.StrVal)
		}
		captured := s.Capture == mfav1alpha1.CaptureRedirect && (get.Host == "" || get.Host == "localhost")
		if number := max(get.Port.IntVal, declared[get.Port.StrVal]); captured && fmt.Sprint(number) == app {
			t.Errorf("a probe of container %s meets the second door", c.Name)
		}
	}
}

// checkNothingLost takes out what the injection may change, and compares the rest.
func checkNothingLost(t *testing.T, before, after *corev1.Pod, s injection.Settings) {
	t.Helper()
	own := after.DeepCopy()
	injected := 1
	if s.Capture == mfav1alpha1.CaptureRedirect {
		injected = 2
	}
	own.Spec.InitContainers = own.Spec.InitContainers[injected:]
	own.Spec.Volumes = own.Spec.Volumes[:len(own.Spec.Volumes)-2]
	for _, name := range []string{mfav1alpha1.PolicyAnnotation, mfav1alpha1.RevisionAnnotation, mfav1alpha1.VersionAnnotation} {
		if own.Annotations[name] == "" {
			t.Errorf("annotation %s is missing", name)
		}
		delete(own.Annotations, name)
	}
	want := before.DeepCopy()
	for _, containers := range [][2][]corev1.Container{
		{want.Spec.InitContainers, own.Spec.InitContainers}, {want.Spec.Containers, own.Spec.Containers},
	} {
		for i := range containers[0] {
			forgive(&containers[0][i])
			forgive(&containers[1][i])
		}
	}
	if !equality.Semantic.DeepEqual(want, own) {
		t.Errorf("the pod lost something of its own (-before +after):\n%s", cmp.Diff(want, own))
	}
}

// forgive takes out of a container what the injection may change: the names and host
// ports of TCP ports, and where probes and hooks go; not what else they say.
func forgive(c *corev1.Container) {
	c.Ports = slices.DeleteFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.ContainerPort == mfav1alpha1.TrafficPort })
	for i := range c.Ports {
		if p := &c.Ports[i]; p.ContainerPort == 8080 || p.ContainerPort == 9090 || p.ContainerPort == 7000 {
			p.Name, p.HostPort = "", 0
		}
	}
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if p != nil && p.Exec == nil {
			p.ProbeHandler = corev1.ProbeHandler{}
		}
	}
	if c.Lifecycle != nil && c.Lifecycle.PreStop != nil && c.Lifecycle.PreStop.Exec == nil {
		*c.Lifecycle.PreStop = corev1.LifecycleHandler{}
	}
}
