package v1alpha1_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/sallyport/sallyport/test/apiserver"
)

const samplesDir = "../../config/samples"

// samples are the policies of the folder, which is applied as a whole.
func samples(t *testing.T) map[string]*unstructured.Unstructured {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(samplesDir, "*"))
	if err != nil || len(files) < 4 {
		t.Fatalf("there are %d samples: %v", len(files), err)
	}
	out := map[string]*unstructured.Unstructured{}
	for _, file := range files {
		out[filepath.Base(file)] = &unstructured.Unstructured{Object: parse(t, string(readFile(t, file)))}
	}
	return out
}

func TestDecoderAcceptsSamples(t *testing.T) {
	for name, sample := range samples(t) {
		if sample.GetKind() != "MFAPolicy" {
			continue // the sidecar reads no others
		}
		if err := decode(t, sample.Object); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func acceptsSamples(t *testing.T, s *apiserver.Server) {
	for name, sample := range samples(t) {
		t.Run(name, func(t *testing.T) {
			sample.SetNamespace("default")
			compareRefusal(t, tryCreate(t, s.Client, sample), nil)
		})
	}
}

// The full sample is where people look a field up, so that none may be missing,
// those in comments included.
func TestFullSampleHasEveryField(t *testing.T) {
	doc := string(readFile(t, filepath.Join(samplesDir, "mfa_v1alpha1_mfapolicy_full.yaml")))
	written := sets.New(regexp.MustCompile(`[A-Za-z]+:`).FindAllString(doc, -1)...)
	for line := range strings.Lines(string(readFile(t, "../policy/testdata/fields.golden"))) {
		field, _, _ := strings.Cut(line, " ")
		for _, name := range strings.Split(field, ".")[1:] {
			if name = strings.TrimRight(name, "[]{}"); name != "claims" && name != "values" && !written.Has(name+":") {
				t.Errorf("%s: %q is not in the sample", field, name)
			}
		}
	}
}
