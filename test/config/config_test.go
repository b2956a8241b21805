// Package config_test holds config/ to what a cluster makes of it: a real API server
// must accept what is rendered, the operator must be able to do its work with the
// rights that it is given, and nothing beyond.
package config_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sallyport/sallyport/test/apiserver"
)

const (
	root   = "../.."
	system = "sallyport-system"
	tenant = "acme"
)

var update = flag.Bool("update", false, "write the golden files")

// server is shared by every test that needs the current API server only.
var server *apiserver.Server

func TestMain(m *testing.M) {
	flag.Parse()
	logf.SetLogger(logr.Discard())
	os.Exit(run(m))
}

func run(m *testing.M) int {
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		return m.Run() // the tests that need it say so
	}
	s, stop, err := apiserver.Run(assets)
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the API server:", err)
		return 1
	}
	defer func() { _ = stop() }() // the process ends anyway
	server = s
	return m.Run()
}

// shared is the shared API server, with the operator's namespace and a tenant's.
func shared(t testing.TB) *apiserver.Server {
	t.Helper()
	if server == nil {
		t.Skip(`no API server: run the tests with "make test", or eval "$(test/setup/install --env)" first`)
	}
	prepare(t, server)
	return server
}

// prepare makes the operator's namespace as config/namespace has it, and a tenant's.
func prepare(t testing.TB, s *apiserver.Server) {
	t.Helper()
	apply(t, s.Client, render(t, "config/namespace"))
	err := s.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tenant}})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatalf("create namespace %s: %v", tenant, err)
	}
}

func kubectl(t testing.TB) string {
	t.Helper()
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		t.Skip(`no kubectl: run the tests with "make test", or eval "$(test/setup/install --env)" first`)
	}
	return filepath.Join(assets, "kubectl")
}

// render is what `kubectl kustomize` makes of a folder of the module.
func render(t testing.TB, folder string) []*unstructured.Unstructured {
	t.Helper()
	var stderr bytes.Buffer
	command := exec.CommandContext(t.Context(), kubectl(t), "kustomize", filepath.Join(root, folder))
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("kustomize %s: %v\n%s", folder, err, &stderr)
	}
	if stderr.Len() > 0 {
		t.Errorf("kustomize %s warns: %s", folder, &stderr)
	}
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(out), 4096)
	for {
		object := new(unstructured.Unstructured)
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("decode what kustomize made of %s: %v", folder, err)
		}
		objects = append(objects, object)
	}
}

// apply applies objects as an administrator does with kubectl.
func apply(t testing.TB, c client.Client, objects []*unstructured.Unstructured, options ...client.ApplyOption) {
	t.Helper()
	options = append(options, client.FieldOwner("kubectl"), client.ForceOwnership)
	for _, object := range objects {
		// The answer is written into what is applied, and another test applies the same.
		err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object.DeepCopy()), options...)
		if err != nil {
			t.Errorf("apply %s: %v", named(object), err)
		}
	}
}

func named(object *unstructured.Unstructured) string {
	return object.GetKind() + " " + object.GetName()
}

// find decodes the one object of a kind and name.
func find[T any](t testing.TB, objects []*unstructured.Unstructured, kind, name string) *T {
	t.Helper()
	for _, object := range objects {
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

// eventually waits for what an API server learns with some delay.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within 20 seconds", what)
		case <-tick.C:
		}
	}
}
