// Package operator runs the real operator, as a process, against a real API server
// and a real Redis, for tests that come in through the Kubernetes API.
//
// It serves tests only. It must never reach into the operator: what it sees is what
// a user of the cluster sees.
package operator

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/test/apiserver"
	"github.com/sallyport/sallyport/test/await"
	"github.com/sallyport/sallyport/test/stack"
)

const (
	// Namespace of the operator.
	Namespace = "sallyport-system"
	// Image that pods are injected with.
	Image = "registry.test/sallyport-sidecar:test"

	// patience is how long anything here may take on a busy machine.
	patience = 60 * time.Second
)

// Cluster is an API server and a Redis, with everything an operator needs.
type Cluster struct {
	*apiserver.Server
	// Redis of the operator.
	Redis *redistest.Node
	// Plain runs programs without the race detector: for figures, not for tests.
	Plain bool

	t                 testing.TB
	dir               string
	kubeconfig, admin string
	canary            *canary
}

// New starts an API server and a Redis, which end with the test.
func New(t testing.TB) *Cluster {
	t.Helper()
	return On(t, apiserver.Start(t))
}

// On is a Cluster on an API server that runs already, and that no other test uses
// until this one has ended: then everything that operators react to is taken away.
func On(t testing.TB, server *apiserver.Server) *Cluster {
	t.Helper()
	c := prepare(t, server)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		c.listenForLeaks(ctx)
		c.wipe(ctx)
	})
	c.watchSecrets()
	return c
}

// ForFigures is a Cluster on an API server of its own whose programs run without the
// race detector, and which nobody searches for leaks: that would cost what is to be
// measured.
func ForFigures(t testing.TB) *Cluster {
	t.Helper()
	c := prepare(t, apiserver.Start(t))
	c.Plain = true
	return c
}

// prepare makes what an operator needs to start.
func prepare(t testing.TB, server *apiserver.Server) *Cluster {
	t.Helper()
	c := &Cluster{Server: server, Redis: redistest.Server(t), t: t, dir: t.TempDir(), canary: newCanary()}
	if err := c.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace}}); client.IgnoreAlreadyExists(err) != nil {
		t.Fatalf("create the operator's namespace: %v", err)
	}
	c.grant()
	c.admin = c.Kubeconfig("admin", "system:masters")
	c.kubeconfig = c.Kubeconfig("system:serviceaccount:"+Namespace+":"+ServiceAccount,
		"system:serviceaccounts", "system:serviceaccounts:"+Namespace)
	c.write("redis/url", "redis://"+c.Redis.Addr)
	return c
}

// For is the same cluster as a subtest uses it: what it starts ends with that.
func (c *Cluster) For(t testing.TB) *Cluster {
	other := *c
	other.t = t
	return &other
}

// Kubeconfig writes the kubeconfig of a user in some groups, and returns its path.
func (c *Cluster) Kubeconfig(user string, groups ...string) string {
	c.t.Helper()
	added, err := c.Env.AddUser(envtest.User{Name: user, Groups: groups}, nil)
	if err != nil {
		c.t.Fatalf("add user %s: %v", user, err)
	}
	content, err := added.KubeConfig()
	if err != nil {
		c.t.Fatalf("write the kubeconfig of %s: %v", user, err)
	}
	// KUBECONFIG is a list of files, with colons between them.
	return c.write(strings.ReplaceAll(user, ":", "-")+".kubeconfig", string(content))
}

func (c *Cluster) write(name, content string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// Process is one running operator.
type Process struct {
	// HealthURL and MetricsURL of the process.
	HealthURL, MetricsURL string

	t    testing.TB
	cmd  *exec.Cmd
	done chan struct{}

	mu  sync.Mutex
	log bytes.Buffer
}

// Operator starts one more operator and waits until it is ready. Flags come after
// the usual ones, and win.
func (c *Cluster) Operator(flags ...string) *Process {
	c.t.Helper()
	p := c.Launch(flags...)
	p.AwaitReady()
	return p
}

// Launch starts one more operator, ready or not.
func (c *Cluster) Launch(flags ...string) *Process {
	c.t.Helper()
	ports := stack.FreePorts(c.t, 3)
	webhook, health, metrics := ports[0], ports[1], ports[2]
	args := append([]string{
		"--namespace", Namespace, "--sidecar-image", Image, "--redis-dir", filepath.Join(c.dir, "redis"),
		"--webhook-listen", "127.0.0.1:" + webhook, "--webhook-url", "https://localhost:" + webhook,
		"--health-listen", "127.0.0.1:" + health, "--metrics-listen", "127.0.0.1:" + metrics,
		"--leader-elect=false", "--resync", "5s", "--enrolment-count", "2s",
	}, flags...)
	p := &Process{
		HealthURL: "http://127.0.0.1:" + health, MetricsURL: "http://127.0.0.1:" + metrics + "/metrics",
		t: c.t, cmd: exec.Command(binary(c.t, "controller", !c.Plain), args...), done: make(chan struct{}), //nolint:noctx // it is stopped below
	}
	p.cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	p.cmd.Stderr = p.cmd.Stdout
	if err := p.cmd.Start(); err != nil {
		c.t.Fatalf("start the operator: %v", err)
	}
	go p.collect(out)
	c.canary.listen("operator", p.Log)
	c.t.Cleanup(func() {
		p.Stop()
		if c.t.Failed() {
			c.t.Logf("operator:\n%s", p.Log())
		}
	})
	return p
}

func (p *Process) collect(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.mu.Lock()
		p.log.Write(append(lines.Bytes(), '\n'))
		p.mu.Unlock()
	}
	_ = p.cmd.Wait() // how it ended is in its log
	close(p.done)
}

// Log is what the process wrote so far.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// PID of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// AwaitReady waits until /readyz says so.
func (p *Process) AwaitReady() {
	p.t.Helper()
	Await(p.t, "the operator is ready", func(ctx context.Context) error {
		select {
		case <-p.done:
			p.t.Fatalf("the operator ended:\n%s", p.Log())
		default:
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.HealthURL+"/readyz", nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(answer.Body)
			return fmt.Errorf("readyz: %s", body)
		}
		return nil
	})
}

// Stop ends the process as a kubelet would.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.t.Errorf("the operator did not stop in time")
		p.Kill()
	}
}

// Kill ends the process at once.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Await tries until the error is nil.
func Await(t testing.TB, what string, try func(context.Context) error) {
	t.Helper()
	await.Until(t, patience, what, try)
}

// built are the programs of this module, built once for a test binary.
var built sync.Map // program → func() (string, error)

type program struct {
	name string
	race bool
}

// binary builds one of our programs, with the race detector or without, and returns
// its path.
func binary(t testing.TB, name string, race bool) string {
	t.Helper()
	build, _ := built.LoadOrStore(program{name, race}, sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "sallyport-"+name) //nolint:usetesting // it outlives the test
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, name)
		cmd := exec.Command("go", "build", "-race="+strconv.FormatBool(race), "-o", path, "./cmd/"+name) //nolint:noctx // a build ends by itself
		cmd.Dir = root()
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", errors.Join(err, errors.New(string(out)))
		}
		return path, nil
	}))
	path, err := build.(func() (string, error))()
	if err != nil {
		t.Fatalf("build %s: %v", name, err)
	}
	return path
}

// cleanup removes the built programs.
func cleanup() {
	built.Range(func(_, build any) bool {
		if path, err := build.(func() (string, error))(); err == nil {
			_ = os.RemoveAll(filepath.Dir(path))
		}
		return true
	})
}

func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}
