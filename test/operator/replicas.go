package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport/sallyport/test/stack"
)

// Replicas are operators that elect a leader, behind one address as a Service has it.
type Replicas struct {
	// Processes in the order in which they are preferred for admission.
	Processes []*Process

	mu    sync.Mutex
	ports []string
}

// Replicas starts n operators and waits until all of them serve admission.
func (c *Cluster) Replicas(n int, flags ...string) *Replicas {
	c.t.Helper()
	listener, err := new(net.ListenConfig).Listen(c.t.Context(), "tcp", stack.FreeAddress(c.t))
	if err != nil {
		c.t.Fatal(err)
	}
	r := new(Replicas)
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	for range n {
		own := stack.FreePort(c.t)
		r.ports = append(r.ports, own)
		r.Processes = append(r.Processes, c.Operator(append([]string{
			"--leader-elect", "--webhook-listen", "127.0.0.1:" + own, "--webhook-url", "https://localhost:" + port,
		}, flags...)...))
	}
	ctx := c.t.Context()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go r.serve(ctx, conn)
		}
	}()
	c.t.Cleanup(func() { _ = listener.Close(); <-done })
	return r
}

// Prefer has new connections go to this replica first.
func (r *Replicas) Prefer(p *Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, each := range r.Processes {
		if each == p {
			r.Processes[0], r.Processes[i] = r.Processes[i], r.Processes[0]
			r.ports[0], r.ports[i] = r.ports[i], r.ports[0]
		}
	}
}

// serve connects a client with the first replica that listens.
func (r *Replicas) serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	r.mu.Lock()
	ports := append([]string(nil), r.ports...)
	r.mu.Unlock()
	for _, port := range ports {
		backend, err := new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		defer backend.Close()
		ended := make(chan struct{}, 2)
		for _, way := range [][2]net.Conn{{backend, conn}, {conn, backend}} {
			go func() {
				_, _ = io.Copy(way[0], way[1]) // either side may end it
				ended <- struct{}{}
			}()
		}
		select {
		case <-ended:
		case <-ctx.Done():
		}
		return
	}
}

// AwaitLeader waits until one of the processes leads, and returns it.
func AwaitLeader(t testing.TB, processes ...*Process) *Process {
	t.Helper()
	var leader *Process
	Await(t, "a replica leads", func(ctx context.Context) error {
		for _, p := range processes {
			_, metrics, err := Status(ctx, p.MetricsURL)
			if err != nil {
				return fmt.Errorf("read the metrics: %w", err)
			}
			if strings.Contains(metrics, `leader_election_master_status{name="sallyport-controller"} 1`) {
				leader = p
				return nil
			}
		}
		return errors.New("none does")
	})
	return leader
}
