package faults_test

import (
	"context"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport/sallyport/test/operator"
)

// TestTheAPIServerGoesAndComesBack stops the API server under a running operator. The
// sidecars go on; what was asked of the policy meanwhile is done after.
func TestTheAPIServerGoesAndComesBack(t *testing.T) {
	c := operator.New(t)
	process := c.Operator()
	p := c.Begin("away")
	_, sidecar := c.Protect(p, "portal-1", operator.App(t))
	alice := c.SignIn(sidecar, "alice")
	alice.Enrol()

	restart := c.Kill(t)
	for _, user := range []string{"alice", "adam"} {
		want := map[string]string{"alice": "challenge", "adam": "app"}[user]
		c.SignIn(sidecar, user).AwaitLands(want)
	}
	if code, body, err := operator.Status(t.Context(), sidecar.OpsURL+"/readyz"); err != nil || code != 200 {
		t.Errorf("without an API server the sidecar is not ready: %d %s %v", code, body, err)
	}
	if code, _, err := operator.Status(t.Context(), process.HealthURL+"/healthz"); err != nil || code != 200 {
		t.Errorf("without an API server the operator is not alive: %d %v", code, err)
	}
	restart()

	operator.Await(t, "the policy can be changed", func(ctx context.Context) error {
		return c.Client.Get(ctx, client.ObjectKeyFromObject(p), p)
	})
	c.RequireForEveryone(p, true)
	c.SignIn(sidecar, "adam").AwaitLands("enrol")
	c.AwaitReady(p)
	c.Admit(operator.Pod("away", "portal-2"))
}
