package v1alpha1_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The page must name whatever a person can meet in a policy.
func TestDocumentationNamesEverything(t *testing.T) {
	doc := string(readFile(t, "../../docs/mfapolicy.md"))
	var names []string
	for _, file := range []string{"conditions.go", "well_known.go"} {
		for _, m := range regexp.MustCompile(`Condition(?:Type|Reason) += "(\w+)"`).FindAllStringSubmatch(string(readFile(t, file)), -1) {
			names = append(names, "`"+m[1]+"`")
		}
		for _, m := range regexp.MustCompile(`Annotation += GroupName \+ "(/[\w-]+)"`).FindAllStringSubmatch(string(readFile(t, file)), -1) {
			names = append(names, "`mfa.sallyport.dev"+m[1]+"`")
		}
	}
	if len(names) < 40 {
		t.Fatalf("found %d conditions, reasons and annotations in the source, want all of them", len(names))
	}
	for line := range strings.Lines(string(readFile(t, "../policy/testdata/fields.golden"))) {
		field, _, _ := strings.Cut(line, " ")
		field = strings.TrimRight(field, "[]{}")
		// Both are explained by Kubernetes.
		if !strings.HasPrefix(field, "spec.selector.") {
			names = append(names, field[strings.LastIndexByte(field, '.')+1:]+"`")
		}
	}
	for _, name := range names {
		if !strings.Contains(doc, name) {
			t.Errorf("docs/mfapolicy.md does not name %s", name)
		}
	}
}

// What a condition's comment says can come of an MFAReset or an MFATicket is on its page.
func TestDocumentationNamesEveryOutcome(t *testing.T) {
	for _, tt := range []struct {
		kind  string
		least int
	}{{"mfareset", 8}, {"mfaticket", 9}} {
		t.Run(tt.kind, func(t *testing.T) {
			source, doc := string(readFile(t, tt.kind+"_types.go")), string(readFile(t, "../../docs/"+tt.kind+".md"))
			var names []string
			for _, m := range regexp.MustCompile(`Condition(?:Type|Reason) += "(\w+)"`).FindAllStringSubmatch(source, -1) {
				names = append(names, m[1])
			}
			comment := regexp.MustCompile(`(?s)\n// Condition\w+ of an .*?\nconst `).FindString(source)
			for _, list := range regexp.MustCompile(`: (\w+(?:, \w+)*)\.`).FindAllStringSubmatch(strings.ReplaceAll(comment, "\n// ", " "), -1) {
				names = append(names, strings.Split(list[1], ", ")...)
			}
			slices.Sort(names)
			if names = slices.Compact(names); len(names) < tt.least {
				t.Fatalf("found %d conditions and reasons in the source: %q", len(names), names)
			}
			for _, name := range names {
				if !strings.Contains(doc, "`"+name+"`") {
					t.Errorf("docs/%s.md does not name %s", tt.kind, name)
				}
			}
		})
	}
}
