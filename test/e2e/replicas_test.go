package e2e_test

import (
	"context"
	"fmt"
	"testing"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// replicas scales the app up, and asks each pod by itself: what one knows, all know.
func replicas(t *testing.T, n *node) {
	p := n.protect(t, "replicas", 2)
	before := p.enrolled(t, "alice")
	n.k(t, "-n", p.namespace, "scale", "deployment/portal", "--replicas=5")
	p.rolledOut(t)
	p.await(t)
	pods := p.pods(t)
	if len(pods) != 5 {
		t.Fatalf("%d pods run", len(pods))
	}
	everywhere := func(v *visitor, want outcome) {
		t.Helper()
		for _, pod := range pods {
			until(t, fmt.Sprintf("%s is %s at %s", v.name, want, pod.Name), func(ctx context.Context) error {
				if got := askPod(ctx, &pod, mfav1alpha1.TrafficPort, v.cookies(t)); got != want {
					return fmt.Errorf("%s", got)
				}
				return nil
			})
		}
	}
	everywhere(before, opened)
	after := p.signIn(t, "alice")
	after.phone = before.phone
	everywhere(after, challenged)
	after.passes(t)
	everywhere(after, opened)
	everywhere(before, opened)
	after.SignOut()
	everywhere(after, signedOut)
}

// rollingRestart restarts the app's pods one after the other while people use it.
func rollingRestart(t *testing.T, n *node) {
	p := n.protect(t, "rolling", 2)
	people := p.people(t)
	l := underLoad(t, people)
	l.settles("verified", opened, 20)
	n.k(t, "-n", p.namespace, "rollout", "restart", "deployment/portal")
	p.rolledOut(t)
	p.await(t)
	l.settles("verified", opened, 20)
	l.ends(map[string][]outcome{"verified": {opened}, "another": {opened}, "password only": {challenged}})
}

// people are two who passed both doors, and one who has the password of the first.
func (p *portal) people(t *testing.T) map[string]*visitor {
	t.Helper()
	people := map[string]*visitor{"verified": p.enrolled(t, "alice"), "another": p.enrolled(t, "adam"), "password only": p.signIn(t, "alice")}
	if got := people["password only"].asks(t.Context()); got != challenged {
		t.Fatalf("somebody with alice's password is %s", got)
	}
	return people
}
