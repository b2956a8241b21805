package redirect_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// inUserNamespace marks a run of the tests in a user namespace of its own.
const inUserNamespace = "SALLYPORT_TEST_IN_USER_NAMESPACE"

// TestMain makes the tests root of a user namespace where they are not root
// already and the machine allows that.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 && os.Getenv(inUserNamespace) == "" {
		again := exec.CommandContext(context.Background(), "/proc/self/exe", os.Args[1:]...)
		again.Env = append(os.Environ(), inUserNamespace+"=1")
		again.Stdout, again.Stderr = os.Stdout, os.Stderr
		again.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		err := again.Run()
		if _, ran := errors.AsType[*exec.ExitError](err); err == nil || ran {
			os.Exit(again.ProcessState.ExitCode())
		}
	}
	os.Exit(m.Run())
}

// namespace is a network namespace and the one thread that lives in it.
type namespace struct {
	t     *testing.T
	tid   int
	tasks chan func()
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	n := &namespace{t: t, tasks: make(chan func())}
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
func (n *namespace) do(task func() error) error {
	done := make(chan error)
	n.tasks <- func() { done <- task() }
	return <-done
}

// ip runs ip(8) in the namespace: a child is born where the thread is.
func (n *namespace) ip(args string) {
	n.t.Helper()
	err := n.do(func() error {
		out, err := exec.CommandContext(n.t.Context(), "ip", strings.Fields(args)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
		return nil
	})
	if errors.Is(err, exec.ErrNotFound) {
		n.t.Skip("ip(8) of iproute2 is not installed")
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

// listen answers every connection to an address of the namespace with a name.
func (n *namespace) listen(address, name string) {
	n.t.Helper()
	var listener net.Listener
	err := n.do(func() (err error) {
		listener, err = new(net.ListenConfig).Listen(n.t.Context(), "tcp", address)
		return err
	})
	if err != nil {
		n.t.Fatalf("listen: %v", err)
	}
	n.t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, name)
			conn.Close()
		}
	}()
}

// wantAnswer connects from the namespace; "" wants that nobody listens.
func (n *namespace) wantAnswer(address, want string) {
	n.t.Helper()
	var got []byte
	err := n.do(func() error {
		conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(n.t.Context(), "tcp", address)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		if err != nil {
			return err
		}
		defer conn.Close()
		got, err = io.ReadAll(conn)
		return err
	})
	if err != nil || string(got) != want {
		n.t.Errorf("%s was answered by %q (%v), want %q", address, got, err, want)
	}
}

const (
	podV4, podV6 = "10.77.0.2", "fd77::2"
	app          = "the app"
	side         = "the sidecar"
	other        = "another port"
)

// newPod makes a pod's namespace and a peer's, joined by a veth pair, and starts
// what listens in the pod.
func newPod(t *testing.T) (pod, peer *namespace) {
	t.Helper()
	pod, peer = newNamespace(t), newNamespace(t)
	if _, err := list(pod); err != nil {
		t.Skipf("this kernel has no nf_tables: %v", err)
	}
	pod.ip("link add name eth0 type veth peer name eth1")
	pod.ip("link set eth1 netns " + strconv.Itoa(peer.tid))
	for _, side := range []struct {
		n          *namespace
		device     string
		ipv4, ipv6 string
	}{{pod, "eth0", podV4, podV6}, {peer, "eth1", "10.77.0.1", "fd77::1"}} {
		side.n.ip("address add " + side.ipv4 + "/24 dev " + side.device)
		side.n.ip("address add " + side.ipv6 + "/64 dev " + side.device + " nodad")
		side.n.ip("link set lo up")
		side.n.ip("link set " + side.device + " up")
	}
	pod.listen(":8080", app)
	pod.listen("127.0.0.1:8443", app)
	pod.listen(":9000", other)
	pod.listen(":15080", side)
	return pod, peer
}

// list returns the names of the namespace's tables.
func list(n *namespace) (names []string, err error) {
	err = n.do(func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := conn.ListTables()
		for _, table := range tables {
			names = append(names, table.Name)
		}
		return err
	})
	return names, err
}
