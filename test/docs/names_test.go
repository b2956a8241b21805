package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func read(t *testing.T, files ...string) string {
	t.Helper()
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// Whatever a status, an answer or a probe says in one word can be looked up by that word.
func TestEveryReasonAndCodeIsExplained(t *testing.T) {
	for _, tt := range []struct {
		what    string
		sources []string
		pattern string
		least   int
		pages   []string
	}{
		{
			"condition reason",
			[]string{"api/v1alpha1/*.go"},
			`ConditionReason += "(\w+)"`, 30,
			[]string{"docs/mfapolicy.md", "docs/mfareset.md", "docs/mfaticket.md"},
		},
		{
			"condition reason that is not good",
			[]string{"api/v1alpha1/*.go"},
			`Reason(?:Invalid|NamespaceNotAllowed|SecretUnreadable|OlderPolicyWins|Keys(?:Missing|Unreadable)|Store(?:Unreachable|Lost|Misconfigured)|Not\w+|` +
				`RulesNotInstalled|CertificateNotReady|Deleting|WayAround|Pods\w+|NothingToReset|EnrolledSince|PolicyNotFound|Expired|Replaced|Interrupted) +ConditionReason = "(\w+)"`, 20,
			[]string{"docs/troubleshooting.md"},
		},
		{"condition", []string{"api/v1alpha1/*.go"}, `ConditionType = "(\w+)"`, 9, []string{"docs/mfapolicy.md", "docs/mfareset.md", "docs/mfaticket.md"}},
		{
			"event",
			[]string{"controllers/*.go"},
			`Events\.Eventf\([^"\n]*, "(\w+)", "`, 1,
			[]string{"docs/mfapolicy.md"},
		},
		{
			"code of an answer",
			[]string{"sidecar/server/*.go", "sidecar/web/*.go", "sidecar/proxy/*.go"},
			`(?:[cC]ode:|[cC]ode =|Code\w+ += )\s*"(\w+)"`, 12,
			[]string{"docs/troubleshooting.md"},
		},
		{"reason of an identity", []string{"sidecar/identity/*.go"}, `Reason = "(\w+)"`, 6, []string{"docs/troubleshooting.md"}},
		{"check of /readyz", []string{"sidecar/server/health.go"}, `check[A-Z]\w+ += "(\w+)"`, 5, []string{"docs/troubleshooting.md"}},
		{"result of an attempt", []string{"sidecar/mfa/events.go"}, `Result = "(\w+)"`, 5, []string{"docs/audit-events.md"}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			doc, found := read(t, tt.pages...), make(map[string]bool)
			for _, source := range tt.sources {
				files, err := filepath.Glob(filepath.Join(root, source))
				if err != nil {
					t.Fatal(err)
				}
				for _, file := range files {
					if strings.HasSuffix(file, "_test.go") {
						continue
					}
					for _, match := range regexp.MustCompile(tt.pattern).FindAllStringSubmatch(read(t, strings.TrimPrefix(file, root)), -1) {
						found[match[1]] = true
					}
				}
			}
			if len(found) < tt.least {
				t.Fatalf("found %d in the source, want at least %d: the pattern no longer fits", len(found), tt.least)
			}
			for name := range found {
				if !strings.Contains(doc, "`"+name+"`") {
					t.Errorf("%s does not explain %s", strings.Join(tt.pages, ", "), name)
				}
			}
		})
	}
}

// The exit codes of the programs.
func TestEveryExitCodeIsExplained(t *testing.T) {
	doc := strings.ToLower(read(t, "docs/troubleshooting.md"))
	codes := regexp.MustCompile(`exit\w+ += (\d)`).FindAllStringSubmatch(read(t, "cmd/controller/main.go", "cmd/sidecar/main.go"), -1)
	if len(codes) < 3 {
		t.Fatalf("found %d exit codes", len(codes))
	}
	for _, found := range codes {
		if !strings.Contains(doc, "exit code "+found[1]) {
			t.Errorf("docs/troubleshooting.md does not explain exit code %s", found[1])
		}
	}
}
