package policy_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/api/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

func readTestdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := fs.ReadFile(os.DirFS("testdata"), name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The golden file is the manifest as it is understood: every field that the
// manifest sets, and every default. What it says as the spec of a manifest is
// understood as the same.
func TestDecodeManifestGolden(t *testing.T) {
	m, err := policy.DecodeManifest(readTestdata(t, "portal.json"))
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "portal" || m.Namespace != "acme" || m.Generation != 7 {
		t.Errorf("metadata is %q, %q, %d", m.Name, m.Namespace, m.Generation)
	}
	got := mustJSON(t, m.Rules) + "\n"
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", "portal.rules.golden.json"), []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(readTestdata(t, "portal.rules.golden.json")), got); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}

	spec := strings.Replace(got, "{", `{"selector": {"matchLabels": {"app": "portal"}},`, 1)
	again, err := policy.DecodeManifest(manifest(spec))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.Rules, again.Rules); diff != "" {
		t.Errorf("rules after a round trip (-first +second):\n%s", diff)
	}
}

// manifest wraps a spec.
func manifest(spec string) []byte {
	return []byte(`{"apiVersion":"mfa.sallyport.dev/v1alpha1","kind":"MFAPolicy","metadata":{"name":"portal"},"spec":` + spec + `}`)
}

// spec is a smallest valid spec with more members, and with the app's and the
// identity's blocks as given where they are.
func spec(more string) string {
	s := `"selector":{"matchLabels":{"app":"portal"}}`
	if !strings.Contains(more, `"app":{`) {
		s += `,"app":{"port":8080}`
	}
	if !strings.Contains(more, `"identity":`) {
		s += `,"identity":{"type":"Endpoint","endpoint":{}}`
	}
	if more != "" {
		s += "," + more
	}
	return "{" + s + "}"
}

func decodeFaults(t *testing.T, doc []byte) policy.Faults {
	t.Helper()
	m, err := policy.DecodeManifest(doc)
	if err == nil {
		return nil
	}
	if m != nil {
		t.Errorf("got a manifest beside the error %v", err)
	}
	faults, ok := errors.AsType[policy.Faults](err)
	if !ok || len(faults) == 0 {
		t.Fatalf("error is %T (%v), want faults", err, err)
	}
	return faults
}

func TestDecodeManifestReportsSpec(t *testing.T) {
	for _, tc := range []struct {
		name, spec string
		want       []string
	}{
		{"the smallest", spec(""), nil},
		{"an unknown field", spec(`"requireForEverybody":true`), []string{"spec.requireForEverybody|is not a field; remove it"}},
		{"a misspelt field", spec(`"requireForAdmin":true`), []string{`spec.requireForAdmin|did you mean "requireForAdmins"?`}},
		{"a field in another case", spec(`"RequireForAdmins":true`), []string{`spec.RequireForAdmins|did you mean "requireForAdmins"?`}},
		{"misspelt fields at every level, all told", spec(`"exemptt":[],"exempt":[{"pth":"/a","path":"/a"}],"branding":{"logoUrl":"/x"},` +
			`"session":{"max_age":"1h"},"app":{"port":1,"signOut":{"verb":"GET"}}`), []string{
			`spec.exemptt|did you mean "exempt"?`, `spec.exempt[0].pth|did you mean "path"?`, `spec.branding.logoUrl|did you mean "logoURL"?`,
			`spec.session.max_age|did you mean "maxAge"?`, `spec.app.signOut.verb|is not a field; remove it`,
		}},
		{"a field name that would break the line", spec(`"a\nb":1`), []string{`spec["a\nb"]|is not a field`}},
		{
			"wrong types, all told", spec(`"requireForEveryone":"yes","adminRoles":"admin","workspace":1,"app":{"port":true},"exempt":{},"session":[]`),
			[]string{
				"spec.requireForEveryone|must be true or false, not text", "spec.adminRoles|must be a list, not text; write it in brackets",
				"spec.workspace|must be text, not a number; put it in quotes", "spec.app.port|must be a port number or the name",
				"spec.exempt|must be a list, not an object", "spec.session|must be an object, not a list",
			},
		},
		{
			"a wrong type in a list", spec(`"identity":{"type":"Endpoint","endpoint":{"cookies":["a",5]}}`),
			[]string{"spec.identity.endpoint.cookies[1]|must be text, not a number"},
		},
		{"wrong durations", spec(`"session":{"maxAge":5,"idle":"5","freshness":{}}`), []string{
			"spec.session.maxAge|must be a duration", `spec.session.idle|"5" is not a duration`, "spec.session.freshness|must be a duration",
		}},
		{"status codes that are no integers", spec(`"app":{"port":1,"passwordCheck":{"success":{"status":[200.5,"200",1e99]}}}`), []string{
			"spec.app.passwordCheck.success.status[0]|200.5 is not a whole number", "spec.app.passwordCheck.success.status[1]|must be a number, not text",
			"spec.app.passwordCheck.success.status[2]|1e99 is not a whole number",
		}},
		{"fields without a value", spec(`"requireForEveryone":null,"exempt":null,"session":{"idle":null},"branding":null`), []string{
			"spec.requireForEveryone|is empty; give it a value", "spec.exempt|is empty", "spec.session.idle|is empty", "spec.branding|is empty",
		}},
		{
			"an identity block that is no object", spec(`"identity":{"type":"Endpoint","endpoint":5}`),
			[]string{"spec.identity.endpoint|must be an object, not a number"},
		},
		{"an identity that is no object", spec(`"identity":"Endpoint"`), []string{"spec.identity|must be an object, not text"}},
		{
			"an unknown field and an invalid one together", spec(`"wrkspace":"w","workspace":"W"`),
			[]string{`spec.wrkspace|did you mean "workspace"?`, "spec.workspace|is not a workspace name"},
		},
		{"a field twice", spec(`"requireForAdmins":true,"requireForAdmins":false`), []string{"spec.requireForAdmins|is written twice"}},
		{
			"a field twice, the second escaped", spec(`"requireForAdmins":true,"requireFor\u0041dmins":false`),
			[]string{"spec.requireForAdmins|is written twice"},
		},
		{
			"a field twice in a list's entry", spec(`"exempt":[{"path":"/a"},{"path":"/b","path":"/c"}]`),
			[]string{"spec.exempt[1].path|is written twice"},
		},
		{"no selector", `{"app":{"port":1},"identity":{"type":"Endpoint","endpoint":{}}}`, []string{"spec.selector|is required"}},
		{"spec is no object", `[]`, []string{"spec|must be an object, not a list"}},
		{"unknown choices for the cluster's fields", spec(`"capture":"auto","rollout":"Always","sidecar":{"logLevel":"trace"}`), []string{
			"spec.capture|did you mean Auto?", "spec.rollout|write Manual or Automatic", "spec.sidecar.logLevel|write debug, info, warn or error",
		}},
		{
			"an unknown field of the sidecar", spec(`"sidecar":{"image":"x","resources":{"limit":{}}}`),
			[]string{"spec.sidecar.image|is not a field", `spec.sidecar.resources.limit|did you mean "limits"?`},
		},
	} {
		t.Run(tc.name, func(t *testing.T) { compareFaults(t, decodeFaults(t, manifest(tc.spec)), tc.want) })
	}
}

func TestDecodeManifestReportsSelector(t *testing.T) {
	for _, tc := range []struct {
		name, selector string
		want           []string
	}{
		{"one that selects the whole namespace", `{}`, nil},
		{"text", `"app=portal"`, []string{"spec.selector|must be an object, not text"}},
		{"labels without matchLabels", `{"app":"portal"}`, []string{"spec.selector.app|is not a field"}},
		{"labels that are no text", `{"matchLabels":{"a/b":1}}`, []string{`spec.selector.matchLabels["a/b"]|must be text, not a number`}},
		{
			"expressions", `{"matchExpressions":[{"key":"","operator":"In"},{"key":"a","operator":"Exists","values":["b"]},{"key":"a","operator":"in"}]}`,
			[]string{
				"spec.selector.matchExpressions[0].key|is required", "spec.selector.matchExpressions[0].values|is required where the operator is In",
				"spec.selector.matchExpressions[1].values|means nothing", "spec.selector.matchExpressions[2].operator|did you mean In?",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			doc := strings.Replace(spec(""), `{"matchLabels":{"app":"portal"}}`, tc.selector, 1)
			compareFaults(t, decodeFaults(t, manifest(doc)), tc.want)
		})
	}
}

func TestDecodeManifestReportsDocument(t *testing.T) {
	const head = `{"apiVersion":"mfa.sallyport.dev/v1alpha1","kind":"MFAPolicy",`
	good := string(manifest(spec("")))
	for _, tc := range []struct {
		name, doc string
		want      []string
	}{
		{"good", good, nil},
		{"nothing", "", []string{"|is not JSON: line 1, column 1"}},
		{"a syntax error", "{\n  \"kind\": }", []string{"|is not JSON: line 2, column 11: invalid character '}'"}},
		{"cut short", good[:len(good)-1], []string{"|unexpected end"}},
		{"something behind it", good + "x", []string{"|invalid character 'x' after top-level value"}},
		{"a second document", good + good, []string{"|after top-level value"}},
		{"not UTF-8", strings.Replace(good, "portal", "p\xff", 1), []string{"|is not UTF-8"}},
		{"a list", "[]", []string{"|the manifest is a list; write an object"}},
		{"null", "null", []string{"|the manifest is null"}},
		{"too large", good + strings.Repeat(" ", policy.MaxManifest), []string{"|larger than 262144 bytes"}},
		{"too deep", head + `"status":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "}", []string{"|nests too deep"}},
		{
			"another kind, and nothing else told", `{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":1}}`,
			[]string{"apiVersion|must be mfa.sallyport.dev/v1alpha1", "kind|must be MFAPolicy"},
		},
		{"no kind", `{"apiVersion":"mfa.sallyport.dev/v1alpha1"}`, []string{"kind|is required; write MFAPolicy"}},
		{"a kind in another case", strings.Replace(good, `"kind"`, `"Kind"`, 1), []string{"kind|is required"}},
		{"no metadata and no spec", head[:len(head)-1] + "}", []string{"spec|is required", "metadata.name|is required"}},
		{"names that are none", head + `"metadata":{"name":"Portal","namespace":"a.b","generation":-1},"spec":` + spec("") + "}", []string{
			"metadata.name|is not a name", "metadata.namespace|is not a namespace", "metadata.generation|is negative",
		}},
		{
			"a name that makes no workspace", head + `"metadata":{"name":"portal.v2"},"spec":` + spec("") + "}",
			[]string{"spec.workspace|the default is the policy's name"},
		},
		{
			"unknown metadata", head + `"metadata":{"name":"portal","label":{}},"spec":` + spec("") + "}",
			[]string{`metadata.label|did you mean "labels"?`},
		},
		{"unknown top-level field", head + `"metadata":{"name":"portal"},"rules":{},"spec":` + spec("") + "}", []string{"rules|is not a field"}},
		{
			"the same label twice", head + `"metadata":{"name":"portal","labels":{"a":"1","a":"2"}},"spec":` + spec("") + "}",
			[]string{"metadata.labels.a|is written twice"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) { compareFaults(t, decodeFaults(t, []byte(tc.doc)), tc.want) })
	}
}

// A manifest that is hostile by sheer number must not cost more than it weighs.
func TestDecodeManifestBoundsItsWork(t *testing.T) {
	entries := `[` + strings.Repeat(`{},`, 80_000) + `{}]`
	faults := decodeFaults(t, manifest(spec(`"exempt":`+entries)))
	if faults[0].Path != "spec.exempt" || len(faults) > 200 {
		t.Errorf("%d faults, the first %q, want the list's own and few others", len(faults), faults[0])
	}
	long := decodeFaults(t, manifest(spec(`"workspace":"`+strings.Repeat("w", 200_000)+`"`)))
	if got := len(long.Error()); got > 1000 {
		t.Errorf("the error is %d bytes long, want it short", got)
	}
}

func FuzzDecodeManifest(f *testing.F) {
	f.Add(readTestdata(f, "portal.json"))
	f.Add(manifest(spec("")))
	f.Add(manifest(spec(`"session":{"maxAge":"1h","idle":null},"exempt":[{"prefix":"/a/"}]`)))
	f.Add(manifest(spec(`"identity":{"type":"JWT","jwt":{"issuer":"a","audience":["b"],"jwks":{"inline":"{\"keys\":[{\"kty\":\"EC\"}]}"}}}`)))
	f.Add(manifest(spec(`"identity":{"type":"Headers","headers":{"trustedProxies":["10.0.0.0/8"]}}`)))
	f.Fuzz(func(t *testing.T, doc []byte) {
		m, err := policy.DecodeManifest(doc)
		if err != nil {
			if faults, ok := errors.AsType[policy.Faults](err); !ok || len(faults) == 0 || m != nil {
				t.Errorf("got %v and the error %T %v, want faults alone", m, err, err)
			}
			return
		}
		if faults := m.Rules.Validate(); len(faults) > 0 {
			t.Errorf("decoded rules are invalid: %v", faults)
		}
		before := mustJSON(t, m.Rules)
		m.Rules.SetDefaults(m.Name)
		if diff := cmp.Diff(before, mustJSON(t, m.Rules)); diff != "" {
			t.Errorf("decoded rules lacked defaults (-before +after):\n%s", diff)
		}
	})
}
