package v1alpha1_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/test/apiserver"
)

// base is a smallest manifest that is accepted.
const base = `
apiVersion: mfa.sallyport.dev/v1alpha1
kind: MFAPolicy
metadata: {name: portal, namespace: default}
spec:
  selector: {matchLabels: {app: portal}}
  app: {port: 8080}
  identity: {type: Endpoint, endpoint: {}}
`

// The base of a case whose identity is of another type.
const (
	asJWT     = `identity: {type: JWT, endpoint: null, jwt: {issuer: "https://id.acme.example", audience: [portal], jwks: {url: "https://id.acme.example/keys"}}}`
	asHeaders = `identity: {type: Headers, endpoint: null, headers: {trustedProxies: [10.0.0.0/8]}}`
)

// patched is the base with merge patches of its spec, in YAML.
func patched(t *testing.T, patches ...string) *unstructured.Unstructured {
	t.Helper()
	object := parse(t, base)
	for _, patch := range patches {
		merge(object["spec"].(map[string]any), parse(t, patch))
	}
	return &unstructured.Unstructured{Object: object}
}

func parse(t testing.TB, doc string) map[string]any {
	t.Helper()
	// Without the separator a flow mapping would be taken for JSON.
	j, err := yaml.ToJSON([]byte("---\n" + doc))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, doc)
	}
	var object map[string]any
	if err := utiljson.Unmarshal(j, &object); err != nil {
		t.Fatalf("%v in:\n%s", err, doc)
	}
	return object
}

// merge is a merge patch of RFC 7386.
func merge(into, patch map[string]any) {
	for name, value := range patch {
		inner, isMap := value.(map[string]any)
		have, hasMap := into[name].(map[string]any)
		switch {
		case value == nil:
			delete(into, name)
		case isMap && hasMap:
			merge(have, inner)
		default:
			into[name] = value
		}
	}
}

// TestServer asks the current and the oldest supported API server. Starting one
// takes seconds, so that all questions are asked of the same.
func TestServer(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *apiserver.Server{
		"the current minor":          apiserver.Start,
		"the oldest supported minor": apiserver.StartOldest,
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			for name, test := range map[string]func(*testing.T, *apiserver.Server){
				"rules": holdsRules, "names": holdsNames, "the workspace": keepsTheWorkspace, "defaults": fillsInDefaults,
				"samples": acceptsSamples, "kubectl": servesKubectl,
			} {
				t.Run(name, func(t *testing.T) { test(t, s) })
			}
		})
	}
}

// tryCreate asks the server, as kubectl apply does, and stores nothing.
func tryCreate(t *testing.T, c client.Client, object *unstructured.Unstructured) error {
	t.Helper()
	return c.Create(t.Context(), object.DeepCopy(), client.DryRunAll, client.FieldValidation("Strict"))
}

// compareRefusal wants exactly these faults, each as "field|the end of the message".
func compareRefusal(t *testing.T, err error, want []string) {
	t.Helper()
	if err == nil {
		if len(want) > 0 {
			t.Errorf("accepted, want %q", want)
		}
		return
	}
	got := refusal(err)
	if len(got) != len(want) {
		t.Fatalf("refused with %d faults, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	open := slices.Clone(got)
	for _, w := range want {
		field, message, _ := strings.Cut(w, "|")
		i := slices.IndexFunc(open, func(g string) bool {
			gotField, gotMessage, _ := strings.Cut(g, "|")
			return gotField == field && (gotMessage == message || strings.HasSuffix(gotMessage, ": "+message))
		})
		if i < 0 {
			t.Errorf("not refused with %q, but with:\n%s", w, strings.Join(got, "\n"))
			continue
		}
		open = slices.Delete(open, i, i+1)
	}
}

// refusal lists the faults that the server names.
func refusal(err error) []string {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok {
		return []string{"|" + err.Error()}
	}
	details := status.Status().Details
	if details == nil || len(details.Causes) == 0 {
		return []string{"|" + err.Error()}
	}
	var out []string
	for _, cause := range details.Causes {
		// What the server adds where the schema alone was enough to refuse.
		if !strings.Contains(cause.Message, "some validation rules were not checked") {
			out = append(out, strings.TrimPrefix(cause.Field, "<nil>")+"|"+cause.Message)
		}
	}
	return out
}

// decode gives a manifest to the strict decoder, as a sidecar without a cluster does.
func decode(t *testing.T, object map[string]any) error {
	t.Helper()
	doc, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	_, err = policy.DecodeManifest(doc)
	return err
}
