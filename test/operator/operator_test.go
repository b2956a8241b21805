package operator_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport/sallyport/api/policy"
	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/test/operator"
)

func TestMain(m *testing.M) {
	code := m.Run()
	operator.Cleanup()
	os.Exit(code)
}

// portal is the policy that tests begin with.
func portal(namespace string, adjust ...func(*mfav1alpha1.MFAPolicy)) *mfav1alpha1.MFAPolicy {
	p := &mfav1alpha1.MFAPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "portal"},
		Spec: mfav1alpha1.MFAPolicySpec{
			Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "portal"}},
			Rules: policy.Rules{
				App:      policy.App{Port: policy.Port{Number: 8080}},
				Identity: policy.Identity{Type: policy.IdentityEndpoint, Endpoint: &policy.EndpointIdentity{}},
			},
		},
	}
	for _, f := range adjust {
		f(p)
	}
	return p
}

func pod(namespace, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": "portal"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "app", Image: "registry.test/portal:1", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
		}}},
	}
}

// create makes objects, and fails the test where it cannot.
func create(t *testing.T, c *operator.Cluster, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := c.Client.Create(t.Context(), o); err != nil {
			t.Fatalf("create %T %s: %v", o, o.GetName(), err)
		}
	}
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// awaitCondition waits until a condition of this generation is as it should be.
func awaitCondition(
	t *testing.T, c *operator.Cluster, p *mfav1alpha1.MFAPolicy,
	condition mfav1alpha1.ConditionType, status metav1.ConditionStatus, reason mfav1alpha1.ConditionReason,
) {
	t.Helper()
	operator.Await(t, fmt.Sprintf("%s is %s, %s", condition, status, reason), func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		is := meta.FindStatusCondition(p.Status.Conditions, string(condition))
		if is == nil || is.ObservedGeneration != p.Generation || is.Status != status || is.Reason != string(reason) {
			return fmt.Errorf("generation %d, conditions %+v", p.Generation, p.Status.Conditions)
		}
		return nil
	})
}

func TestAPolicyReachesItsSidecars(t *testing.T) {
	c := operator.New(t)
	c.Operator()
	create(t, c, namespace("acme"))
	p := portal("acme")
	create(t, c, p)
	awaitCondition(t, c, p, mfav1alpha1.ConditionReady, metav1.ConditionTrue, mfav1alpha1.ReasonReady)

	app := operator.App(t)
	first := pod("acme", "portal-1")
	create(t, c, first)
	c.Running(first)
	awaitCondition(t, c, p, mfav1alpha1.ConditionPodsProtected, metav1.ConditionFalse, mfav1alpha1.ReasonPodsStale)
	sidecar := c.RunSidecar(first, app)
	sidecar.AwaitReady()
	awaitCondition(t, c, p, mfav1alpha1.ConditionReady, metav1.ConditionTrue, mfav1alpha1.ReasonReady)
	if p.Status.Pods == nil || p.Status.Pods.Selected != 1 || p.Status.Pods.Protected != 1 {
		t.Errorf("pods: %+v, want one, protected", p.Status.Pods)
	}

	base := p.DeepCopy()
	p.Spec.RequireForEveryone = true
	if err := c.Client.Patch(t.Context(), p, client.MergeFrom(base)); err != nil {
		t.Fatalf("flip the lever: %v", err)
	}
	awaitCondition(t, c, p, mfav1alpha1.ConditionReady, metav1.ConditionTrue, mfav1alpha1.ReasonReady)
	if p.Status.PublishedGeneration != p.Generation {
		t.Errorf("published generation %d, want %d", p.Status.PublishedGeneration, p.Generation)
	}
}
