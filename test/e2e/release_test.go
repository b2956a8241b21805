package e2e_test

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// install installs the chart as its README says, with the bundled Redis, and has it
// uninstalled when the test has ended.
func (n *node) install(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if t.Failed() {
			n.explainOperator(ctx, t)
		}
		if out, err := run(ctx, "", n.helm, "status", "-n", system, "sallyport"); err != nil {
			t.Logf("the release is gone already: %s", out)
			return
		}
		if _, err := run(ctx, "", n.helm, "uninstall", "-n", system, "sallyport", "--wait"); err != nil {
			t.Errorf("uninstall the chart: %v", err)
		}
	})
	n.upgrade(t)
	n.k(t, "-n", system, "rollout", "status", "deployment/sallyport-controller", "--timeout=3m")
	n.k(t, "-n", system, "rollout", "status", "statefulset/sallyport-redis", "--timeout=3m")
}

// upgrade installs or upgrades the release, with further values.
func (n *node) upgrade(t *testing.T, values ...string) {
	t.Helper()
	args := []string{"upgrade", "--install", "sallyport", root + "/charts/sallyport", "-n", system, "--create-namespace", "--wait", "--timeout=4m"}
	for _, value := range append(n.values(n.version), values...) {
		args = append(args, "--set", value)
	}
	mustRun(t, "", n.helm, args...)
	n.awaitNewReplicas(t)
}

// awaitNewReplicas waits until the replicas of before have ended: while they do, they
// still inject as they did.
func (n *node) awaitNewReplicas(t *testing.T) {
	t.Helper()
	until(t, "the operator's replicas of before have ended", func(ctx context.Context) error {
		list := new(corev1.PodList)
		if err := n.List(ctx, list, client.InNamespace(system), client.MatchingLabels{"app.kubernetes.io/component": "controller"}); err != nil {
			return err
		}
		for _, pod := range list.Items {
			if pod.DeletionTimestamp != nil {
				return fmt.Errorf("%s is still ending", pod.Name)
			}
		}
		return nil
	})
}

// values name the images of a version. Requests are small: a test machine is.
func (n *node) values(version string) []string {
	return []string{
		"image.registry=" + n.repository,
		"controller.image.repository=controller", "controller.image.tag=" + version,
		"sidecar.image.repository=sidecar", "sidecar.image.tag=" + version,
		"redis.bundled.image.repository=" + n.repository + "/redis", "redis.bundled.image.tag=" + n.version,
	}
}

func (n *node) explainOperator(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, question := range [][]string{
		{"get", "pods", "-o", "wide"},
		{"get", "events", "--sort-by=.lastTimestamp"},
		{"logs", "-l", "app.kubernetes.io/component=controller", "--tail=40", "--prefix"},
	} {
		out, err := run(ctx, "", n.kubectl, append([]string{"-n", system}, question...)...)
		t.Logf("kubectl -n %s %v (%v)\n%s", system, question, err, out)
	}
}

// operatorReady reports what of the operator does not run as it should.
func (n *node) operatorReady(ctx context.Context) error {
	for _, args := range [][]string{
		{"rollout", "status", "deployment/sallyport-controller", "--timeout=1s"},
		{"rollout", "status", "statefulset/sallyport-redis", "--timeout=1s"},
	} {
		if out, err := run(ctx, "", n.kubectl, append([]string{"-n", system}, args...)...); err != nil {
			return fmt.Errorf("%s: %w", out, err)
		}
	}
	return nil
}
