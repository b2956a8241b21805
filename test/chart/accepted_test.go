package chart_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/sallyport/sallyport/test/apiserver"
)

// foreignCRDs installs those of other projects that the chart makes objects of.
func (c *cluster) foreignCRDs(t *testing.T) {
	t.Helper()
	if _, err := envtest.InstallCRDs(c.Config, envtest.CRDInstallOptions{Paths: []string{"testdata/crds"}, ErrorIfPathMissing: true}); err != nil {
		t.Fatal(err)
	}
}

// TestEverythingIsAccepted has the API server judge every object of every set of values,
// unknown fields included, and Pod Security every pod that comes of them.
func TestEverythingIsAccepted(t *testing.T) {
	for minor, start := range minors {
		t.Run(minor, func(t *testing.T) {
			c := bare(t, start)
			c.foreignCRDs(t)
			c.namespace(t, system, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
			for _, set := range sets(t) {
				for _, o := range objects(t, set) {
					what := set + ": " + named(o)
					if err := c.tries(t, o); err != nil {
						t.Errorf("%s: %v", what, err)
					}
					if pod := podOf(t, o); pod != nil {
						if err := c.Client.Create(t.Context(), pod, client.DryRunAll); err != nil {
							t.Errorf("%s: its pod: %v", what, err)
						}
					}
				}
			}
			wrong := find[unstructured.Unstructured](t, objects(t, "default"), "Deployment", "sallyport-controller")
			if err := unstructured.SetNestedField(wrong.Object, "1", "spec", "replica"); err != nil {
				t.Fatal(err)
			}
			if err := c.tries(t, wrong); err == nil || !strings.Contains(err.Error(), "spec.replica") {
				t.Errorf("an unknown field: %v, want it refused, else this test proves nothing", err)
			}
		})
	}
}

// tries is a server-side dry run that knows no unknown fields.
func (c *cluster) tries(t *testing.T, o *unstructured.Unstructured) error {
	t.Helper()
	content, err := o.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return c.Client.Patch(t.Context(), o.DeepCopy(), client.RawPatch(types.ApplyPatchType, content),
		client.FieldOwner("test"), client.ForceOwnership, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict))
}

// podOf is the pod that a workload's controller would make.
func podOf(t *testing.T, o *unstructured.Unstructured) *corev1.Pod {
	t.Helper()
	template, found, err := unstructured.NestedMap(o.Object, "spec", "template")
	if err != nil || !found {
		return nil
	}
	pod := new(corev1.Pod)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(template, pod); err != nil {
		t.Fatal(err)
	}
	pod.Namespace, pod.GenerateName = system, o.GetName()+"-"
	claims, _, err := unstructured.NestedSlice(o.Object, "spec", "volumeClaimTemplates")
	if err != nil {
		t.Fatal(err)
	}
	for _, claim := range claims {
		name, _, _ := unstructured.NestedString(claim.(map[string]any), "metadata", "name")
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name + "-" + o.GetName() + "-0"},
		}})
	}
	// Of the tests' own: its admission would look the class up.
	if !strings.HasPrefix(pod.Spec.PriorityClassName, "system-") {
		pod.Spec.PriorityClassName = ""
	}
	return pod
}

// Argo CD and Flux render, apply and compare, for ever. What they find must be the same.
func TestApplyingAgainChangesNothing(t *testing.T) {
	if _, err := exec.LookPath("diff"); err != nil {
		t.Fatal("no diff, which kubectl diff runs: install diffutils")
	}
	c := bare(t, apiserver.Start)
	c.foreignCRDs(t)
	for way, flags := range map[string][]string{"client": nil, "server": {"--server-side", "--force-conflicts"}} {
		for _, set := range []string{"default", "tuned", "tls", "cert-manager", "metrics"} { // every kind, and most fields
			namespace := set + "-by-" + way
			c.namespace(t, namespace, nil)
			text := rendered(t, set, "--no-hooks", "--namespace", namespace)
			run := func(verb string) {
				t.Helper()
				if out, err := c.kubectl(t, text, append([]string{verb, "-f", "-"}, flags...)...); err != nil {
					t.Errorf("%s, by the %s: kubectl %s: %v\n%s", set, way, verb, err, out)
				}
			}
			run("apply")
			before := c.versions(t, decode(t, text))
			run("apply")
			if diff := cmp.Diff(before, c.versions(t, decode(t, text))); diff != "" {
				t.Errorf("%s, by the %s: applied again, it changes:\n%s", set, way, diff)
			}
			run("diff") // fails where there is one
		}
	}
}

func (c *cluster) versions(t *testing.T, all []*unstructured.Unstructured) map[string]string {
	t.Helper()
	versions := make(map[string]string)
	for _, o := range all {
		if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatalf("%s: %v", named(o), err)
		}
		versions[named(o)] = o.GetResourceVersion()
	}
	return versions
}
