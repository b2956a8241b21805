package e2e_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var smoke = flag.Bool("smoke", false, "run only the parts that every change is tried by")

// parts are run one after the other on one installation; the last ends it.
var parts = []struct {
	name  string
	smoke bool
	run   func(*testing.T, *node)
}{
	{"quick start", true, quickstart},
	{"story", true, story},
	{"flips", true, flips},
	{"replicas", false, replicas},
	{"rolling restart", false, rollingRestart},
	{"killed", false, killed},
	{"redirect", false, captureRedirect},
	{"port", false, capturePort},
	{"workloads", false, workloads},
	{"refusals", false, refusals},
	{"key rotation", false, keyRotation},
	{"upgrade", false, chartUpgrade},
	{"apps", false, apps},
	{"uninstall", true, uninstall},
}

// TestNode installs the chart once and runs every part on it.
func TestNode(t *testing.T) {
	n := connect(t)
	n.install(t)
	for _, part := range parts {
		if *smoke && !part.smoke {
			continue
		}
		t.Run(part.name, func(t *testing.T) { part.run(t, n) })
	}
}

// apps runs the tests of other people's apps on the node: test/apps.
func apps(t *testing.T, n *node) {
	t.Setenv("PATH", filepath.Dir(n.kubectl)+":"+os.Getenv("PATH"))
	t.Log(mustRun(t, "", "go", "test", "-count=1", "-timeout", "10m", "-v", "../apps", "-node"))
}
