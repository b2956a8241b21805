package lifecycle_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/test/operator"
)

// TestRedisWaitsForItsPassword starts an operator beside a Redis that has no password
// yet: it chooses one before there is any policy, and keeps it.
func TestRedisWaitsForItsPassword(t *testing.T) {
	c := operator.Shared(t)
	process := c.Operator("--redis-password-secret", "sallyport-redis-password")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: "sallyport-redis-password"}}
	operator.Await(t, "the password is made", func(ctx context.Context) error {
		return c.Client.Get(ctx, client.ObjectKeyFromObject(secret), secret)
	})
	chosen := string(secret.Data["password"])
	if len(chosen) < 40 || string(secret.Data["redis.conf"]) != "requirepass "+chosen+"\n" {
		t.Fatalf("a password of %d characters, and a configuration of %d", len(chosen), len(secret.Data["redis.conf"]))
	}
	c.Redis.Do("CONFIG", "SET", "requirepass", chosen)
	p := c.Begin("password")
	document := new(redisstore.Document)
	if err := json.Unmarshal(c.SidecarSecret("password").Data[mfav1alpha1.RedisKey], document); err != nil || document.Password != chosen {
		t.Errorf("the sidecars were not told of the password: %v", err)
	}
	process.Stop()
	c.Operator("--redis-password-secret", "sallyport-redis-password")
	c.RequireForEveryone(p, true)
	c.AwaitReady(p)
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil || string(secret.Data["password"]) != chosen {
		t.Errorf("another password was made: %v", err)
	}
	_, sidecar := c.Protect(p, "portal-1", operator.App(t))
	c.SignIn(sidecar, "alice").AwaitLands("enrol")
}

// TestUninstall withdraws what would hold up pods, and refuses where people rely on it.
func TestUninstall(t *testing.T) {
	c := operator.Shared(t)
	process := c.Operator()
	p := c.Begin("uninstalled", func(p *mfav1alpha1.MFAPolicy) { p.Spec.Capture = mfav1alpha1.CapturePort })
	labels := map[string]string{"app.kubernetes.io/name": "sallyport", "app.kubernetes.io/component": "controller"}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: "sallyport-controller"},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(2)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "controller", Image: "registry.test/controller:1"}}},
			},
		},
	}
	c.Create(deployment)
	t.Cleanup(func() { _ = c.Client.Delete(context.WithoutCancel(t.Context()), deployment) }) // only this test looks at it
	replicas := func() int32 {
		t.Helper()
		if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(deployment), deployment); err != nil {
			t.Fatal(err)
		}
		return *deployment.Spec.Replicas
	}

	out, code := c.Controller("uninstall")
	if code != 3 {
		t.Errorf("exit code %d, want 3 for a refusal", code)
	}
	operator.WantIn(t, "the refusal", out, "MFAPolicies are left", "uninstalled/portal", "kubectl -n NAMESPACE delete mfapolicy NAME")
	if !c.RulesOf(p).Complete() || replicas() != 2 {
		t.Error("a refused uninstallation took something away")
	}

	process.Stop() // nobody here ends the Deployment's pods
	out, code = c.Controller("uninstall", "--force")
	if code != 0 {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	operator.WantIn(t, "a forced one", out, "start without a second factor: uninstalled/portal", "The keys, the CRDs and the enrolments stay")
	if !c.RulesOf(p).None() || replicas() != 0 {
		t.Error("a forced uninstallation left rules, or the operator")
	}
	closed := new(networkingv1.NetworkPolicyList)
	if err := c.Client.List(t.Context(), closed, client.InNamespace("uninstalled")); err != nil || len(closed.Items) > 0 {
		t.Errorf("%d NetworkPolicies are left: %v", len(closed.Items), err)
	}
	if c.SidecarSecret("uninstalled") == nil {
		t.Error("the memory of the store is gone")
	}
	bare := operator.Pod("uninstalled", "portal-1")
	operator.Await(t, "pods are created as they are", func(ctx context.Context) error {
		tried := bare.DeepCopy()
		if err := c.Client.Create(ctx, tried, client.DryRunAll); err != nil {
			return err
		}
		if operator.Injected(tried) {
			return errors.New("it got a sidecar")
		}
		return nil
	})
	if out, code = c.Controller("uninstall", "--force"); code != 0 {
		t.Errorf("a second one ends with %d:\n%s", code, out)
	}
}
