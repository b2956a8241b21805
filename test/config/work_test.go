package config_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	rules "github.com/sallyport/sallyport/controllers/admission"
	"github.com/sallyport/sallyport/controllers/guard"
)

// samplePolicy is the policy of config/samples, in a namespace.
func samplePolicy(t testing.TB, namespace string) *mfav1alpha1.MFAPolicy {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "config/samples/mfa_v1alpha1_mfapolicy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p := new(mfav1alpha1.MFAPolicy)
	if err := yaml.UnmarshalStrict(text, p); err != nil {
		t.Fatal(err)
	}
	p.Namespace = namespace
	return p
}

// create makes an object for the length of the test.
func create[T client.Object](t testing.TB, c client.Client, object T) T {
	t.Helper()
	if err := c.Create(t.Context(), object); err != nil {
		t.Fatalf("create %T: %v", object, err)
	}
	t.Cleanup(func() {
		if err := client.IgnoreNotFound(c.Delete(t.Context(), object)); err != nil && t.Context().Err() == nil {
			t.Errorf("delete %T: %v", object, err)
		}
	})
	return object
}

// A review of rights does not tell how the API server judges an apply that creates, a
// list of one name, or a binding whose parameter must be readable. Doing it does.
func TestOperatorCanDoItsWork(t *testing.T) {
	c, admin := operator(t), server.Client
	p := create(t, admin, samplePolicy(t, tenant))
	d := create(t, admin, deployment(tenant, "portal"))
	apply := func(object runtime.ApplyConfiguration) error {
		return c.Apply(t.Context(), object, client.FieldOwner(mfav1alpha1.FieldManager), client.ForceOwnership)
	}
	sidecar := func() *corev1ac.SecretApplyConfiguration {
		return corev1ac.Secret(mfav1alpha1.SidecarSecret, tenant).WithData(map[string][]byte{"keys.json": []byte("{}")})
	}
	name := rules.WebhookName(tenant, p.Name)
	for _, step := range []struct {
		does string
		do   func() error
	}{
		{"adds its finalizer", func() error {
			before := p.DeepCopy()
			p.Finalizers = []string{mfav1alpha1.Finalizer}
			return c.Patch(t.Context(), p, client.MergeFrom(before))
		}},
		{"writes the status", func() error {
			before := p.DeepCopy()
			p.Status.PublishedGeneration = 1
			return c.Status().Patch(t.Context(), p, client.MergeFrom(before))
		}},
		{"makes the namespace's Secret", func() error { return apply(sidecar()) }},
		{"changes the namespace's Secret", func() error {
			return apply(sidecar().WithLabels(map[string]string{mfav1alpha1.ManagedByLabel: mfav1alpha1.ManagedBy}))
		}},
		{"lists the Secrets of that name everywhere", func() error {
			return c.List(t.Context(), new(corev1.SecretList), client.MatchingFields{"metadata.name": mfav1alpha1.SidecarSecret})
		}},
		{"deletes the namespace's Secret", func() error { return c.Delete(t.Context(), secret(tenant, mfav1alpha1.SidecarSecret)) }},
		{"makes the master keys", func() error { return c.Create(t.Context(), secret(system, mfav1alpha1.MasterSecret)) }},
		{"rotates the master keys", func() error {
			s := secret(system, mfav1alpha1.MasterSecret)
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(s), s); err != nil {
				return err
			}
			return c.Update(t.Context(), s)
		}},
		{"makes the webhook's certificate", func() error { return c.Create(t.Context(), secret(system, "sallyport-webhook-cert")) }},
		{"lists the webhook's certificate", func() error {
			return c.List(t.Context(), new(corev1.SecretList), client.InNamespace(system), client.MatchingFields{"metadata.name": "sallyport-webhook-cert"})
		}},
		{"installs the backstop", func() error { return apply(rules.Backstop()) }},
		{"installs the backstop of the policy", func() error { return apply(rules.PolicyBackstop(p)) }},
		{"changes the backstop", func() error { return apply(rules.Backstop().WithAnnotations(map[string]string{"changed": "yes"})) }},
		{"binds the backstop to the policy", func() error { return apply(rules.BackstopBinding(p)) }},
		{"binds the backstop of the policy", func() error { return apply(rules.PolicyBackstopBinding(p)) }},
		{"installs the webhook", func() error {
			return apply(rules.Webhook(p, rules.Target{Namespace: system, Name: "sallyport-webhook"}))
		}},
		{"closes the app's port", func() error { return apply(guard.NetworkPolicy(p, []int32{8080})) }},
		{"restarts a workload", func() error {
			return apply(appsv1ac.Deployment(d.Name, tenant).WithUID(d.UID).WithSpec(appsv1ac.DeploymentSpec().WithTemplate(
				corev1ac.PodTemplateSpec().WithAnnotations(map[string]string{mfav1alpha1.RestartedAnnotation: "1"}))))
		}},
		{"tells of it in an event", func() error {
			return c.Create(t.Context(), &eventsv1.Event{
				ObjectMeta: metav1.ObjectMeta{Namespace: tenant, GenerateName: "portal-"}, EventTime: metav1.NowMicro(),
				ReportingController: "sallyport-controller", ReportingInstance: "test", Action: "Ready", Reason: "Ready", Type: "Normal",
				Regarding: corev1.ObjectReference{Kind: "MFAPolicy", Namespace: tenant, Name: p.Name},
			})
		}},
		{"is elected", func() error {
			lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "sallyport-controller"}}
			if err := c.Create(t.Context(), lease); err != nil {
				return err
			}
			lease.Spec.RenewTime = new(metav1.NewMicroTime(time.Now()))
			return c.Update(t.Context(), lease)
		}},
		{"withdraws the rules", func() error {
			for _, rule := range []client.Object{
				webhookConfiguration(name), binding(name), admissionPolicy(name), binding(*rules.BackstopBinding(p).Name),
			} {
				if err := c.Delete(t.Context(), rule); err != nil {
					return err
				}
			}
			return nil
		}},
		{"lets the policy go", func() error {
			before := p.DeepCopy()
			p.Finalizers = nil
			return c.Patch(t.Context(), p, client.MergeFrom(before))
		}},
	} {
		if err := step.do(); err != nil {
			t.Errorf("the operator %s: %v", step.does, err)
		}
	}
}

func TestOperatorIsRefusedWhatIsNotItsWork(t *testing.T) {
	c, admin := operator(t), server.Client
	create(t, admin, secret(tenant, "database-password"))
	create(t, admin, secret(system, "sallyport-redis"))
	for name, do := range map[string]func() error{
		"make another Secret of a tenant by apply": func() error {
			return c.Apply(t.Context(), corev1ac.Secret("another", tenant), client.FieldOwner("test"), client.ForceOwnership)
		},
		"make the sidecars' Secret by create, which names nothing": func() error {
			return c.Create(t.Context(), secret(tenant, mfav1alpha1.SidecarSecret))
		},
		"list every Secret": func() error { return c.List(t.Context(), new(corev1.SecretList)) },
		"list Secrets of its own namespace": func() error {
			return c.List(t.Context(), new(corev1.SecretList), client.InNamespace(system))
		},
		"list Secrets of another name": func() error {
			return c.List(t.Context(), new(corev1.SecretList), client.MatchingFields{"metadata.name": "database-password"})
		},
		"read a tenant's Secret": func() error {
			return c.Get(t.Context(), client.ObjectKey{Namespace: tenant, Name: "database-password"}, new(corev1.Secret))
		},
		"read the Secret of Redis but by its mount": func() error {
			return c.Get(t.Context(), client.ObjectKey{Namespace: system, Name: "sallyport-redis"}, new(corev1.Secret))
		},
		"bring a workload to life that is gone": func() error {
			labels := map[string]string{"app": "gone"}
			gone := appsv1ac.Deployment("gone", tenant).WithSpec(appsv1ac.DeploymentSpec().
				WithSelector(metav1ac.LabelSelector().WithMatchLabels(labels)).
				WithTemplate(corev1ac.PodTemplateSpec().WithLabels(labels).WithSpec(
					corev1ac.PodSpec().WithContainers(corev1ac.Container().WithName("app").WithImage("app")))))
			return c.Apply(t.Context(), gone, client.FieldOwner("test"), client.ForceOwnership)
		},
		"make a pod": func() error { return c.Create(t.Context(), pod(tenant)) },
		"make a policy": func() error {
			p := samplePolicy(t, tenant)
			p.Name = "another"
			return c.Create(t.Context(), p)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := do(); !apierrors.IsForbidden(err) {
				t.Errorf("%v, want it forbidden", err)
			}
		})
	}
}

func secret(namespace, name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

func pod(namespace string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "pod-", Labels: map[string]string{"app": "portal"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
}

func deployment(namespace, name string) *appsv1.Deployment {
	template := pod(namespace)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: template.Labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: template.Labels}, Spec: template.Spec},
		},
	}
}
