package policy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/api/policy"
)

// The golden file is every field that the decoder knows. The test of api/v1alpha1
// holds the schema of the resource to the same file, so that a manifest means the
// same with and without a cluster.
func TestDecoderFieldsGolden(t *testing.T) {
	got := strings.Join(policy.SpecFields(), "\n") + "\n"
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", "fields.golden"), []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(readTestdata(t, "fields.golden")), got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestDecodeManifestReportsLabelsAndResources(t *testing.T) {
	for _, tc := range []struct {
		name, selector, more string
		want                 []string
	}{
		{"a label with a domain, and one without a value", `{"matchLabels":{"acme.example/app":"Portal_1.x","b":""}}`, "", nil},
		{
			"labels that are none", `{"matchLabels":{"a b":"x","b":"-","c/d/e":"x"}}`, "",
			[]string{
				`spec.selector.matchLabels["a b"]|is not the name of a label`, `spec.selector.matchLabels.b|"-" is not the value of a label`,
				`spec.selector.matchLabels["c/d/e"]|is not the name of a label`,
			},
		},
		{
			"expressions that are none", `{"matchExpressions":[{"key":"A/b","operator":"Exists"},{"key":"a","operator":"In","values":["b","c d"]}]}`, "",
			[]string{
				"spec.selector.matchExpressions[0].key|is not the name of a label",
				"spec.selector.matchExpressions[1].values[1]|is not the value of a label",
			},
		},
		{"resources", `{}`, `"sidecar":{"resources":{"limits":{"memory":"1Gi"},"requests":{"cpu":1,"ephemeral-storage":"1Mi"}}}`, nil},
		{
			"resources that a sidecar does not use", `{}`,
			`"sidecar":{"resources":{"limits":{"nvidia.com/gpu":1},"requests":{"cup":1},"claims":[{"name":"x"}]}}`,
			[]string{
				`spec.sidecar.resources.limits["nvidia.com/gpu"]|write cpu, memory or ephemeral-storage`,
				"spec.sidecar.resources.requests.cup|is not a resource", "spec.sidecar.resources.claims|remove it",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			doc := strings.Replace(spec(tc.more), `{"matchLabels":{"app":"portal"}}`, tc.selector, 1)
			compareFaults(t, decodeFaults(t, manifest(doc)), tc.want)
		})
	}
}
