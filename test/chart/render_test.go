package chart_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/test/chart"
)

// What contradicts itself is no fault to lint, which knows no cluster; what the schema
// refuses is.
func TestLint(t *testing.T) {
	if out, err := helm(t, "lint", "--strict", folder); err != nil {
		t.Errorf("without values: %v\n%s", err, out)
	}
	if _, err := helm(t, "lint", "--strict", folder, "--set", "controller.replica=3"); err == nil || !strings.Contains(err.Error(), "'/controller': additional properties 'replica' not allowed") {
		t.Errorf("a typo: %v, want its path", err)
	}
	for _, set := range sets(t) {
		t.Run(set, func(t *testing.T) {
			if out, err := helm(t, "lint", "--strict", folder, "--values", "testdata/values/"+set+".yaml"); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestDerivedFilesAreUpToDate(t *testing.T) {
	files, err := chart.Generate(root)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range files {
		got, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is out of date; run make manifests (-want +got):\n%s", path, diff)
		}
	}
}

// The defaults are golden whole, the other sets by what they change, so that a change
// of a template is read once.
func TestGolden(t *testing.T) {
	base := documents(t, rendered(t, "default"))
	for _, set := range sets(t) {
		t.Run(set, func(t *testing.T) {
			got := documents(t, rendered(t, set))
			var out strings.Builder
			for _, name := range slices.Sorted(maps.Keys(base)) {
				if _, ok := got[name]; !ok {
					fmt.Fprintf(&out, "# gone: %s\n", name)
				}
			}
			for _, name := range slices.Sorted(maps.Keys(got)) {
				if set == "default" || got[name] != base[name] {
					out.WriteString("---\n" + got[name])
				}
			}
			golden(t, "testdata/golden/"+set+".yaml", out.String())
		})
	}
}

var source = regexp.MustCompile(`(?m)^# Source: .*\n`)

// documents are the rendered ones by kind and name, but for what is compared with
// config/ as a whole.
func documents(t *testing.T, text string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for document := range strings.SplitSeq("\n"+text, "\n---\n") {
		document = strings.TrimSpace(source.ReplaceAllString(document, "")) + "\n"
		for _, object := range decode(t, document) {
			if all[named(object)] != "" {
				t.Errorf("%s is there twice", named(object))
			}
			if object.GetKind() != "CustomResourceDefinition" && object.GetName() != "sallyport-dashboard" {
				all[named(object)] = document
			}
		}
	}
	return all
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s; if it is meant, run with -update (-want +got):\n%s", path, diff)
	}
}

func TestNotesSayWhatTheValuesMean(t *testing.T) {
	notes := func(t *testing.T, arguments ...string) string {
		t.Helper()
		out, err := helm(t, slices.Concat([]string{
			"install", "sallyport", folder, "--dry-run=client", "--namespace", system, "--values", "testdata/values/default.yaml",
		}, arguments)...)
		if err != nil {
			t.Fatal(err)
		}
		_, notes, found := strings.Cut(out, "\nNOTES:\n")
		if !found {
			t.Fatalf("there are no notes in:\n%s", out)
		}
		return notes
	}
	external := []string{"--set", "redis.mode=external,redis.external.existingSecret=redis"}
	for name, c := range map[string]struct {
		arguments    []string
		says, silent string
	}{
		"bundled Redis":              {nil, "THE BUNDLED REDIS IS FOR A FIRST LOOK", "is lost when the node fails"},
		"bundled Redis, everysec":    {[]string{"--set", "redis.bundled.appendfsync=everysec"}, "is lost when the node fails", ""},
		"no default StorageClass":    {nil, "kubectl get storageclass", ""},
		"external Redis":             {external, "sallyport-master-keys", "BUNDLED"},
		"one password for all":       {nil, "set redis.users=true", ""},
		"a user for each namespace":  {[]string{"--set", "redis.users=true"}, "sallyport-master-keys", "redis.users"},
		"uninstalling refuses":       {nil, "helm uninstall refuses", "WITHOUT"},
		"uninstalling is forced":     {[]string{"--set", "uninstall.force=true"}, "WITHOUT a second factor", "refuses while"},
		"uninstalling is unchecked":  {[]string{"--set", "uninstall.hook=false"}, "nothing checks that", "rollback"},
		"a namespace that is common": {[]string{"--namespace", "default"}, "IS NOT A GOOD PLACE", ""},
		"a namespace of its own":     {nil, "rollout status", "GOOD PLACE"},
		"two replicas, CRDs, TLS":    {nil, "rollout status", "ONE REPLICA"},
		"one replica":                {[]string{"--set", "controller.replicas=1"}, "THERE IS ONE REPLICA", ""},
		"CRDs of somebody else's":    {[]string{"--set", "crd.install=false"}, "crd.install IS FALSE", ""},
		"Redis without TLS":          {[]string{"--set", "redis.mode=external,redis.external.url=redis://r"}, "WITHOUT TLS", "BUNDLED"},
		"Redis with TLS":             {[]string{"--set", "redis.mode=external,redis.external.url=rediss://r"}, "sallyport-master-keys", "WITHOUT TLS"},
		"a refusal, and back":        {nil, "rollback sallyport REVISION", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := notes(t, c.arguments...)
			if !strings.Contains(got, c.says) {
				t.Errorf("the notes do not say %q:\n%s", c.says, got)
			}
			if c.silent != "" && strings.Contains(got, c.silent) {
				t.Errorf("the notes say %q:\n%s", c.silent, got)
			}
		})
	}
}

// Argo CD renders again and again, and takes each difference for a change to be made.
func TestRenderingIsDeterministic(t *testing.T) {
	for _, set := range sets(t) {
		if diff := cmp.Diff(rendered(t, set), rendered(t, set)); diff != "" {
			t.Errorf("%s, rendered twice, differs:\n%s", set, diff)
		}
	}
	impure := regexp.MustCompile(`\b(rand\w*|now|date\w*|gen(CA|PrivateKey|SelfSigned\w*|Signed\w*)|uuidv4|htpasswd|bcrypt|lookup|getHostByName|env|expandenv|derivePassword)\b`)
	action := regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	quoted := regexp.MustCompile(`"(\\.|[^"\\])*"`)
	templates, err := filepath.Glob(folder + "/templates/*")
	if err != nil || len(templates) == 0 {
		t.Fatalf("%d templates: %v", len(templates), err)
	}
	for _, file := range templates {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range action.FindAllString(string(text), -1) {
			// What only refuses an installation, and renders nothing, may ask the cluster.
			if strings.Contains(found, `(lookup "storage.k8s.io/v1" "StorageClass" "" "")`) {
				continue
			}
			if strings.Contains(found, "/*") {
				continue // a comment
			}
			if name := impure.FindString(quoted.ReplaceAllString(found, `""`)); name != "" {
				t.Errorf("%s uses %s: %s", file, name, found)
			}
		}
	}
}

// What enrolments depend upon must not go with the release, and what the controller
// writes must not be fought over.
func TestNothingIsRenderedThatTheControllerOwns(t *testing.T) {
	for _, set := range sets(t) {
		for _, o := range objects(t, set) {
			switch o.GetKind() {
			case "Namespace", "Secret", "PersistentVolumeClaim":
				t.Errorf("%s: %s would go with the release", set, named(o))
			case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding":
				t.Errorf("%s: %s is the controller's to write", set, named(o))
			}
			if o.GetLabels()[mfav1alpha1.ManagedByLabel] != "Helm" {
				t.Errorf("%s: %s has %s=%q, want Helm", set, named(o), mfav1alpha1.ManagedByLabel, o.GetLabels()[mfav1alpha1.ManagedByLabel])
			}
			if o.GetNamespace() != "" && o.GetNamespace() != system {
				t.Errorf("%s: %s is in namespace %s", set, named(o), o.GetNamespace())
			}
		}
	}
}

func TestEverythingFollowsTheReleasesNamespace(t *testing.T) {
	for _, set := range sets(t) {
		text := rendered(t, set, "--namespace", "elsewhere")
		for line := range strings.SplitSeq(text, "\n") {
			if strings.Contains(line, system) && !strings.Contains(line, "wherever it is installed") && !strings.Contains(line, "kubectl -n") {
				t.Errorf("%s: installed elsewhere, it still says %q", set, line)
			}
		}
	}
}

func TestCRDStaysWithItsPolicies(t *testing.T) {
	for _, o := range objects(t, "default") {
		if o.GetKind() == "CustomResourceDefinition" && o.GetAnnotations()["helm.sh/resource-policy"] != "keep" {
			t.Errorf("%s goes with the release, and every policy with it", named(o))
		}
	}
	if _, err := os.Stat(folder + "/crds"); err == nil {
		t.Error("there is a folder crds/, which Helm never upgrades")
	}
}
