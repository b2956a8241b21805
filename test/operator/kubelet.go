package operator

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/test/stack"
)

// Sidecar is the sidecar of a pod, run as a process from the pod's own spec.
type Sidecar struct {
	// URL of its traffic port, OpsURL of its operations port.
	URL, OpsURL string

	process *Process
}

// RunSidecar does what a kubelet would do with the sidecar of a pod that was admitted:
// it mounts the Secret, keeps the mount up to date, and starts the container's
// command. What cannot be the same without a pod's own network and files is replaced:
// the two listening addresses, the app's origin, and the mount's path.
func (c *Cluster) RunSidecar(pod *corev1.Pod, app string) *Sidecar {
	c.t.Helper()
	at := slices.IndexFunc(pod.Spec.InitContainers, func(i corev1.Container) bool { return i.Name == mfav1alpha1.SidecarContainer })
	if at < 0 {
		c.t.Fatalf("pod %s has no sidecar", pod.Name)
	}
	container := &pod.Spec.InitContainers[at]
	mount := filepath.Join(c.dir, "mounts", string(pod.UID))
	c.mount(pod, mount)
	traffic, ops := stack.FreeAddress(c.t), stack.FreeAddress(c.t)
	args := make([]string, 0, len(container.Args))
	for _, arg := range container.Args {
		args = append(args, strings.ReplaceAll(arg, mfav1alpha1.SidecarMount, mount))
	}
	args = append(args, "--listen", traffic, "--ops-listen", ops, "--app", app, "--insecure-cookies")
	p := &Process{
		HealthURL: "http://" + ops, MetricsURL: "http://" + ops + "/metrics", t: c.t,
		cmd: exec.Command(binary(c.t, "sidecar", !c.Plain), args...), done: make(chan struct{}), //nolint:noctx // it is stopped below
	}
	p.cmd.Env = append(os.Environ(), environment(pod, container)...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	p.cmd.Stderr = p.cmd.Stdout
	if err := p.cmd.Start(); err != nil {
		c.t.Fatalf("start the sidecar of pod %s: %v", pod.Name, err)
	}
	go p.collect(out)
	c.canary.listen("sidecar of pod "+pod.Name, p.Log)
	c.t.Cleanup(func() {
		p.Stop()
		if c.t.Failed() {
			c.t.Logf("sidecar of pod %s:\n%s", pod.Name, p.Log())
		}
	})
	return &Sidecar{URL: "http://" + traffic, OpsURL: "http://" + ops, process: p}
}

// AwaitReady waits until the sidecar's readiness probe would succeed.
func (s *Sidecar) AwaitReady() { s.process.t.Helper(); s.process.AwaitReady() }

// Stop ends it as a kubelet would.
func (s *Sidecar) Stop() { s.process.Stop() }

// Kill ends it at once.
func (s *Sidecar) Kill() { s.process.Kill() }

// Log is what it wrote.
func (s *Sidecar) Log() string { return s.process.Log() }

// environment resolves what the downward API would.
func environment(pod *corev1.Pod, container *corev1.Container) []string {
	fields := map[string]string{
		"metadata.name": pod.Name, "metadata.uid": string(pod.UID), "metadata.namespace": pod.Namespace,
		"spec.nodeName": "node", "status.podIP": "127.0.0.1",
	}
	var env []string
	for _, e := range container.Env {
		value := e.Value
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
			value = fields[e.ValueFrom.FieldRef.FieldPath]
		}
		env = append(env, e.Name+"="+value)
	}
	return env
}

// mount writes what the sidecar's volume projects into a folder, and keeps it so.
func (c *Cluster) mount(pod *corev1.Pod, dir string) {
	c.t.Helper()
	pod = pod.DeepCopy() // the test may change its own
	if err := os.MkdirAll(dir, 0o700); err != nil {
		c.t.Fatal(err)
	}
	var present map[string][]byte
	Await(c.t, "what the sidecar mounts is there", func(ctx context.Context) (err error) {
		present, err = c.projected(ctx, pod)
		return err
	})
	write(c.t, dir, present)
	ctx := c.t.Context()
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(500 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			now, err := c.projected(ctx, pod)
			if err == nil && !maps.EqualFunc(now, present, func(a, b []byte) bool { return string(a) == string(b) }) {
				present = now
				write(c.t, dir, now)
			}
		}
	}()
	c.t.Cleanup(func() { <-done })
}

// projected are the files of the sidecar's volume. Like a kubelet, it has none at all
// while one is missing.
func (c *Cluster) projected(ctx context.Context, pod *corev1.Pod) (map[string][]byte, error) {
	at := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mfav1alpha1.SidecarVolume && v.Projected != nil })
	if at < 0 {
		return nil, fmt.Errorf("pod %s has no volume %s", pod.Name, mfav1alpha1.SidecarVolume)
	}
	files := make(map[string][]byte)
	for _, source := range pod.Spec.Volumes[at].Projected.Sources {
		secret := new(corev1.Secret)
		if err := c.Client.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: source.Secret.Name}, secret); err != nil {
			return nil, err
		}
		for _, item := range source.Secret.Items {
			content, ok := secret.Data[item.Key]
			if !ok {
				return nil, fmt.Errorf("key %s is not in Secret %s", item.Key, secret.Name)
			}
			files[item.Path] = content
		}
	}
	return files, nil
}

func write(t testing.TB, dir string, files map[string][]byte) {
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", content, 0o600); err != nil {
			t.Errorf("mount %s: %v", name, err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Errorf("mount %s: %v", name, err)
		}
	}
}

// Status asks a URL and returns the status code and the body.
func Status(ctx context.Context, url string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(body), err
}

// Running sets a pod's phase, as a kubelet would.
func (c *Cluster) Running(pod *corev1.Pod) {
	c.t.Helper()
	base := pod.DeepCopy()
	pod.Status.Phase = corev1.PodRunning
	pod.Status.PodIP = "127.0.0.1"
	pod.Status.PodIPs = []corev1.PodIP{{IP: "127.0.0.1"}}
	if err := c.Client.Status().Patch(c.t.Context(), pod, client.MergeFrom(base)); err != nil {
		c.t.Fatalf("set the phase of pod %s: %v", pod.Name, err)
	}
}

// App starts the workspace app and returns its origin.
func App(t testing.TB) string {
	t.Helper()
	address := stack.FreeAddress(t)
	cmd := exec.Command(binary(t, "workspace", true), "--listen", address) //nolint:noctx // it is stopped below
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the app: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	Await(t, "the app answers", func(ctx context.Context) error {
		_, _, err := Status(ctx, "http://"+address+"/")
		return err
	})
	return "http://" + address
}
