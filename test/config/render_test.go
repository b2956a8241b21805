package config_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/test/apiserver"
)

// overlays are what people install: the operator alone, and with its options.
var overlays = []string{
	"config/default",
	"test/config/testdata/certmanager",
	"test/config/testdata/prometheus",
	"test/config/testdata/everything",
}

// foreign are the kinds of other projects, which a bare API server does not have.
var foreign = []string{"cert-manager.io/v1", "monitoring.coreos.com/v1"}

func TestAPIServersAcceptWhatIsRendered(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *apiserver.Server{
		"the current minor":          shared,
		"the oldest supported minor": apiserver.StartOldest,
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			prepare(t, s)
			for _, overlay := range overlays {
				t.Run(filepath.Base(overlay), func(t *testing.T) {
					objects := slices.DeleteFunc(render(t, overlay), func(o *unstructured.Unstructured) bool {
						return slices.Contains(foreign, o.GetAPIVersion())
					})
					apply(t, s.Client, objects, client.DryRunAll)
				})
			}
		})
	}
}

func TestOverlaysAddWhatTheySay(t *testing.T) {
	kinds := func(overlay string) map[string]int {
		count := make(map[string]int)
		for _, o := range render(t, overlay) {
			count[o.GetKind()]++
		}
		return count
	}
	plain := kinds("config/default")
	for overlay, added := range map[string]map[string]int{
		"certmanager": {"Issuer": 2, "Certificate": 2},
		"prometheus":  {"PodMonitor": 1},
		"everything":  {"Issuer": 2, "Certificate": 2, "PodMonitor": 1},
	} {
		t.Run(overlay, func(t *testing.T) {
			want := maps.Clone(plain)
			maps.Copy(want, added)
			if diff := cmp.Diff(want, kinds("test/config/testdata/"+overlay)); diff != "" {
				t.Errorf("kinds (-want +got):\n%s", diff)
			}
		})
	}
}

// What is deleted with the operator must not be what enrolments depend upon, and what
// the controller owns must be told from what people installed.
func TestDefaultHoldsNeitherKeysNorWhatTheControllerOwns(t *testing.T) {
	for _, o := range render(t, "config/default") {
		switch o.GetKind() {
		case "Namespace", "Secret":
			t.Errorf("%s: deleting config/default would delete the keys", named(o))
		case "MutatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding":
			t.Errorf("%s is the controller's to write", named(o))
		}
		if o.GetLabels()[mfav1alpha1.ManagedByLabel] != "" {
			t.Errorf("%s has label %s, which marks what the controller owns", named(o), mfav1alpha1.ManagedByLabel)
		}
		if _, ok := o.GetLabels()["control-plane"]; ok {
			t.Errorf("%s has label control-plane, which other projects select by", named(o))
		}
		if namespace := o.GetNamespace(); namespace != "" && namespace != system {
			t.Errorf("%s is in namespace %s", named(o), namespace)
		}
	}
}

func TestPodsPassPodSecurityRestricted(t *testing.T) {
	s := shared(t)
	for _, overlay := range overlays {
		t.Run(filepath.Base(overlay), func(t *testing.T) {
			d := find[appsv1.Deployment](t, render(t, overlay), "Deployment", "sallyport-controller")
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: system, GenerateName: "controller-", Labels: d.Spec.Template.Labels},
				Spec:       d.Spec.Template.Spec,
			}
			if err := s.Client.Create(t.Context(), pod.DeepCopy(), client.DryRunAll); err != nil {
				t.Errorf("the pod is refused: %v", err)
			}
			// The namespace's label is what makes the check above one.
			pod.Spec.SecurityContext.SeccompProfile = nil
			if err := s.Client.Create(t.Context(), pod, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "restricted") {
				t.Errorf("a pod without a seccomp profile: %v, want it refused by restricted", err)
			}
		})
	}
}

func TestEverythingThatSelectsPodsSelectsTheOperators(t *testing.T) {
	objects := render(t, "test/config/testdata/everything")
	template := find[appsv1.Deployment](t, objects, "Deployment", "sallyport-controller").Spec.Template
	budget := find[policyv1.PodDisruptionBudget](t, objects, "PodDisruptionBudget", "sallyport-controller")
	service := find[corev1.Service](t, objects, "Service", "sallyport-webhook")
	network := find[networkingv1.NetworkPolicy](t, objects, "NetworkPolicy", "sallyport-controller")
	monitored := find[struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
		Spec              struct {
			Selector  metav1.LabelSelector `json:"selector"`
			Endpoints []struct {
				Port string `json:"port"`
				Path string `json:"path"`
			} `json:"podMetricsEndpoints"`
		} `json:"spec"`
	}](t, objects, "PodMonitor", "sallyport-controller").Spec
	for name, selector := range map[string]*metav1.LabelSelector{
		"Service":             {MatchLabels: service.Spec.Selector},
		"PodDisruptionBudget": budget.Spec.Selector,
		"NetworkPolicy":       &network.Spec.PodSelector,
		"PodMonitor":          &monitored.Selector,
		"spread over nodes":   template.Spec.TopologySpreadConstraints[0].LabelSelector,
		"spread over zones":   template.Spec.TopologySpreadConstraints[1].LabelSelector,
	} {
		t.Run(name, func(t *testing.T) {
			s, err := metav1.LabelSelectorAsSelector(selector)
			if err != nil || s.Empty() || !s.Matches(labels.Set(template.Labels)) {
				t.Errorf("selector %v does not select pods labelled %v (%v)", selector, template.Labels, err)
			}
		})
	}
	ports := map[string]int32{}
	for _, p := range template.Spec.Containers[0].Ports {
		ports[p.Name] = p.ContainerPort
	}
	if diff := cmp.Diff(map[string]int32{"webhook": 9443, "metrics": 8080, "health": 8081}, ports); diff != "" {
		t.Errorf("ports that the controller listens on by default (-want +got):\n%s", diff)
	}
	if len(monitored.Endpoints) != 1 || monitored.Endpoints[0].Port != "metrics" {
		t.Errorf("the PodMonitor asks %v, want port metrics", monitored.Endpoints)
	}
	if p := service.Spec.Ports[0]; p.Port != 443 || p.TargetPort.StrVal != "webhook" {
		t.Errorf("the Service leads from %d to %s, want from 443 to webhook", p.Port, &p.TargetPort)
	}
}

// The program itself must understand its flags: with --help it parses them and ends.
func TestControllerUnderstandsItsArguments(t *testing.T) {
	program := filepath.Join(t.TempDir(), "controller")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/controller")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the controller: %v\n%s", err, out)
	}
	for _, overlay := range overlays {
		t.Run(filepath.Base(overlay), func(t *testing.T) {
			pod := find[appsv1.Deployment](t, render(t, overlay), "Deployment", "sallyport-controller").Spec.Template.Spec
			for _, v := range []string{"redis", "webhook-certificate"} {
				mounted := slices.IndexFunc(pod.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == v })
				if mounted < 0 {
					continue
				}
				path := pod.Containers[0].VolumeMounts[mounted].MountPath
				if !slices.ContainsFunc(pod.Containers[0].Args, func(a string) bool { return strings.HasSuffix(a, "="+path) }) {
					t.Errorf("volume %s is mounted at %s, and no flag names it in %v", v, path, pod.Containers[0].Args)
				}
			}
			out, err := exec.CommandContext(t.Context(), program, append(pod.Containers[0].Args, "--help")...).CombinedOutput()
			if err != nil {
				t.Errorf("controller %v: %v\n%s", pod.Containers[0].Args, err, out)
			}
		})
	}
	if out, err := exec.CommandContext(t.Context(), program, "--no-such-flag", "--help").CombinedOutput(); err == nil {
		t.Errorf("controller --no-such-flag --help ended well, so this test proves nothing:\n%s", out)
	}
}

func TestImagesAreTheGivenOnes(t *testing.T) {
	const controller, sidecar = "registry.example.com:5000/controller@sha256:1111", "registry.example.com/sidecar:v1"
	script := exec.CommandContext(t.Context(), "config/images", controller, sidecar)
	script.Dir = root
	out, err := script.Output()
	if err != nil {
		t.Fatal(err)
	}
	// kustomize takes bases by relative paths only.
	folder := filepath.Join(root, "bin", "config-test")
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), out, 0o600); err != nil {
		t.Fatal(err)
	}
	plain := find[appsv1.Deployment](t, render(t, "config/default"), "Deployment", "sallyport-controller")
	got := find[appsv1.Deployment](t, render(t, "bin/config-test"), "Deployment", "sallyport-controller")
	want := plain.DeepCopy()
	want.Spec.Template.Spec.Containers[0].Image = controller
	for i, env := range want.Spec.Template.Spec.Containers[0].Env {
		if env.Name == "SIDECAR_IMAGE" {
			want.Spec.Template.Spec.Containers[0].Env[i].Value = sidecar
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Deployment (-want +got):\n%s", diff)
	}
}
