package v1alpha1_test

import (
	"regexp"
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

func TestDocumentationNamesEveryOutcomeOfAReset(t *testing.T) {
	source, doc := string(readFile(t, "mfareset_types.go")), string(readFile(t, "../../docs/mfareset.md"))
	found := regexp.MustCompile(`Condition(?:Type|Reason) += "(\w+)"`).FindAllStringSubmatch(source, -1)
	if len(found) < 5 {
		t.Fatalf("found %d conditions and reasons in the source", len(found))
	}
	for _, m := range found {
		if !strings.Contains(doc, "`"+m[1]+"`") {
			t.Errorf("docs/mfareset.md does not name %s", m[1])
		}
	}
}
