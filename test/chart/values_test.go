package chart_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"github.com/sallyport/sallyport/test/chart"
)

// named by path, as a person finds it in the file.
func TestValuesThatMeanNothingAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		set  string
		says []string
	}{
		"a typo at the top":             {"metric.podMonitor.enabled=true", []string{"'metric' not allowed"}},
		"a typo below":                  {"controller.replica=3", []string{"/controller", "'replica' not allowed"}},
		"a typo far below":              {"redis.bundled.storage.sizes=3Gi", []string{"/redis/bundled/storage", "'sizes' not allowed"}},
		"a typo in an image":            {"sidecar.image.tags=v1", []string{"/sidecar/image", "'tags' not allowed"}},
		"a typo in a toleration":        {"controller.tolerations[0].kee=a", []string{"/controller/tolerations/0", "'kee' not allowed"}},
		"a typo in resources":           {"controller.resources.limit.cpu=1", []string{"/controller/resources", "'limit' not allowed"}},
		"a typo in a Secret's name":     {"redis.external.passwordSecret.nam=a", []string{"/redis/external/passwordSecret", "'nam' not allowed"}},
		"a typo in an affinity":         {"controller.affinity.nodeAfinity.a=b", []string{"/controller/affinity", "'nodeAfinity' not allowed"}},
		"a typo in a NetworkPolicy":     {"networkPolicy.redisFrom[0].namespaceSelectr.a=b", []string{"/networkPolicy/redisFrom/0", "'namespaceSelectr' not allowed"}},
		"text for a number":             {"controller.replicas=two", []string{"/controller/replicas", "want integer"}},
		"too many replicas":             {"controller.replicas=11", []string{"/controller/replicas"}},
		"no replica":                    {"controller.replicas=0", []string{"/controller/replicas"}},
		"text for a switch":             {"certManager.enabled=yes", []string{"/certManager/enabled", "want boolean"}},
		"an unknown mode of Redis":      {"redis.mode=sentinel", []string{"/redis/mode", "'bundled', 'external'"}},
		"a Redis that flushes never":    {"redis.bundled.appendfsync=no", []string{"/redis/bundled/appendfsync"}},
		"no bound of Redis's memory":    {"redis.bundled.maxmemory=0", []string{"/redis/bundled/maxmemory"}},
		"Redis as root":                 {"redis.bundled.runAsUser=0", []string{"/redis/bundled/runAsUser"}},
		"a URL that is none of Redis's": {"redis.external.url=https://redis", []string{"/redis/external/url"}},
		"an authority that is no PEM":   {"redis.external.ca=/etc/ca.crt", []string{"/redis/external/ca"}},
		"an unknown pull policy":        {"image.pullPolicy=Sometimes", []string{"/image/pullPolicy"}},
		"an unknown log level":          {"controller.logLevel=trace", []string{"/controller/logLevel"}},
		"a duration without a unit":     {"controller.resync=30", []string{"/controller/resync"}},
		"a digest that is none":         {"controller.image.digest=sha256:abc", []string{"/controller/image/digest"}},
		"a tag in the repository":       {"controller.image.repository=controller:v1", []string{"/controller/image/repository"}},
		"a URL for the registry":        {"image.registry=https://registry.example.com", []string{"/image/registry"}},
		"a label that is no text":       {"metrics.podMonitor.labels.release=true", []string{"/metrics/podMonitor/labels/release", "want string"}},
		"several faults, each of them":  {"redis.mod=a,controller.replicas=x,crd.instal=true", []string{"'mod'", "/controller/replicas", "'instal'"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := template(t, "--set", "image.registry=registry.example.com", "--set", c.set)
			if err == nil {
				t.Fatalf("--set %s was accepted", c.set)
			}
			for _, says := range c.says {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("--set %s: the message does not say %q: %v", c.set, says, err)
				}
			}
		})
	}
}

func TestValuesThatContradictEachOtherAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ set, says string }{
		"a label that selects":            {`controller.podLabels.app\.kubernetes\.io/name=other`, "controller.podLabels sets app.kubernetes.io/name"},
		"no registry":                     {"image.registry=", "image.registry is empty: set it to"},
		"external Redis, and no address":  {"redis.mode=external", "set redis.external.existingSecret or redis.external.url"},
		"an address, and bundled Redis":   {"redis.external.url=rediss://r", "redis.mode is bundled, and redis.external.url says how another Redis is reached"},
		"a Secret, and bundled Redis":     {"redis.external.existingSecret=r", "redis.mode is bundled, and redis.external.existingSecret"},
		"a Secret and an address":         {"redis.mode=external,redis.external.existingSecret=r,redis.external.url=rediss://r", "put redis.external.url into that Secret"},
		"a password in the URL":           {"redis.mode=external,redis.external.url=rediss://:hunter2@r", "redis.external.url holds an @"},
		"two authorities":                 {"redis.mode=external,redis.external.url=rediss://r,redis.external.ca=-----BEGIN CERTIFICATE-----,redis.external.caSecret.name=r", "name the authority once"},
		"a user of Sentinel, no password": {"redis.mode=external,redis.external.url=rediss+sentinel://r/p,redis.external.sentinel.username=u", "comes with redis.external.sentinel.passwordSecret.name"},
		"TLS, and a URL without":          {"redis.mode=external,redis.external.url=redis://r,redis.external.serverName=r", "redis.external.url is without TLS, and redis.external.serverName is for TLS: write rediss"},
		"Sentinel's, and no Sentinels":    {"redis.mode=external,redis.external.url=rediss://r,redis.external.sentinel.passwordSecret.name=s", "names no Sentinels, and redis.external.sentinel.passwordSecret.name is for them"},
		"Sentinels without a primary":     {"redis.mode=external,redis.external.url=rediss+sentinel://a:26379\\,b:26379", "and not the primary that they watch: write rediss+sentinel://host,host/primary/0"},
		"replicas of no Redis of yours":   {"redis.external.waitReplicas=1", "redis.mode is bundled, and redis.external.waitReplicas"},
		"more than its limit for Redis":   {"redis.bundled.maxmemory=1gb", "redis.bundled.maxmemory is 1gb and redis.bundled.resources.limits.memory 512Mi: Redis would be killed"},
		"as much as its limit, in bytes":  {"redis.bundled.resources.limits.memory=268435456", "Set the limit to twice maxmemory"},
		"forced, and nothing to force":    {"uninstall.force=true,uninstall.hook=false", "set uninstall.hook=true, or leave force out"},
		"cert-manager that is not there":  {"certManager.enabled=true", "certManager.enabled is true, and the cluster has no cert-manager.io/v1/Certificate: install cert-manager first"},
		"PodMonitors that are not there":  {"metrics.podMonitor.enabled=true", "metrics.podMonitor.enabled is true, and the cluster has no monitoring.coreos.com/v1/PodMonitor"},
		"Prometheus rules nowhere to be":  {"metrics.prometheusRule.enabled=true", "--api-versions monitoring.coreos.com/v1/PrometheusRule"},
		"a Kubernetes that is too old":    {"", "kubeVersion: >=1.33.0-0"},
	} {
		t.Run(name, func(t *testing.T) {
			arguments := []string{"--set", "image.registry=registry.example.com", "--set", c.set}
			if c.set == "" {
				arguments = []string{"--kube-version", "1.32.9"}
			}
			_, err := template(t, arguments...)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want it to say %q", err, c.says)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the message quotes a password: %v", err)
			}
		})
	}
	for _, set := range []string{
		"redis.bundled.maxmemory=1gb,redis.bundled.resources.limits.memory=1.5Gi",
		"redis.bundled.maxmemory=1gb,redis.bundled.resources.limits=null",
		"redis.mode=external,redis.external.url=rediss+sentinel://a:26379\\,b:26379/primary",
		"redis.mode=external,redis.external.url=redis+cluster://a:7000\\,b:7000",
	} {
		if _, err := template(t, "--set", "image.registry=registry.example.com", "--set", set); err != nil {
			t.Errorf("--set %s: %v", set, err)
		}
	}
	// What providers call their versions.
	if _, err := template(t, "--kube-version", "v1.33.1-gke.1107000", "--set", "image.registry=registry.example.com"); err != nil {
		t.Errorf("a provider's 1.33: %v", err)
	}
}

// schema is of JSON Schema what ours uses.
type schema struct {
	Ref                  string             `json:"$ref"`
	Properties           map[string]*schema `json:"properties"`
	AdditionalProperties any                `json:"additionalProperties"`
	Type                 any                `json:"type"`
	Items                *schema            `json:"items"`
	Definitions          map[string]*schema `json:"definitions"`
}

func readSchema(t *testing.T) *schema {
	t.Helper()
	text, err := os.ReadFile(folder + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	s := new(schema)
	if err := json.Unmarshal(text, s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchemaAndValuesNameTheSame(t *testing.T) {
	text, err := os.ReadFile(folder + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	s := readSchema(t)
	delete(s.Properties, "global") // Helm's own
	var compare func(path string, at *schema, value any)
	compare = func(path string, at *schema, value any) {
		if name, ok := strings.CutPrefix(at.Ref, "#/definitions/"); ok {
			at = s.Definitions[name]
		}
		mapping, ok := value.(map[string]any)
		if !ok || at.Properties == nil || len(mapping) == 0 {
			return // free within, such as labels
		}
		want, got := slices.Sorted(maps.Keys(at.Properties)), slices.Sorted(maps.Keys(mapping))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("values.yaml at %q (-schema +values):\n%s", path, diff)
			return
		}
		for key, value := range mapping {
			compare(path+"/"+key, at.Properties[key], value)
		}
	}
	compare("", s, values)
}

func TestSchemaIsClosedEverywhere(t *testing.T) {
	// What is within these is Kubernetes' own, or Helm's.
	open := []string{"#/properties/global", "#/definitions/affinity/nodeAffinity", "#/definitions/affinity/podAffinity", "#/definitions/affinity/podAntiAffinity"}
	var walk func(path string, at *schema)
	walk = func(path string, at *schema) {
		if at.Type == "object" && at.AdditionalProperties == nil && !slices.Contains(open, path) {
			t.Errorf("%s takes any key", path)
		}
		if at.AdditionalProperties == true {
			t.Errorf("%s takes any key", path)
		}
		for name, property := range at.Properties {
			sub := path + "/" + name
			if path == "#" {
				sub = "#/properties/" + name
			}
			walk(sub, property)
		}
		for name, definition := range at.Definitions {
			walk("#/definitions/"+name, definition)
		}
		if at.Items != nil {
			walk(path+"/items", at.Items)
		}
	}
	walk("#", readSchema(t))
}

func TestEveryValueSaysWhatItIs(t *testing.T) {
	text, err := os.ReadFile(folder + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	values, err := chart.Values(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(values) < 50 {
		t.Fatalf("%d values", len(values))
	}
	for _, v := range values {
		if !v.Own || len(v.Comment) < 4 || !strings.HasSuffix(v.Comment, ".") {
			t.Errorf("%s has no comment of its own that is a sentence: %q", v.Path, v.Comment)
		}
		if v.Section == "" {
			t.Errorf("%s stands under no heading", v.Path)
		}
	}
}

func TestTableHasARowForEachValue(t *testing.T) {
	const source = `# The file.

# -- First
a:
  # What b is.
  b: ""
  # All of c.
  c:
    d: 1
    e: [x, y]
# -- Second
f:
  # Of both.
  g:
    # A | B.
    h: true
`
	got, err := chart.Table([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	const head = "| value | default | meaning |\n| --- | --- | --- |\n"
	want := "\n### First\n\n" + head + "| `a.b` | `\"\"` | What b is. |\n| `a.c` | `{d: 1, e: [x, y]}` | All of c. |\n" +
		"\n### Second\n\n" + head + "| `f.g.h` | `true` | Of both. A \\| B. |\n\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	for _, wrong := range []string{"", "[a]", "a: [", "a: 1\n---\n: :"} {
		if table, err := chart.Table([]byte(wrong)); err == nil && table != "\n" && wrong != "a: 1\n---\n: :" {
			t.Errorf("a table of %q: %q", wrong, table)
		}
	}
}

// fixed are the flags that the chart does not set, each with why.
var fixed = map[string]string{
	"namespace":       "POD_NAMESPACE says it",
	"service-account": "names are fixed",
	"webhook-service": "names are fixed",
	"webhook-listen":  "the port is the pod's own",
	"webhook-url":     "for an operator outside the cluster",
	"metrics-listen":  "the port is the pod's own",
	"health-listen":   "the port is the pod's own",
	"leader-elect":    "always on",
}

func TestDeploymentSetsEveryFlag(t *testing.T) {
	known := controllerFlags(t)
	set := make(map[string]string)
	for _, name := range sets(t) {
		d := find[appsv1.Deployment](t, objects(t, name), "Deployment", "sallyport-controller")
		for _, argument := range d.Spec.Template.Spec.Containers[0].Args {
			flag, value, ok := strings.Cut(strings.TrimPrefix(argument, "--"), "=")
			if !ok || !strings.HasPrefix(argument, "--") {
				t.Errorf("%s: argument %q is not --flag=value", name, argument)
			}
			if _, ok := known[flag]; !ok {
				t.Errorf("%s: the controller has no flag --%s", name, flag)
			}
			if _, ok := set[flag]; !ok || name == "default" {
				set[flag] = value
			}
		}
	}
	for flag, value := range known {
		got, isSet := set[flag]
		_, isFixed := fixed[flag]
		if isSet == isFixed {
			t.Errorf("--%s: set by the chart: %t, left alone with a reason: %t", flag, isSet, isFixed)
		}
		if isSet && value != "" && got != value {
			t.Errorf("--%s is %s by the chart's defaults and %s by its own", flag, got, value)
		}
	}
}

// controllerFlags are the flags in the controller's source, with the defaults that are
// written there plainly.
func controllerFlags(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), root+"/cmd/controller/main.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	flags := make(map[string]string)
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 4 {
			return true
		}
		function, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains([]string{"StringVar", "BoolVar", "DurationVar", "IntVar"}, function.Sel.Name) {
			return true
		}
		flags[plain(call.Args[1])] = plain(call.Args[2])
		return true
	})
	if len(flags) < 10 {
		t.Fatalf("%d flags in the controller's source", len(flags))
	}
	return flags
}

func plain(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		return strings.Trim(e.Value, `"`)
	case *ast.Ident:
		return e.Name
	case *ast.BinaryExpr: // 30*time.Second
		units := map[string]string{"Second": "s", "Minute": "m", "Hour": "h"}
		if unit, ok := e.Y.(*ast.SelectorExpr); ok {
			return plain(e.X) + units[unit.Sel.Name]
		}
	}
	return ""
}
