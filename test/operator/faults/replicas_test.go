package faults_test

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/test/operator"
)

// admitted counts the pods that a replica has been asked about.
func admitted(t *testing.T, p *operator.Process) float64 {
	t.Helper()
	_, metrics, err := operator.Status(t.Context(), p.MetricsURL)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "controller_runtime_webhook_requests_total{") {
			value, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += value
		}
	}
	return sum
}

// TestTwoReplicas has two replicas serve admission at once, kills the one that leads,
// and has the other take over.
func TestTwoReplicas(t *testing.T) {
	c := operator.Shared(t)
	replicas := c.Replicas(2)
	leader := operator.AwaitLeader(t, replicas.Processes...)
	standby := replicas.Processes[0]
	if standby == leader {
		standby = replicas.Processes[1]
	}
	replicas.Prefer(standby)
	p := c.Begin("replicas")
	_, sidecar := c.Protect(p, "portal-1", operator.App(t))
	alice := c.SignIn(sidecar, "alice")
	if admitted(t, standby) == 0 {
		t.Error("the replica that does not lead admitted nothing")
	}

	// Without the one that served it, the next pod is admitted by the other.
	before := admitted(t, leader)
	standby.Kill()
	operator.Await(t, "the leader admits pods", func(ctx context.Context) error {
		return c.Client.Create(ctx, operator.Pod("replicas", "portal-2"))
	})
	if admitted(t, leader) == before {
		t.Error("the leader was not asked")
	}
	c.Remove(operator.Pod("replicas", "portal-2"))
	c.RequireForEveryone(p, true)
	alice.AwaitLands("enrol")

	again := c.Replicas(1)
	leader.Kill()
	c.RequireForEveryone(p, false)
	operator.AwaitLeader(t, again.Processes...)
	alice.AwaitLands("app")
	c.AwaitReady(p)
	created := operator.Pod("replicas", "portal-3")
	c.Admit(created)
	if !operator.Injected(created) {
		t.Error("the new leader's webhook gave the pod no sidecar")
	}
	wantOneLease(t, c)
}

func wantOneLease(t *testing.T, c *operator.Cluster) {
	t.Helper()
	out := c.Kubectl("kubectl -n " + operator.Namespace + " get leases -o name")
	if got := strings.Fields(out); len(got) != 1 {
		t.Errorf("leases %v, want one", got)
	}
}
