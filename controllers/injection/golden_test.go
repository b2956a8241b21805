package injection_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/yaml"

	"github.com/sallyport/sallyport/api/policy"
	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/injection"
	"github.com/sallyport/sallyport/sidecar/probe"
)

var update = flag.Bool("update", false, "write the golden files")

// shape is a pod in testdata and the app's port that its first line states.
type shape struct {
	name string
	pod  *corev1.Pod
	app  policy.Port
}

var captures = []mfav1alpha1.Capture{mfav1alpha1.CapturePort, mfav1alpha1.CaptureRedirect}

func mode(capture mfav1alpha1.Capture) string { return strings.ToLower(string(capture)) }

func settings(capture mfav1alpha1.Capture) injection.Settings {
	p := new(mfav1alpha1.MFAPolicy)
	p.Namespace, p.Name = "acme", "portal"
	p.Spec.App.Port = policy.Port{Number: 8080}
	return injection.For(p, capture, injection.Operator{
		Image: "ghcr.io/sallyport/sidecar:v0.1.0", Version: "v0.1.0",
		ExtraArgs: []string{"--redis-key-prefix", "sallyport"}, HookKey: []byte("a key for the tests"),
	})
}

func (s shape) settings(capture mfav1alpha1.Capture) injection.Settings {
	all := settings(capture)
	all.App = s.app
	return all
}

var statedPort = regexp.MustCompile(`^# app: (\S+)\n`)

func shapes(t testing.TB) []shape {
	t.Helper()
	files, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d shapes, %v", len(files), err)
	}
	var all []shape
	for _, file := range files {
		document, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := shape{name: strings.TrimSuffix(filepath.Base(file), ".in.yaml"), pod: new(corev1.Pod), app: policy.Port{Number: 8080}}
		if stated := statedPort.FindSubmatch(document); stated != nil {
			s.app = policy.Port{Name: string(stated[1])}
			if number, err := strconv.ParseInt(string(stated[1]), 10, 32); err == nil {
				s.app = policy.Port{Number: int32(number)}
			}
		}
		if err := yaml.UnmarshalStrict(document, s.pod); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, s)
	}
	return all
}

func TestInjectShapes(t *testing.T) {
	for _, s := range shapes(t) {
		for _, capture := range captures {
			t.Run(s.name+"/"+mode(capture), func(t *testing.T) {
				out := s.pod.DeepCopy()
				err := injection.Inject(out, s.settings(capture))
				base := filepath.Join("testdata", s.name+"."+mode(capture))
				refusal, refused := errors.AsType[*injection.Refusal](err)
				if err != nil && !refused {
					t.Fatalf("Inject: %v", err)
				}
				want, got := base+".yaml", []byte(nil)
				if refused {
					want, got = base+".refused.txt", []byte(refusal.Error()+"\n")
					if diff := cmp.Diff(s.pod, out); diff != "" {
						t.Errorf("a refused pod was changed:\n%s", diff)
					}
				} else if got, err = yaml.Marshal(out); err != nil {
					t.Fatal(err)
				}
				golden(t, base, want, got)
			})
		}
	}
}

func golden(t *testing.T, base, name string, got []byte) {
	t.Helper()
	if *update {
		_, _ = os.Remove(base+".yaml"), os.Remove(base+".refused.txt")
		if err := os.WriteFile(name, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("%v (go test ./controllers/injection -update writes it); got\n%s", err, got)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s (-want +got):\n%s", name, cmp.Diff(string(want), string(got)))
	}
}

// injected calls f with every shape that is not refused, before and after.
func injected(t *testing.T, f func(t *testing.T, s shape, settings injection.Settings, out *corev1.Pod)) {
	t.Helper()
	for _, s := range shapes(t) {
		for _, capture := range captures {
			out := s.pod.DeepCopy()
			settings := s.settings(capture)
			if injection.Inject(out, settings) != nil {
				continue
			}
			t.Run(s.name+"/"+mode(capture), func(t *testing.T) { f(t, s, settings, out) })
		}
	}
}

func TestInjectTwiceIsOnce(t *testing.T) {
	injected(t, func(t *testing.T, _ shape, settings injection.Settings, out *corev1.Pod) {
		again := out.DeepCopy()
		if err := injection.Inject(again, settings); err != nil {
			t.Fatalf("second Inject: %v", err)
		}
		if !equality.Semantic.DeepEqual(out, again) {
			t.Errorf("the second call changed the pod (-once +twice):\n%s", cmp.Diff(out, again))
		}
		policyName, revision, ok := injection.Injected(out)
		if policyName != "portal" || revision != settings.Revision() || !ok {
			t.Errorf("Injected = %q, %q, %v; want portal, %q, true", policyName, revision, ok, settings.Revision())
		}
	})
}

// The sidecar itself reads what was written for it, after Kubernetes has expanded its
// arguments, and each probe is found where the kubelet asks for it.
func TestInjectedProbesAreReadByTheSidecar(t *testing.T) {
	seen := 0
	injected(t, func(t *testing.T, _ shape, _ injection.Settings, out *corev1.Pod) {
		sidecar := sidecarOf(out)
		document := argument(sidecar, "--probes")
		if document == "" {
			return
		}
		if strings.Contains(document, "$") {
			t.Errorf("Kubernetes would expand a variable in %s", document)
		}
		probes, err := probe.Decode([]byte(document))
		if err != nil {
			t.Fatalf("%v in %s", err, document)
		}
		if encoded, err := probe.Encode(probes); err != nil || string(encoded) != document {
			t.Errorf("the sidecar would write %s, %v; got %s", encoded, err, document)
		}
		asked := map[string]string{}
		for _, c := range allContainers(out) {
			for _, get := range httpGets(&c) {
				if get.Port.IntVal == mfav1alpha1.OperationsPort && strings.HasPrefix(get.Path, probe.Prefix) {
					asked[get.Path] = ""
					for _, h := range get.HTTPHeaders {
						if h.Name == probe.TokenHeader {
							asked[get.Path] = h.Value
						}
					}
				}
			}
		}
		want := map[string]string{}
		for _, p := range probes {
			want[p.Path()] = p.Token
			seen++
		}
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Errorf("probes that the kubelet asks for (-sidecar's +kubelet's):\n%s", diff)
		}
	})
	if seen == 0 {
		t.Error("no shape has a probe for the sidecar")
	}
}

func sidecarOf(pod *corev1.Pod) *corev1.Container {
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == mfav1alpha1.SidecarContainer {
			return &pod.Spec.InitContainers[i]
		}
	}
	return nil
}

func argument(c *corev1.Container, flag string) string {
	for i, arg := range c.Args {
		if arg == flag && i+1 < len(c.Args) {
			return c.Args[i+1]
		}
	}
	return ""
}

func allContainers(pod *corev1.Pod) []corev1.Container {
	return append(append([]corev1.Container(nil), pod.Spec.InitContainers...), pod.Spec.Containers...)
}

// httpGets are the requests of a container's probes and hooks.
func httpGets(c *corev1.Container) []*corev1.HTTPGetAction {
	var all []*corev1.HTTPGetAction
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if p != nil && p.HTTPGet != nil {
			all = append(all, p.HTTPGet)
		}
	}
	if c.Lifecycle != nil {
		for _, h := range []*corev1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
			if h != nil && h.HTTPGet != nil {
				all = append(all, h.HTTPGet)
			}
		}
	}
	return all
}
