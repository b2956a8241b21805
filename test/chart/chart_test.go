package chart_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sallyport/sallyport/test/chart"
)

const (
	root   = "../.."
	folder = root + "/" + chart.Folder
	system = "sallyport-system"
)

var update = flag.Bool("update", false, "write the golden files")

// foreign are the kinds of other projects, which helm template must be told of.
var foreign = []string{
	"cert-manager.io/v1/Certificate", "monitoring.coreos.com/v1/PodMonitor", "monitoring.coreos.com/v1/PrometheusRule",
}

func TestMain(m *testing.M) {
	flag.Parse()
	logf.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

// helm runs Helm with a configuration of its own. The error is what it says to a person.
func helm(t testing.TB, arguments ...string) (string, error) {
	t.Helper()
	program := os.Getenv("HELM")
	if program == "" {
		t.Skip(`no helm: run the tests with "make test", or eval "$(test/setup/install --env)" first`)
	}
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("HELM names no program: %v; test/setup/install --helm builds it", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	command := exec.CommandContext(ctx, program, arguments...)
	home := t.TempDir()
	command.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "HELM") || strings.HasPrefix(v, "KUBE")
	}), "HOME="+home, "XDG_CACHE_HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_DATA_HOME="+home)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%w: %s%s", err, &stderr, &stdout)
	}
	return stdout.String(), nil
}

// template renders the chart as Argo CD does: without a cluster.
func template(t testing.TB, arguments ...string) (string, error) {
	t.Helper()
	return helm(t, append([]string{"template", "sallyport", folder, "--namespace", system}, arguments...)...)
}

// known are the flags that tell Helm of the foreign kinds.
func known() []string {
	var flags []string
	for _, kind := range foreign {
		flags = append(flags, "--api-versions", kind)
	}
	return flags
}

// sets are the sets of values under testdata, by name.
func sets(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/values/*.yaml")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d sets of values: %v", len(files), err)
	}
	for i, file := range files {
		files[i] = strings.TrimSuffix(filepath.Base(file), ".yaml")
	}
	return files
}

// rendered is the text that a set of values makes.
func rendered(t testing.TB, set string, arguments ...string) string {
	t.Helper()
	out, err := template(t, slices.Concat([]string{"--values", "testdata/values/" + set + ".yaml"}, known(), arguments)...)
	if err != nil {
		t.Fatalf("render %s: %v", set, err)
	}
	return out
}

// objects are what a set of values makes.
func objects(t testing.TB, set string, arguments ...string) []*unstructured.Unstructured {
	t.Helper()
	return decode(t, rendered(t, set, arguments...))
}

func decode(t testing.TB, text string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		object := new(unstructured.Unstructured)
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("decode what was rendered: %v", err)
		}
		if len(object.Object) > 0 {
			all = append(all, object)
		}
	}
}

func named(object *unstructured.Unstructured) string {
	return object.GetKind() + " " + object.GetName()
}

// find decodes the one object of a kind and name, and refuses fields that its type
// does not know.
func find[T any](t testing.TB, all []*unstructured.Unstructured, kind, name string) *T {
	t.Helper()
	for _, object := range all {
		if object.GetKind() != kind || object.GetName() != name {
			continue
		}
		typed := new(T)
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, typed, true); err != nil {
			t.Fatalf("%s: %v", named(object), err)
		}
		return typed
	}
	t.Fatalf("there is no %s %s", kind, name)
	return nil
}
