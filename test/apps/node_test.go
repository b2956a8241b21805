package apps_test

import (
	"bufio"
	"context"
	"flag"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// onNode has the apps run as their users' do: in containers, of the manifests in
// docs/apps, injected by the operator.
var onNode = flag.Bool("node", false, "run the apps in the cluster of KUBECONFIG, which has Sallyport and their images")

// cluster is where an app runs: its namespace, and its Deployment of the same name as
// its policy.
type cluster struct{ namespace, app string }

// kubectl runs it, in the app's namespace.
func (c cluster) kubectl(ctx context.Context, args ...string) ([]byte, error) {
	return exec.CommandContext(ctx, "kubectl", append([]string{"-n", c.namespace}, args...)...).CombinedOutput()
}

// deploy does what the app's page says, and leads the door to the sidecar of its pod.
func (d *door) deploy(c cluster) {
	d.t.Helper()
	d.t.Cleanup(func() { c.remove(context.WithoutCancel(d.t.Context()), d.t) })
	manifests := filepath.Join("..", "..", "docs", "apps", c.app)
	for _, args := range [][]string{
		{"apply", "-f", filepath.Join(manifests, "app.yaml"), "-f", filepath.Join(manifests, "policy.yaml")},
		{"wait", "--for=condition=InjectionReady", "mfapolicy/" + c.app, "--timeout=60s"},
		{"rollout", "restart", "deployment/" + c.app},
		{"rollout", "status", "deployment/" + c.app, "--timeout=3m"},
		{"wait", "--for=condition=Ready", "mfapolicy/" + c.app, "--timeout=60s"},
	} {
		if out, err := c.kubectl(d.t.Context(), args...); err != nil {
			d.t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	forward := exec.Command("kubectl", "-n", c.namespace, "port-forward", "deployment/"+c.app, ":15080") //nolint:noctx // ended below
	forward.SysProcAttr = dieWithParent()
	said, err := forward.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := forward.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = forward.Process.Kill(); _ = forward.Wait() }) // it was killed
	line, err := bufio.NewReader(said).ReadString('\n')
	port := regexp.MustCompile(`:(\d+) ->`).FindStringSubmatch(line)
	if port == nil {
		d.t.Fatalf("kubectl port-forward says %q: %v", line, err)
	}
	// A browser takes localhost for safe, and keeps the cookies that need TLS elsewhere.
	d.URL = "http://localhost:" + port[1]
}

// remove takes the app away, with what was enrolled.
func (c cluster) remove(ctx context.Context, t *testing.T) {
	t.Helper()
	if t.Failed() {
		for _, args := range [][]string{{"get", "pods,mfapolicies"}, {"logs", "-l", "app=" + c.app, "-c", "sallyport", "--tail=20"}} {
			out, err := c.kubectl(ctx, args...)
			t.Logf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	for _, args := range [][]string{
		{"annotate", "mfapolicies", "--all", "--overwrite", "mfa.sallyport.dev/purge-enrolments=" + c.app},
		{"delete", "deployments", "--all"},
		{"delete", "mfapolicies", "--all", "--timeout=60s"},
		{"delete", "namespace", c.namespace},
	} {
		if out, err := c.kubectl(ctx, args...); err != nil {
			t.Errorf("kubectl %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
}
