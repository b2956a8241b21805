// Package redistest starts real Redis servers for tests: a single one, one with
// TLS and ACLs, a replicated one watched by a Sentinel, a cluster of three
// primaries, and an embedded one. Every server listens on loopback, writes to a
// directory of its own, keeps nothing, and ends with the test.
//
// It may import the Redis client and miniredis. It must never skip: where
// redis-server is missing the test fails and says what to install.
package redistest

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

const (
	// patience bounds every wait for a server to do what it must.
	patience = 20 * time.Second
	// ready is what a server says once it takes commands.
	ready = "Ready to accept connections"
)

// Mini starts an embedded server. Nothing expires in it but by FastForward.
func Mini(t testing.TB) *miniredis.Miniredis {
	t.Helper()
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		t.Fatalf("start miniredis: %v", err)
	}
	t.Cleanup(m.Close)
	return m
}

// Node is one redis-server process.
type Node struct {
	// Addr is its host:port.
	Addr string

	t       testing.TB
	args    []string
	process *os.Process
	done    chan struct{}

	mu    sync.Mutex
	lines []string
	grown chan struct{}
}

// Server starts a server with further arguments of redis-server.
func Server(t testing.TB, args ...string) *Node {
	t.Helper()
	return start(t, ready, func(port string) []string { return append([]string{"--port", port}, args...) })
}

// Client returns a plain client of the node, closed with the test.
func (n *Node) Client() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: n.Addr})
	n.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Kill ends the process at once, as a crash does, and waits for its end.
func (n *Node) Kill() {
	n.t.Helper()
	if err := n.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.t.Errorf("kill redis-server: %v", err)
	}
	<-n.done
}

// Freeze stops the process without closing a connection, until Thaw.
func (n *Node) Freeze() { n.signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (n *Node) Thaw() { n.signal(syscall.SIGCONT) }

func (n *Node) signal(s os.Signal) {
	n.t.Helper()
	if err := n.process.Signal(s); err != nil {
		n.t.Fatalf("signal redis-server: %v", err)
	}
}

// Restart starts a killed node again, at the same address and with nothing in it.
func (n *Node) Restart() {
	n.t.Helper()
	if err := n.run(ready); err != nil {
		n.t.Fatalf("restart redis-server: %v", err)
	}
}

// Await waits until the server has logged a line with the text.
func (n *Node) Await(text string) {
	n.t.Helper()
	if err := n.await(text); err != nil {
		n.t.Fatal(err)
	}
}

// start runs redis-server on a port that was free a moment ago; if another
// process took it meanwhile, on the next.
func start(t testing.TB, up string, args func(port string) []string) *Node {
	t.Helper()
	var err error
	for range 5 {
		port := freePort(t)
		n := &Node{Addr: net.JoinHostPort("127.0.0.1", port), t: t, args: args(port)}
		if err = n.run(up); err == nil {
			t.Cleanup(n.Kill)
			return n
		}
	}
	t.Fatalf("start redis-server: %v", err)
	return nil
}

func (n *Node) run(up string) error {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		n.t.Fatal("this test needs redis-server 7 or newer: apt-get install redis-server")
	}
	base := []string{"--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", n.t.TempDir()}
	args := base
	if len(n.args) > 0 && !strings.HasPrefix(n.args[0], "--") {
		args = nil // a configuration file comes first and brings everything
	}
	//nolint:noctx // the process outlives every context of the test and ends in Kill
	cmd := exec.Command(path, append(args, n.args...)...)
	cmd.SysProcAttr = dieWithParent()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	started := make(chan error)
	n.mu.Lock()
	n.done, n.grown, n.lines = make(chan struct{}), make(chan struct{}), nil
	n.mu.Unlock()
	go func() {
		// The kernel ties "die with the parent" to the thread that forked.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(n.done)
		err := cmd.Start()
		n.process = cmd.Process
		started <- err
		if err != nil {
			return
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			n.add(lines.Text())
		}
		_ = cmd.Wait()
	}()
	if err := <-started; err != nil {
		return err
	}
	if err := n.await(up); err != nil {
		_ = n.process.Kill()
		<-n.done
		return err
	}
	return nil
}

func (n *Node) add(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, line)
	close(n.grown)
	n.grown = make(chan struct{})
}

func (n *Node) await(text string) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for seen := 0; ; {
		n.mu.Lock()
		lines, grown := n.lines, n.grown
		n.mu.Unlock()
		for ; seen < len(lines); seen++ {
			if strings.Contains(lines[seen], text) {
				return nil
			}
		}
		select {
		case <-grown:
		case <-n.done:
			return errors.New("redis-server ended:\n" + strings.Join(lines, "\n"))
		case <-timeout.C:
			return errors.New("redis-server did not log " + strconv.Quote(text) + ":\n" + strings.Join(lines, "\n"))
		}
	}
}

// freePort returns a port that nobody listens on.
func freePort(t testing.TB) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	defer func() { _ = l.Close() }()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// Do runs one command on the node and fails the test if it fails.
func (n *Node) Do(args ...any) any {
	n.t.Helper()
	c := redis.NewClient(&redis.Options{Addr: n.Addr, Protocol: 2})
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	v, err := c.Do(ctx, args...).Result()
	if err != nil {
		n.t.Fatalf("%v on %s: %v", args[0], n.Addr, err)
	}
	return v
}
