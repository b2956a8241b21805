package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/test/person"
	"github.com/sallyport/sallyport/test/stack"
)

// story is what the README promises, in a real browser: an app that runs already, one
// policy, one restart, and the people who use the app.
func story(t *testing.T, n *node) {
	p := &portal{node: n, namespace: "story"}
	n.namespace(t, p.namespace)
	p.deploy(t, 2)
	p.front = newIngress(t, n.nodePort(t, p.namespace, "portal"))
	window := person.Browser(t, "ignore-certificate-errors")
	alice, adam := person.New(t, window, p.front.URL), person.New(t, window, p.front.URL)
	alice.SignsIn("alice")
	alice.IsAt("/my")
	if status := alice.Fetches(stack.Prefix); status != 404 {
		t.Fatalf("without a policy the app answers %d to the path of the second factor", status)
	}

	p.policy(t)
	n.k(t, "-n", p.namespace, "wait", "--for=condition=InjectionReady", "mfapolicy/portal", "--timeout=60s")
	policy, err := p.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the status names the command", func(ctx context.Context) error {
		if policy, err = p.read(ctx); err != nil || policy.Status.Pods == nil || policy.Status.Pods.Command == "" {
			return fmt.Errorf("pods: %+v, %w", policy.Status.Pods, err)
		}
		return nil
	})
	n.shell(t, policy.Status.Pods.Command)
	p.rolledOut(t)
	p.await(t)

	// Who enrols by choice.
	alice.Open("/my")
	alice.IsAt("/my")
	phone, recovery := alice.Enrols()
	alice.Screenshot("enrolled")
	alice.Open("/my")
	alice.SignsOut()
	alice.SignsIn("alice")
	alice.Challenged()
	alice.Screenshot("challenge")
	alice.Write("6-digit code", "000000")
	alice.Press("Verify and sign in")
	alice.Challenged()
	if said := alice.Text("error"); said == "" {
		t.Error("a wrong code is not explained")
	}
	alice.Passes(phone.Code(1), "/my")

	// An administrator is sent to enrol as soon as the lever is turned.
	adam.SignsIn("adam")
	adam.IsAt("/my")
	p.change(t, func(m *mfav1alpha1.MFAPolicy) { m.Spec.RequireForAdmins = true })
	p.await(t)
	adam.Open("/my/documents")
	adam.MustEnrol()
	adam.Screenshot("required")
	alice.Open("/my/documents")
	alice.IsAt("/my/documents")

	// A lost phone.
	alice.SignsOut()
	alice.SignsIn("alice")
	alice.Click("Lost your phone? Use a recovery code")
	alice.Write("Recovery code", recovery[0])
	alice.Press("Use recovery code")
	alice.IsAt("/my")

	fresh := alice.Regenerates()
	if len(fresh) != len(recovery) || slices.Contains(fresh, recovery[1]) {
		t.Errorf("%d new recovery codes", len(fresh))
	}
	portForward(t, p, window, fresh[0])

	// The app decides about passwords.
	alice.Open(stack.Prefix)
	alice.Disables("not-the-password")
	alice.InState("enabled")
	if said := alice.Text("error"); said != "Password did not match. Two-factor remains enabled." {
		t.Errorf("a wrong password is answered %q", said)
	}
	alice.Disables("alice-demo")
	alice.InState("not-configured")
	alice.Screenshot("disabled")
	alice.Open("/my")
	alice.SignsOut()
	alice.SignsIn("alice")
	alice.IsAt("/my")
}

// portForward visits the sidecar through kubectl, as somebody does who has no ingress
// yet. Browsers take localhost for safe, and keep the cookies that others need TLS for.
func portForward(t *testing.T, p *portal, window context.Context, recovery string) { //nolint:revive // a test comes first here
	t.Helper()
	address := p.forward(t, "-n", p.namespace, "port-forward", "deployment/portal", fmt.Sprintf(":%d", mfav1alpha1.TrafficPort))
	alice := person.New(t, window, address)
	alice.SignsIn("alice")
	alice.Challenged()
	alice.Click("Lost your phone? Use a recovery code")
	alice.Write("Recovery code", recovery)
	alice.Press("Use recovery code")
	alice.IsAt("/my")
}
