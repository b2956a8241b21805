// Package layers holds the module to its design: which package may import which,
// what the sidecar binary links, and how large a source file may grow.
//
// It imports nothing of ours: it reads the code, it does not run it. It must never
// be loosened to let a change pass; a new package is added to the table, on the
// level that docs/architecture.md gives it.
package layers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	module = "github.com/sallyport/sallyport"
	root   = "../.."
)

// levels is the table, with the numbers of docs/architecture.md: a package imports
// only packages of lower levels.
var levels = map[string]int{
	"api/policy":            -1,
	"sidecar/identity/wire": -1,
	"sidecar/recent":        -1,

	"api/v1alpha1": 0,

	// Written by make generate, for those who apply policies from a program.
	"api/applyconfiguration/internal":     1,
	"api/applyconfiguration/api/policy":   1,
	"api/applyconfiguration/api/v1alpha1": 2,

	"sidecar/appconn":  0,
	"sidecar/identity": 0,
	"sidecar/probe":    0,
	"sidecar/redirect": 0,
	"sidecar/seal":     0,
	"sidecar/totp":     0,

	"controllers/admission": 1,
	"controllers/certs":     1,
	"controllers/injection": 1,
	"controllers/selection": 1,
	"sidecar/mfa":           1,
	"sidecar/session":       1,

	"controllers/guard":   2,
	"controllers/rollout": 2,
	"controllers/webhook": 2,
	"sidecar/authz":       2,
	"sidecar/control":     2,
	"sidecar/policyfile":  2,
	"sidecar/proxy":       2,
	"sidecar/redisstore":  2,
	"sidecar/upstream":    2,
	"sidecar/web/pages":   2,

	"controllers/keys": 3,
	"sidecar/web":      3,

	"controllers":          4,
	"sidecar/server":       4,
	"cmd/workspace/portal": 4,

	"cmd/controller": 5,
	"cmd/demo":       5,
	"cmd/sidecar":    5,
	"cmd/workspace":  5,
}

// sideways are the imports within one level that the design allows.
var sideways = map[edge]bool{
	{"sidecar/session", "sidecar/mfa"}: true,
}

// leaves import nothing of ours. The portal is the app behind the door: if it
// knew the sidecar, the demo would prove nothing.
var leaves = []string{"api/policy", "cmd/workspace/portal"}

// helpers serve tests; no program may link them.
var helpers = []string{"sidecar/redisstore/redistest", "sidecar/redisstore/storetest"}

type edge struct{ from, to string }

// listed is what `go list -json` says of a package.
type listed struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func TestImportGraphIsTheDesigns(t *testing.T) {
	var pkgs []listed
	decoder := json.NewDecoder(bytes.NewReader(golist(t, "-json=ImportPath,Imports,TestImports,XTestImports", "./...")))
	for {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("read go list's answer: %v", err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) < 2 {
		t.Fatalf("go list names %d packages", len(pkgs))
	}
	for _, fault := range faults(pkgs) {
		t.Error(fault)
	}
}

func TestSidecarLinksNeitherKubernetesNorTestCode(t *testing.T) {
	deps := strings.Fields(string(golist(t, "-deps", "./cmd/sidecar")))
	if !slices.Contains(deps, module+"/cmd/sidecar") {
		t.Fatalf("go list does not name cmd/sidecar among its %d dependencies", len(deps))
	}
	for _, dep := range deps {
		for _, banned := range []string{"k8s.io", "sigs.k8s.io", "testing", "net/http/httptest", "github.com/alicebob/miniredis", "github.com/chromedp"} {
			if dep == banned || strings.HasPrefix(dep, banned+"/") {
				t.Errorf("cmd/sidecar links %s", dep)
			}
		}
	}
}

// maxSidecarSize is in bytes. The sidecar runs in every pod of an app: each is
// pulled to every node, and what is linked is in part read into memory.
const maxSidecarSize = 20_000_000

// One call by name that the linker cannot see through, such as html/template's of
// methods, keeps every method of every type, and costs eight megabytes at once.
func TestSidecarStaysSmall(t *testing.T) {
	program := filepath.Join(t.TempDir(), "sidecar")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "./cmd/sidecar")
	cmd.Dir = root
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	built, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	if size := built.Size(); size > maxSidecarSize {
		t.Errorf("cmd/sidecar has %d bytes, at most %d", size, maxSidecarSize)
	}
}

func TestEveryDirectDependencyHasItsReason(t *testing.T) {
	const page = "docs/dependencies.md"
	doc, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	direct := strings.Fields(string(golist(t, "-m", "-f", "{{if not (or .Main .Indirect)}}{{.Path}}{{end}}", "all")))
	if len(direct) == 0 {
		t.Fatal("go.mod names no direct dependency: run go mod tidy")
	}
	for _, path := range direct {
		if !slices.Contains(strings.FieldsFunc(string(doc), func(r rune) bool { return strings.ContainsRune(" |,\n", r) }), path) {
			t.Errorf("%s does not say why we need %s", page, path)
		}
	}
}

// TestFaultsAreFound plants each kind of violation in a small graph.
func TestFaultsAreFound(t *testing.T) {
	for _, tt := range []struct {
		name string
		give listed
		want []string
	}{
		{"downwards is allowed", pkg("sidecar/web", "sidecar/mfa", "api/policy"), nil},
		{"third party is not judged", pkg("sidecar/web", "github.com/go-chi/chi/v5"), nil},
		{"a listed neighbor is allowed", pkg("sidecar/session", "sidecar/mfa"), nil},
		{"the other way round is not", pkg("sidecar/mfa", "sidecar/session"), []string{"sidecar/mfa imports sidecar/session of the same level"}},
		{"upwards", pkg("sidecar/mfa", "sidecar/redisstore"), []string{"sidecar/mfa imports sidecar/redisstore of a higher level"}},
		{"neighbor", pkg("sidecar/proxy", "sidecar/authz"), []string{"sidecar/proxy imports sidecar/authz of the same level"}},
		{"policy beyond the standard library", pkg("api/policy", "go.yaml.in/yaml/v3", "encoding/json"), []string{"api/policy imports go.yaml.in/yaml/v3: it may import the standard library only"}},
		{"portal knows the product", pkg("cmd/workspace/portal", "api/policy"), []string{"cmd/workspace/portal imports api/policy: it may import nothing of ours"}},
		{"a program imported", pkg("sidecar/server", "cmd/sidecar"), []string{"sidecar/server imports cmd/sidecar of a higher level"}},
		{"server imports the portal", pkg("sidecar/server", "cmd/workspace/portal"), []string{"sidecar/server imports cmd/workspace/portal of the same level"}},
		{"demo imports the portal", pkg("cmd/demo", "cmd/workspace/portal", "sidecar/server"), nil},
		{"demo imports a program", pkg("cmd/demo", "cmd/workspace"), []string{"cmd/demo imports cmd/workspace of the same level"}},
		{"unlisted", pkg("sidecar/util"), []string{"sidecar/util is not in the table: add it to the table in test/layers, on its level"}},
		{"unlisted import", pkg("sidecar/web", "sidecar/util"), []string{"sidecar/web imports sidecar/util, which is not in the table: add it to the table in test/layers, on its level"}},
		{"a program links a test helper", pkg("sidecar/server", "sidecar/redisstore/redistest"), []string{"sidecar/server imports sidecar/redisstore/redistest, which is for tests only"}},
		{"a helper uses a helper", pkg("sidecar/redisstore/storetest", "sidecar/redisstore/redistest", "sidecar/mfa"), nil},
		{"a test uses a helper and a higher level", listed{ImportPath: module + "/sidecar/mfa", XTestImports: []string{module + "/sidecar/redisstore/redistest", module + "/sidecar/redisstore"}}, nil},
		{"a test imports a program", listed{ImportPath: module + "/sidecar/server", TestImports: []string{module + "/cmd/demo"}}, []string{"sidecar/server's tests import cmd/demo: nothing imports a program"}},
		{"a test of the whole uses the portal", pkg("test/browser", "cmd/workspace/portal", "sidecar/server"), nil},
		{"a test of the whole imports a program", pkg("test/browser", "cmd/demo"), []string{"test/browser imports cmd/demo: nothing imports a program"}},
		{"product code imports test code", pkg("sidecar/web", "test/browser"), []string{"sidecar/web imports test/browser, which is for tests only"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, faults([]listed{tt.give})); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// faults says what of the graph is not the table's.
func faults(pkgs []listed) []string {
	var found []string
	for _, p := range pkgs {
		from := short(p.ImportPath)
		if _, ok := levels[from]; !ok && !forTests(from) {
			found = append(found, from+" is not in the table: add it to the table in test/layers, on its level")
			continue
		}
		for _, path := range p.Imports {
			if fault := judge(from, path); fault != "" {
				found = append(found, fault)
			}
		}
		for _, path := range slices.Concat(p.TestImports, p.XTestImports) {
			if to := short(path); isProgram(to) {
				found = append(found, fmt.Sprintf("%s's tests import %s: nothing imports a program", from, to))
			}
		}
	}
	return found
}

// judge returns what is wrong with an import, "" if nothing is.
func judge(from, path string) string {
	ours := path == module || strings.HasPrefix(path, module+"/")
	if !ours {
		if host, _, _ := strings.Cut(path, "/"); from == "api/policy" && strings.Contains(host, ".") {
			return fmt.Sprintf("%s imports %s: it may import the standard library only", from, path)
		}
		return ""
	}
	to := short(path)
	level, known := levels[to]
	switch {
	case slices.Contains(leaves, from):
		return fmt.Sprintf("%s imports %s: it may import nothing of ours", from, to)
	case forTests(from) && isProgram(to):
		return fmt.Sprintf("%s imports %s: nothing imports a program", from, to)
	case forTests(from):
		return ""
	case forTests(to):
		return fmt.Sprintf("%s imports %s, which is for tests only", from, to)
	case !known:
		return fmt.Sprintf("%s imports %s, which is not in the table: add it to the table in test/layers, on its level", from, to)
	case level > levels[from]:
		return fmt.Sprintf("%s imports %s of a higher level", from, to)
	case level == levels[from] && !sideways[edge{from, to}]:
		return fmt.Sprintf("%s imports %s of the same level", from, to)
	}
	return ""
}

func forTests(p string) bool { return strings.HasPrefix(p, "test/") || slices.Contains(helpers, p) }

func isProgram(p string) bool { return strings.HasPrefix(p, "cmd/") && p != "cmd/workspace/portal" }

func short(path string) string { return strings.TrimPrefix(path, module+"/") }

// pkg is a package of ours; imports without a dot in them are ours as well,
// unless they are of the standard library.
func pkg(path string, imports ...string) listed {
	p := listed{ImportPath: module + "/" + path}
	for _, i := range imports {
		if first, _, _ := strings.Cut(i, "/"); slices.Contains([]string{"api", "cmd", "sidecar", "test"}, first) {
			i = module + "/" + i
		}
		p.Imports = append(p.Imports, i)
	}
	return p
}

func golist(t *testing.T, args ...string) []byte {
	t.Helper()
	// With the sidecar's profile, a package is listed once more for it, under a name of its own.
	list := exec.CommandContext(t.Context(), "go", append([]string{"list", "-pgo=off"}, args...)...)
	list.Dir = root
	var stderr bytes.Buffer
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}
