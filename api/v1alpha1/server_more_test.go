package v1alpha1_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport/sallyport/test/apiserver"
)

func named(u *unstructured.Unstructured, name string) *unstructured.Unstructured {
	u.SetName(name)
	return u
}

func holdsNames(t *testing.T, s *apiserver.Server) {
	for _, tc := range []struct {
		name   string
		policy *unstructured.Unstructured
		want   []string
	}{
		{"the longest name", named(patched(t), strings.Repeat("n", 63)), nil},
		{
			"a name that is too long", named(patched(t, `workspace: w`), strings.Repeat("n", 64)),
			refused("|metadata.name must be at most 63 characters; choose a shorter name"),
		},
		{
			"a name that makes no workspace", named(patched(t), "portal.v2"),
			refused("spec.workspace|metadata.name holds a dot and cannot be the workspace's name too; write spec.workspace, or choose another name"),
		},
		{"a name with a dot beside a workspace", named(patched(t, `workspace: portal`), "portal.v2"), nil},
	} {
		t.Run(tc.name, func(t *testing.T) { compareRefusal(t, tryCreate(t, s.Client, tc.policy), tc.want) })
	}
}

func keepsTheWorkspace(t *testing.T, s *apiserver.Server) {
	want := refused("spec.workspace|cannot change: everybody would count as not enrolled in the new workspace; " +
		"write the old one back (the default is the policy's name), or create a new policy")
	for _, tc := range []struct {
		name, before, after string
		want                []string
	}{
		{"another one", `workspace: a`, `workspace: b`, want},
		{"one where there was the default", `{}`, `workspace: b`, want},
		{"the default where there was one", `workspace: a`, `workspace: null`, want},
		{"the default, written out", `{}`, `workspace: keep`, nil},
		{"the default, left out", `workspace: keep`, `workspace: null`, nil},
		{"none, and another change", `{}`, `requireForEveryone: true`, nil},
		{"one, and another change", `workspace: a`, `requireForEveryone: true`, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			object := named(patched(t, tc.before), "keep")
			if err := s.Client.Create(t.Context(), object); err != nil {
				t.Fatal(err)
			}
			merge(object.Object["spec"].(map[string]any), parse(t, tc.after))
			compareRefusal(t, s.Client.Update(t.Context(), object.DeepCopy(), client.DryRunAll), tc.want)
			if err := s.Client.Delete(t.Context(), object); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// What the server fills in is what the columns of kubectl get show.
func fillsInDefaults(t *testing.T, s *apiserver.Server) {
	object := patched(t)
	if err := s.Client.Create(t.Context(), object, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	spec := object.Object["spec"].(map[string]any)
	for name, want := range map[string]any{"requireForEveryone": false, "requireForAdmins": false, "capture": "Auto", "rollout": "Manual"} {
		if spec[name] != want {
			t.Errorf("spec.%s is %v, want %v", name, spec[name], want)
		}
	}
	if err := decode(t, object.Object); err != nil {
		t.Errorf("the decoder refuses what the server returns: %v", err)
	}
}
