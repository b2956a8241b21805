package operator_test

import (
	"os"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/test/operator"
)

func TestMain(m *testing.M) { os.Exit(operator.Main(m)) }

func TestAPolicyReachesItsSidecars(t *testing.T) {
	c := operator.Shared(t)
	c.Operator()
	p := c.Begin("first")

	app := operator.App(t)
	first := operator.Pod("first", "portal-1")
	c.Admit(first)
	c.Running(first)
	c.AwaitCondition(p, mfav1alpha1.ConditionPodsProtected, metav1.ConditionFalse, mfav1alpha1.ReasonPodsStale)
	sidecar := c.RunSidecar(first, app)
	sidecar.AwaitReady()
	c.AwaitReady(p)
	if p.Status.Pods == nil || p.Status.Pods.Selected != 1 || p.Status.Pods.Protected != 1 {
		t.Errorf("pods: %+v, want one, protected", p.Status.Pods)
	}

	c.RequireForEveryone(p, true)
	c.AwaitReady(p)
	if p.Status.PublishedGeneration != p.Generation {
		t.Errorf("published generation %d, want %d", p.Status.PublishedGeneration, p.Generation)
	}
}
