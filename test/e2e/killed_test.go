package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// killed kills one thing after the other while people use the portal. Whatever dies,
// nobody who has only the password gets in, nobody who was verified is asked again, and
// no enrolment is lost.
func killed(t *testing.T, n *node) {
	p := n.protect(t, "killed", 2)
	people := p.people(t)
	// Where two pods are behind one address, some requests meet the one that died.
	undisturbed, disturbed, refused := []outcome{opened}, []outcome{opened, lost, unavailable}, []outcome{opened, unavailable}
	for _, tt := range []struct {
		name  string
		kill  func(t *testing.T)
		meets []outcome
	}{
		{"the process of a sidecar", func(t *testing.T) {
			pods := p.pods(t)
			n.crash(t, &pods[0], mfav1alpha1.SidecarContainer)
		}, disturbed},
		{"the process of an app", func(t *testing.T) {
			pods := p.pods(t)
			n.crash(t, &pods[0], "portal")
		}, disturbed},
		{"a pod, at once", func(t *testing.T) {
			pods := p.pods(t)
			n.k(t, "-n", p.namespace, "delete", "pod", pods[0].Name, "--force", "--grace-period=0")
		}, disturbed},
		{"the process of Redis", func(t *testing.T) {
			for _, pod := range n.system(t, "redis") {
				n.crash(t, &pod, "redis")
			}
		}, refused},
		{"the pod of Redis", func(t *testing.T) {
			n.k(t, "-n", system, "delete", "pod", "sallyport-redis-0")
		}, refused},
		{"the processes of the operator", func(t *testing.T) {
			for _, pod := range n.system(t, "controller") {
				n.crash(t, &pod, "controller")
			}
		}, undisturbed},
		{"the pods of the operator", func(t *testing.T) {
			n.k(t, "-n", system, "delete", "pod", "-l", "app.kubernetes.io/component=controller", "--force", "--grace-period=0")
		}, undisturbed},
		{"the API server", func(t *testing.T) {
			n.enter(t, "pkill", "-KILL", "kube-apiserver")
			until(t, "the API server creates others' pods again", func(ctx context.Context) error {
				_, err := run(ctx, fmt.Sprintf(plainPod, "other", "default", "other", false), n.kubectl, "create", "--dry-run=server", "-f", "-")
				if err != nil && strings.Contains(err.Error(), "sallyport") {
					t.Errorf("a pod that no policy selects was refused: %v", err)
				}
				return err
			})
		}, undisturbed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := underLoad(t, people)
			l.settles("verified", opened, 20)
			tt.kill(t)
			began := time.Now()
			until(t, "everything runs again", func(ctx context.Context) error { return n.whole(ctx, p) })
			l.settles("verified", opened, 40)
			l.settles("password only", challenged, 40)
			t.Logf("whole again after %s", time.Since(began).Round(100*time.Millisecond))
			inside := append([]outcome{challenged}, tt.meets[1:]...)
			l.ends(map[string][]outcome{"verified": tt.meets, "another": tt.meets, "password only": inside})
		})
	}
	// What was enrolled before is enrolled still, with the same phone.
	again := p.signIn(t, "alice")
	again.phone = people["verified"].phone
	again.passes(t)
	if got := again.asks(t.Context()); got != opened {
		t.Errorf("alice has passed the challenge, and is %s", got)
	}
}

// system are the operator's running pods of a component.
func (n *node) system(t *testing.T, component string) []corev1.Pod {
	t.Helper()
	list := new(corev1.PodList)
	if err := n.List(t.Context(), list, client.InNamespace(system), client.MatchingLabels{"app.kubernetes.io/component": component}); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) == 0 {
		t.Fatalf("no pod is a %s", component)
	}
	return list.Items
}

// whole reports what is not as it should be: the operator, Redis, the portal's pods.
func (n *node) whole(ctx context.Context, p *portal) error {
	if err := n.operatorReady(ctx); err != nil {
		return err
	}
	if out, err := run(ctx, "", n.kubectl, "-n", p.namespace, "rollout", "status", "deployment/portal", "--timeout=1s"); err != nil {
		return fmt.Errorf("%s: %w", out, err)
	}
	policy, err := p.read(ctx)
	if err != nil {
		return err
	}
	if pods := policy.Status.Pods; pods == nil || pods.Protected != 2 || pods.Selected != 2 {
		return fmt.Errorf("pods: %+v", pods)
	}
	return nil
}
