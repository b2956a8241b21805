package operator

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// ServiceAccount that the operator runs as.
const ServiceAccount = "sallyport-controller"

// grant gives the operator's service account the rights that config/rbac says, and
// no others: every test proves at the same time that they suffice.
func (c *Cluster) grant() {
	c.t.Helper()
	for _, name := range []string{"role.yaml", "role_binding.yaml"} {
		file, err := os.ReadFile(filepath.Join(root(), "config", "rbac", name))
		if err != nil {
			c.t.Fatalf("read the operator's rights: %v", err)
		}
		for documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(file), 4096); ; {
			object := new(unstructured.Unstructured)
			err := documents.Decode(&object.Object)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				c.t.Fatalf("read %s: %v", name, err)
			}
			if len(object.Object) == 0 || object.GroupVersionKind().Group != rbacv1.GroupName {
				continue
			}
			if err := c.Client.Create(c.t.Context(), object); err != nil && !apierrors.IsAlreadyExists(err) {
				c.t.Fatalf("grant %s %s: %v", object.GetKind(), object.GetName(), err)
			}
		}
	}
}

// Kubectl runs a line of shell as a person would who administers the cluster, and
// returns what it printed. kubectl is that of the tests' Kubernetes.
func (c *Cluster) Kubectl(line string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-ec", line)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.admin, "HOME="+c.dir,
		"PATH="+os.Getenv("KUBEBUILDER_ASSETS")+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// Controller runs the operator's program with these arguments, as an administrator
// would, and returns what it printed and its exit code.
func (c *Cluster) Controller(arguments ...string) (output string, code int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(c.t, "controller", !c.Plain), arguments...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.admin, "POD_NAMESPACE="+Namespace)
	out, err := cmd.CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		c.t.Fatalf("run the controller: %v", err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}
