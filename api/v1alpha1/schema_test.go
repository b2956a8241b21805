package v1alpha1_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

const crdFile = "../../config/crd/bases/mfa.sallyport.dev_mfapolicies.yaml"

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// schema is the schema of the resource, as it is installed.
func schema(t *testing.T) apiextensionsv1.JSONSchemaProps {
	t.Helper()
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(readFile(t, crdFile), &crd); err != nil {
		t.Fatal(err)
	}
	if len(crd.Spec.Versions) != 1 {
		t.Fatalf("%d versions, want one", len(crd.Spec.Versions))
	}
	return *crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

// walk visits a schema and everything in it.
func walk(path string, s *apiextensionsv1.JSONSchemaProps, visit func(string, *apiextensionsv1.JSONSchemaProps)) {
	visit(path, s)
	for name := range s.Properties {
		walk(path+"."+name, new(s.Properties[name]), visit)
	}
	if s.Items != nil {
		walk(path+"[]", s.Items.Schema, visit)
	}
	if s.AdditionalProperties != nil {
		walk(path+"{}", s.AdditionalProperties.Schema, visit)
	}
}

// The golden file is what the strict decoder of api/policy knows; a test there
// holds the decoder to it.
func TestSchemaHasTheDecodersFields(t *testing.T) {
	var got []string
	walk("spec", new(schema(t).Properties["spec"]), func(path string, s *apiextensionsv1.JSONSchemaProps) {
		// The decoder takes what it leaves to the cluster as it is.
		inner, opaque := strings.CutPrefix(path, "spec.sidecar.resources.")
		switch {
		case opaque && strings.HasPrefix(inner, "claims[]."), s.Type == "array":
		case opaque && (inner == "claims[]" || strings.HasSuffix(inner, "{}")):
			got = append(got, path+" anything")
		case s.XIntOrString:
			got = append(got, path+" number or text")
		case s.Type == "object":
		default:
			got = append(got, path+" "+map[string]string{"string": "text", "boolean": "true or false", "integer": "number"}[s.Type])
		}
	})
	slices.Sort(got)
	want := string(readFile(t, "../policy/testdata/fields.golden"))
	if diff := cmp.Diff(want, strings.Join(got, "\n")+"\n"); diff != "" {
		t.Errorf("fields of the schema (-decoder +schema):\n%s", diff)
	}
}

func TestSchemaBoundsEverything(t *testing.T) {
	visited := 0
	root := schema(t)
	for _, part := range []string{"spec", "status"} {
		walk(part, new(root.Properties[part]), func(path string, s *apiextensionsv1.JSONSchemaProps) {
			// Types of Kubernetes bring their own schema.
			for _, foreign := range []string{"spec.selector.", "spec.sidecar.resources.", "status.conditions[]"} {
				if strings.HasPrefix(path, foreign) {
					return
				}
			}
			visited++
			if s.Type == "string" && s.MaxLength == nil && len(s.Enum) == 0 && s.Format != "date-time" {
				t.Errorf("%s: text without maxLength or enum", path)
			}
			if s.XIntOrString && s.MaxLength == nil {
				t.Errorf("%s: number or text without maxLength", path)
			}
			if s.Type == "array" && (s.MaxItems == nil || s.XListType == nil) {
				t.Errorf("%s: a list without maxItems or list type", path)
			}
			if s.AdditionalProperties != nil && s.MaxProperties == nil {
				t.Errorf("%s: a map without maxProperties", path)
			}
		})
	}
	if visited < 80 {
		t.Errorf("visited %d fields, want all of them", visited)
	}
}

func TestSchemaDescribesEveryField(t *testing.T) {
	root := schema(t)
	for _, part := range []string{"spec", "status"} {
		walk(part, new(root.Properties[part]), func(path string, s *apiextensionsv1.JSONSchemaProps) {
			name := path[strings.LastIndexByte(path, '.')+1:]
			foreign := strings.HasPrefix(path, "spec.sidecar.resources.") || strings.HasPrefix(path, "spec.selector.")
			if foreign || strings.ContainsAny(name, "[{") {
				return
			}
			first, rest, _ := strings.Cut(s.Description, " ")
			if strings.TrimSuffix(first, ":") != name || rest == "" {
				t.Errorf("%s: the description starts with %q, want the field's name", path, first)
			}
			if part != "spec" || path == "spec" {
				return
			}
			if !strings.Contains(s.Description, "Example:") {
				t.Errorf("%s: the description has no example", path)
			}
		})
	}
}

func TestSchemaRequires(t *testing.T) {
	got := map[string][]string{}
	walk("spec", new(schema(t).Properties["spec"]), func(path string, s *apiextensionsv1.JSONSchemaProps) {
		if len(s.Required) > 0 && !strings.HasPrefix(path, "spec.sidecar.resources.") {
			got[path] = s.Required
		}
	})
	want := map[string][]string{
		"spec":                             {"app", "identity", "selector"},
		"spec.app":                         {"port"},
		"spec.identity":                    {"type"},
		"spec.identity.jwt":                {"audience", "issuer", "jwks"},
		"spec.identity.jwt.jwks.secretRef": {"name"},
		"spec.identity.headers":            {"trustedProxies"},
		"spec.redis":                       {"secretRef"},
		"spec.redis.secretRef":             {"name"},
		"spec.selector.matchExpressions[]": {"key", "operator"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("required fields (-want +got):\n%s", diff)
	}
}
