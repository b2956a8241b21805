package chart_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// metric finds what an expression measures.
var metric = regexp.MustCompile(`\b(sallyport|controller_runtime)_[a-z_]+`)

// documented fails for a metric that docs/operations.md does not have: one that does not
// exist would never alert.
func documented(t *testing.T, where, expression string) {
	t.Helper()
	text, err := os.ReadFile(root + "/docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	names := metric.FindAllString(expression, -1)
	if len(names) == 0 {
		t.Errorf("%s measures nothing of ours: %s", where, expression)
	}
	for _, name := range names {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, suffix)
		}
		if !regexp.MustCompile("`" + name + `\b`).Match(text) {
			t.Errorf("%s measures %s, which docs/operations.md does not name", where, name)
		}
	}
	if strings.Count(expression, "(") != strings.Count(expression, ")") || strings.Count(expression, "{") != strings.Count(expression, "}") {
		t.Errorf("%s: brackets do not match: %s", where, expression)
	}
}

func TestAlertsMeasureWhatThereIsAndSayWhatToDo(t *testing.T) {
	type alert struct {
		Alert       string            `json:"alert"`
		Expr        string            `json:"expr"`
		For         string            `json:"for"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	}
	seen := make(map[string]bool)
	for _, file := range []string{"operator", "sidecars"} {
		text, err := os.ReadFile(folder + "/rules/" + file + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		var alerts []alert
		if err := yaml.UnmarshalStrict(text, &alerts); err != nil {
			t.Fatal(err)
		}
		for _, a := range alerts {
			documented(t, a.Alert, a.Expr)
			if a.Labels["severity"] != "critical" && a.Labels["severity"] != "warning" {
				t.Errorf("%s has severity %q", a.Alert, a.Labels["severity"])
			}
			if a.Annotations["summary"] == "" || len(a.Annotations["description"]) < 80 {
				t.Errorf("%s does not say what is wrong and what to do", a.Alert)
			}
			if seen[a.Alert] {
				t.Errorf("%s is there twice", a.Alert)
			}
			seen[a.Alert] = true
		}
	}
	// The page names alerts too; they are the same.
	page, err := os.ReadFile(root + "/docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(page), -1) {
		if !seen[found[1]] {
			t.Errorf("docs/operations.md has alert %s, and the chart has not", found[1])
		}
	}
}

func TestDashboardMeasuresWhatThereIs(t *testing.T) {
	var dashboard struct {
		Title  string `json:"title"`
		UID    string `json:"uid"`
		Panels []struct {
			ID      int                                          `json:"id"`
			Title   string                                       `json:"title"`
			Type    string                                       `json:"type"`
			GridPos struct{ H, W, X, Y int }                     `json:"gridPos"`
			Targets []struct{ RefID, Expr, LegendFormat string } `json:"targets"`
		} `json:"panels"`
	}
	text := find[corev1.ConfigMap](t, objects(t, "metrics"), "ConfigMap", "sallyport-dashboard").Data["sallyport.json"]
	if err := json.Unmarshal([]byte(text), &dashboard); err != nil {
		t.Fatal(err)
	}
	ids := make(map[int]bool)
	taken := make(map[[2]int]string)
	for _, panel := range dashboard.Panels {
		if ids[panel.ID] || panel.Title == "" {
			t.Errorf("panel %d %q: its number is taken or it has no title", panel.ID, panel.Title)
		}
		ids[panel.ID] = true
		for x := panel.GridPos.X; x < panel.GridPos.X+panel.GridPos.W; x++ {
			for y := panel.GridPos.Y; y < panel.GridPos.Y+panel.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q lies over %q, or beyond the edge", panel.Title, other)
				}
				taken[[2]int{x, y}] = panel.Title
			}
		}
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("panel %q shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			documented(t, panel.Title, target.Expr)
		}
	}
}
