package chart_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sallyport/sallyport/test/apiserver"
)

// kustomized is what `kubectl kustomize` makes of a folder of the module.
func kustomized(t *testing.T, folder string) []*unstructured.Unstructured {
	t.Helper()
	assets := os.Getenv(apiserver.Assets)
	if assets == "" {
		t.Skip(apiserver.Missing)
	}
	var stderr bytes.Buffer
	command := exec.CommandContext(t.Context(), filepath.Join(assets, "kubectl"), "kustomize", filepath.Join(root, folder))
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("kustomize %s: %v\n%s", folder, err, &stderr)
	}
	return decode(t, string(out))
}

// The chart and config/ install the same operator. What the chart has beyond is named.
func TestChartAndConfigInstallTheSame(t *testing.T) {
	everything := []string{"--set", "certManager.enabled=true,metrics.podMonitor.enabled=true"}
	for overlay, c := range map[string]struct {
		arguments, beyond []string
	}{
		"config/default":                  {nil, nil},
		"test/config/testdata/everything": {everything, []string{"PodMonitor sallyport-sidecars"}},
	} {
		t.Run(filepath.Base(overlay), func(t *testing.T) {
			want, got := kustomized(t, overlay), objects(t, "existing-secret", c.arguments...)
			var beyond []string
			for _, o := range got {
				if o.GetAnnotations()["helm.sh/hook"] != "" {
					continue // for uninstalling, and there only then
				}
				i := slices.IndexFunc(want, func(w *unstructured.Unstructured) bool { return named(w) == named(o) })
				if i < 0 {
					beyond = append(beyond, named(o))
					continue
				}
				if diff := cmp.Diff(withoutDifferences(t, want[i]), withoutDifferences(t, o)); diff != "" {
					t.Errorf("%s (-config +chart):\n%s", named(o), diff)
				}
				want = slices.Delete(want, i, i+1)
			}
			for _, o := range want {
				t.Errorf("%s of %s is not in the chart", named(o), overlay)
			}
			if diff := cmp.Diff(c.beyond, beyond); diff != "" {
				t.Errorf("beyond what config/ has (-want +got):\n%s", diff)
			}
		})
	}
}

// comparable is an object without what each side says of itself: labels, annotations and
// images. Of the arguments those stay that config/ gives; that the others are of the
// flags' defaults has a test of its own.
func withoutDifferences(t *testing.T, o *unstructured.Unstructured) map[string]any {
	t.Helper()
	object := o.DeepCopy()
	object.SetLabels(nil)
	object.SetAnnotations(nil)
	unstructured.RemoveNestedField(object.Object, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(object.Object, "spec", "template", "metadata", "creationTimestamp")
	if object.GetKind() != "Deployment" {
		return object.Object
	}
	containers, _, err := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
	if err != nil || len(containers) != 1 {
		t.Fatalf("%s has %d containers: %v", named(o), len(containers), err)
	}
	container := containers[0].(map[string]any)
	delete(container, "image")
	delete(container, "imagePullPolicy")
	container["env"].([]any)[0].(map[string]any)["value"] = "the sidecar's image"
	container["args"] = slices.DeleteFunc(container["args"].([]any), func(argument any) bool {
		flag, _, _ := strings.Cut(argument.(string), "=")
		return !slices.Contains([]string{"--sidecar-image", "--redis-dir", "--cert-dir"}, flag)
	})
	if err := unstructured.SetNestedSlice(object.Object, containers, "spec", "template", "spec", "containers"); err != nil {
		t.Fatal(err)
	}
	return object.Object
}

func TestConfigSetsNoFlagThatTheChartDoesNot(t *testing.T) {
	theirs := find[appsv1.Deployment](t, kustomized(t, "test/config/testdata/everything"), "Deployment", "sallyport-controller")
	ours := find[appsv1.Deployment](t, objects(t, "existing-secret", "--set", "certManager.enabled=true"), "Deployment", "sallyport-controller")
	for _, argument := range theirs.Spec.Template.Spec.Containers[0].Args {
		if !slices.Contains(ours.Spec.Template.Spec.Containers[0].Args, argument) {
			t.Errorf("config/ sets %s, and the chart does not", argument)
		}
	}
}
