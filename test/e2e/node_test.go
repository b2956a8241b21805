// Package e2e proves the product as its users have it: installed by its Helm chart on a
// real Kubernetes node, in front of real containers, seen through a real browser.
//
// It comes in by helm, kubectl, the Kubernetes API, HTTP and the browser, and must never
// reach into the product. test/e2e/run gives it a node of its own, or the cluster that
// KUBECONFIG names.
package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/test/await"
)

const (
	root = "../.."
	// system is the operator's namespace.
	system = "sallyport-system"
	// patience is how long anything here may take on a busy machine.
	patience = 3 * time.Minute
)

// node is the cluster under test.
type node struct {
	client.Client
	// ours is a node of test/cluster, whose processes can be killed.
	ours bool
	// repository and version name the images.
	repository, version, next string
	// address of the node.
	address string

	helm, kubectl string
}

// connect reaches the cluster that the environment names.
func connect(t *testing.T) *node {
	t.Helper()
	n := &node{
		ours: os.Getenv("CLUSTER") != "existing", repository: env("REPOSITORY", "sallyport.test"), version: env("VERSION", "dev"), next: env("NEXT", "next"),
		helm: os.Getenv("HELM"), kubectl: filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"),
	}
	if os.Getenv("KUBECONFIG") == "" || n.helm == "" {
		t.Fatal("KUBECONFIG and HELM are not set: run this by test/e2e/run, or `make e2e`")
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatalf("read KUBECONFIG: %v", err)
	}
	config.QPS = -1
	scheme := clientgoscheme.Scheme
	if err := mfav1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if n.Client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		t.Fatalf("reach the cluster: %v", err)
	}
	nodes := new(corev1.NodeList)
	if err := n.List(t.Context(), nodes); err != nil || len(nodes.Items) == 0 {
		t.Fatalf("list the nodes: %d, %v", len(nodes.Items), err)
	}
	for _, a := range nodes.Items[0].Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			n.address = a.Address
		}
	}
	return n
}

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// run runs a command and returns what it printed.
func run(ctx context.Context, input, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, out.String())
	}
	return out.String(), err
}

// mustRun fails the test where the command does.
func mustRun(t *testing.T, input, name string, args ...string) string {
	t.Helper()
	out, err := run(t.Context(), input, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// k runs kubectl.
func (n *node) k(t *testing.T, args ...string) string {
	t.Helper()
	return mustRun(t, "", n.kubectl, args...)
}

// shell runs commands as they stand in a page or in a status, with kubectl and helm.
func (n *node) shell(t *testing.T, commands string) string {
	t.Helper()
	path := filepath.Dir(n.kubectl) + ":" + filepath.Dir(n.helm)
	return mustRun(t, "", "bash", "-c", "set -euo pipefail; cd "+root+"; PATH="+path+":$PATH\n"+commands)
}

// apply hands a manifest to kubectl.
func (n *node) apply(t *testing.T, manifest string) {
	t.Helper()
	mustRun(t, manifest, n.kubectl, "apply", "--server-side", "-f", "-")
}

// enter runs a command on the node.
func (n *node) enter(t *testing.T, args ...string) {
	t.Helper()
	if !n.ours {
		t.Skip("this needs a node of test/cluster: it kills processes of the node")
	}
	mustRun(t, "", filepath.Join(root, "test/cluster/enter"), args...)
}

// images fills in where a manifest's images come from.
func (n *node) images(manifest string) string {
	return strings.NewReplacer("REPOSITORY", n.repository, "VERSION", n.version).Replace(manifest)
}

// namespace makes one that goes with the test.
func (n *node) namespace(t *testing.T, name string, labels ...string) {
	t.Helper()
	n.goesWith(t, name)
	n.apply(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+name+", labels: {"+strings.Join(labels, ", ")+"}}\n")
}

// goesWith has a namespace be gone when the test has ended. Where that failed, it says
// before that what was in it.
func (n *node) goesWith(t *testing.T, name string) {
	t.Helper()
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if t.Failed() {
			n.explain(ctx, t, name)
		}
		limited, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		// Enrolments outlive a policy, and its namespace: another run on the same cluster would
		// find them.
		for _, args := range [][]string{
			{"annotate", "mfapolicies", "--all", "--overwrite", mfav1alpha1.PurgeAnnotation + "=portal"},
			{"delete", "deployments,jobs,pods", "--all", "--wait=false"},
			{"delete", "mfapolicies", "--all", "--timeout=60s"},
			{"delete", "namespace", name, "--ignore-not-found"},
		} {
			if _, err := run(limited, "", n.kubectl, append([]string{"-n", name}, args...)...); err != nil && !strings.Contains(err.Error(), "not found") {
				t.Errorf("clean up: %v", err)
			}
		}
	})
}

// explain logs what somebody would look at first.
func (n *node) explain(ctx context.Context, t *testing.T, namespace string) {
	t.Helper()
	for _, question := range [][]string{
		{"get", "pods,mfapolicies", "-o", "wide"},
		{"get", "mfapolicies", "-o", "yaml"},
		{"get", "events", "--sort-by=.lastTimestamp"},
		{"logs", "-l", "app=portal", "-c", mfav1alpha1.SidecarContainer, "--tail=15", "--prefix"},
	} {
		out, err := run(ctx, "", n.kubectl, append([]string{"-n", namespace}, question...)...)
		t.Logf("kubectl -n %s %s (%v)\n%s", namespace, strings.Join(question, " "), err, out)
	}
}

// until waits for something that happens in its own time.
func until(t *testing.T, what string, try func(context.Context) error) {
	t.Helper()
	await.Until(t, patience, what, try)
}

// podsOf are the running pods with a label app that are not about to go.
func (n *node) podsOf(ctx context.Context, namespace, app string) ([]corev1.Pod, error) {
	list := new(corev1.PodList)
	if err := n.List(ctx, list, client.InNamespace(namespace), client.MatchingLabels{"app": app}); err != nil {
		return nil, fmt.Errorf("list the pods of %s: %w", namespace, err)
	}
	var pods []corev1.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil && pod.Status.Phase == corev1.PodRunning {
			pods = append(pods, pod)
		}
	}
	return pods, nil
}

// containerID is the name that the runtime gave a container of a pod last.
func containerID(t *testing.T, pod *corev1.Pod, name string) string {
	t.Helper()
	for _, s := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
		if _, id, ok := strings.Cut(s.ContainerID, "://"); ok && s.Name == name {
			return id
		}
	}
	t.Fatalf("pod %s has no running container %s", pod.Name, name)
	return ""
}

// crash kills a container's process, as a crash would.
func (n *node) crash(t *testing.T, pod *corev1.Pod, container string) {
	t.Helper()
	id := containerID(t, pod, container)
	n.enter(t, "ctr", "--address", "/run/containerd/containerd.sock", "-n", "k8s.io", "tasks", "kill",
		"--signal", "SIGKILL", id)
	until(t, "the kubelet has started container "+container+" again", func(ctx context.Context) error {
		if err := n.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		if now := containerID(t, pod, container); now == id {
			return errors.New("it is the same still")
		}
		return nil
	})
}

// differ says how what was found differs from what is wanted.
func differ(want, got any) error {
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("(-want +got):\n%s", diff)
	}
	return nil
}

func keyOf(namespace, name string) client.ObjectKey {
	return client.ObjectKey{Namespace: namespace, Name: name}
}
