package policyfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sidecar/policyfile"
)

// maxPolicyLines is what a policy for somebody else's app may take.
const maxPolicyLines = 25

// The pages about other people's apps show the policies that test/apps proves, to the
// letter, and those are valid and short.
func TestPoliciesForOtherApps(t *testing.T) {
	files, err := filepath.Glob("../../docs/apps/*/policy.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("found %d policies (%v), want those of the apps in docs/apps", len(files), err)
	}
	for _, file := range files {
		app := filepath.Base(filepath.Dir(file))
		t.Run(app, func(t *testing.T) {
			doc := readFile(t, file)
			if n := strings.Count(doc, "\n"); n > maxPolicyLines {
				t.Errorf("the policy has %d lines, want at most %d", n, maxPolicyLines)
			}
			manifest, err := policyfile.Load(file)
			if err != nil {
				t.Fatal(err)
			}
			if manifest.Name != app {
				t.Errorf("the policy is called %q", manifest.Name)
			}
			page := readFile(t, "../../docs/apps/"+app+".md")
			if !strings.Contains(page, "```yaml\n"+doc+"```\n") {
				t.Errorf("docs/apps/%s.md does not show %s as it is", app, file)
			}
			if !strings.Contains(readFile(t, "../../docs/apps/README.md"), "("+app+".md)") {
				t.Errorf("docs/apps/README.md does not link to %s.md", app)
			}
		})
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
