package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// PodNetwork is a pod's network as a container runtime makes it: loopback, and one
// interface whose other end is a neighbour's.
type PodNetwork struct {
	// IP of the pod.
	IP string

	t              testing.TB
	pod, neighbour *netns
}

// NewPodNetwork makes the network of one pod. It skips the test where that takes
// rights that the machine does not give.
func NewPodNetwork(t testing.TB) *PodNetwork {
	t.Helper()
	n := &PodNetwork{IP: "10.78.0.2", t: t, pod: newNetns(t), neighbour: newNetns(t)}
	n.pod.ip(t, "link add name eth0 type veth peer name eth1")
	n.pod.ip(t, "link set eth1 netns "+strconv.Itoa(n.neighbour.tid))
	for _, end := range []struct {
		ns              *netns
		device, address string
	}{{n.pod, "eth0", n.IP}, {n.neighbour, "eth1", "10.78.0.1"}} {
		end.ns.ip(t, "address add "+end.address+"/24 dev "+end.device)
		end.ns.ip(t, "link set lo up")
		end.ns.ip(t, "link set "+end.device+" up")
	}
	return n
}

// Neighbour is an HTTP client of another pod. It follows no redirects.
func (n *PodNetwork) Neighbour() *http.Client {
	dial := func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = n.neighbour.do(func() (err error) {
			conn, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
	return &http.Client{
		Transport:     &http.Transport{DialContext: dial, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// App runs the workspace app in the pod, at all addresses of a port.
func (n *PodNetwork) App(port int32) *Process {
	n.t.Helper()
	//nolint:noctx // it is stopped by the test's end
	return n.start("the app", exec.Command(binary(n.t, "workspace", true), "--listen", ":"+strconv.Itoa(int(port))))
}

// Reaches lets the pod reach an address of this machine's loopback, as the same
// address: the way that a cluster's network would give it to Redis.
func (n *PodNetwork) Reaches(address string) {
	n.t.Helper()
	var listener net.Listener
	err := n.pod.do(func() (err error) {
		listener, err = new(net.ListenConfig).Listen(n.t.Context(), "tcp", address)
		return err
	})
	if err != nil {
		n.t.Fatalf("listen in the pod: %v", err)
	}
	n.t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			inside, err := listener.Accept()
			if err != nil {
				return
			}
			go pipe(inside, address)
		}
	}()
}

func pipe(inside net.Conn, address string) {
	defer inside.Close()
	outside, err := new(net.Dialer).DialContext(context.Background(), "tcp", address)
	if err != nil {
		return
	}
	defer outside.Close()
	go func() {
		_, _ = io.Copy(outside, inside)
		_ = outside.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(inside, outside)
}

// mounted runs a program with the folder $0 as the Secret's mount, in a mount
// namespace of its own.
const mounted = `mount -t tmpfs none /var/run && mkdir -p "$1" && mount --bind "$0" "$1" && shift && exec "$@"`

// RunContainer runs an injected container of an admitted pod in the pod's network,
// with the arguments of the spec as they are, and its Secret mounted where the spec
// says.
func (n *PodNetwork) RunContainer(c *Cluster, pod *corev1.Pod, name string) *Process {
	n.t.Helper()
	at := slices.IndexFunc(pod.Spec.InitContainers, func(i corev1.Container) bool { return i.Name == name })
	if at < 0 {
		n.t.Fatalf("pod %s has no container %s", pod.Name, name)
	}
	container := &pod.Spec.InitContainers[at]
	mount := filepath.Join(c.dir, "mounts", string(pod.UID))
	if name == mfav1alpha1.SidecarContainer {
		c.mount(pod, mount)
	} else if err := os.MkdirAll(mount, 0o700); err != nil {
		n.t.Fatal(err)
	}
	args := append([]string{
		"--mount", "sh", "-c", mounted, mount, mfav1alpha1.SidecarMount, binary(n.t, "sidecar", !c.Plain),
	}, container.Args...)
	cmd := exec.Command("unshare", args...) //nolint:noctx // it is stopped by the test's end
	cmd.Env = append(os.Environ(), environment(pod, container)...)
	return n.start("container "+name, cmd)
}

func (n *PodNetwork) start(what string, cmd *exec.Cmd) *Process {
	n.t.Helper()
	p := &Process{t: n.t, cmd: cmd, done: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := n.pod.do(cmd.Start); err != nil {
		n.t.Fatalf("start %s: %v", what, err)
	}
	go p.collect(out)
	n.t.Cleanup(func() {
		p.Stop()
		if n.t.Failed() {
			n.t.Logf("%s:\n%s", what, p.Log())
		}
	})
	return p
}

// AwaitSuccess waits until a process has ended, and well.
func (p *Process) AwaitSuccess() {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("it does not end:\n%s", p.Log())
	}
	if !p.cmd.ProcessState.Success() {
		p.t.Fatalf("it ended with %v:\n%s", p.cmd.ProcessState, p.Log())
	}
}

// Freeze stops the process where it is, until Thaw.
func (p *Process) Freeze() { p.signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (p *Process) Thaw() { p.signal(syscall.SIGCONT) }

func (p *Process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("signal the process: %v", err)
	}
}

// netns is a network namespace and the one thread that lives in it.
type netns struct {
	tid   int
	tasks chan func()
}

func newNetns(t testing.TB) *netns {
	t.Helper()
	n := &netns{tasks: make(chan func())}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		n.tid = unix.Gettid()
		started <- err
		for task := range n.tasks {
			task()
		}
	}()
	err := <-started
	t.Cleanup(func() { close(n.tasks) })
	if errors.Is(err, unix.EPERM) {
		t.Skip("a network namespace cannot be made here: run the tests as root")
	}
	if err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	return n
}

// do runs a task on the namespace's thread.
func (n *netns) do(task func() error) error {
	done := make(chan error)
	n.tasks <- func() { done <- task() }
	return <-done
}

// ip runs ip(8) in the namespace: a child is born where the thread is.
func (n *netns) ip(t testing.TB, args string) {
	t.Helper()
	err := n.do(func() error {
		out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(args)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
		return nil
	})
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("ip(8) of iproute2 is not installed")
	}
	if err != nil {
		t.Fatal(err)
	}
}
