package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport/sallyport/api/policy"
	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// Portal is the policy that tests begin with.
func Portal(namespace string, adjust ...func(*mfav1alpha1.MFAPolicy)) *mfav1alpha1.MFAPolicy {
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

// Pod is one that Portal selects.
func Pod(namespace, name string, adjust ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": "portal"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "app", Image: "registry.test/portal:1", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
		}}},
	}
	for _, f := range adjust {
		f(p)
	}
	return p
}

// NewNamespace is one without labels.
func NewNamespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// Injected reports whether a pod has a sidecar.
func Injected(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == mfav1alpha1.SidecarContainer })
}

// Create makes objects, in this order.
func (c *Cluster) Create(objects ...client.Object) {
	c.t.Helper()
	for _, o := range objects {
		if err := c.Client.Create(c.t.Context(), o); err != nil {
			c.t.Fatalf("create %T %s: %v", o, o.GetName(), err)
		}
	}
}

// Remove deletes objects without a grace period: nobody here ends containers.
func (c *Cluster) Remove(objects ...client.Object) {
	c.t.Helper()
	for _, o := range objects {
		if err := c.Client.Delete(c.t.Context(), o, client.GracePeriodSeconds(0)); err != nil {
			c.t.Fatalf("delete %T %s: %v", o, o.GetName(), err)
		}
	}
}

// Change patches an object as it is now.
func Change[T client.Object](c *Cluster, object T, edit func(T)) {
	c.t.Helper()
	if err := c.Client.Get(c.t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		c.t.Fatalf("read %T %s: %v", object, object.GetName(), err)
	}
	base, _ := object.DeepCopyObject().(client.Object)
	edit(object)
	if err := c.Client.Patch(c.t.Context(), object, client.MergeFrom(base)); err != nil {
		c.t.Fatalf("change %T %s: %v", object, object.GetName(), err)
	}
}

// Begin makes a namespace with a Portal and waits until that is wholly in force.
func (c *Cluster) Begin(namespace string, adjust ...func(*mfav1alpha1.MFAPolicy)) *mfav1alpha1.MFAPolicy {
	c.t.Helper()
	c.Create(NewNamespace(namespace))
	p := Portal(namespace, adjust...)
	c.Create(p)
	c.AwaitReady(p)
	return p
}

// RequireForEveryone pulls the policy's lever.
func (c *Cluster) RequireForEveryone(p *mfav1alpha1.MFAPolicy, required bool) {
	c.t.Helper()
	Change(c, p, func(p *mfav1alpha1.MFAPolicy) { p.Spec.RequireForEveryone = required })
}

// Admit creates a pod that a policy in force selects. The API server takes up new
// rules a moment after they were written: Admit waits for that.
func (c *Cluster) Admit(pod *corev1.Pod) {
	c.t.Helper()
	c.AwaitInjection(pod)
	c.Create(pod)
}

// AdmitBare creates a pod that no policy selects any more, and waits until the API
// server takes it as it is.
func (c *Cluster) AdmitBare(pod *corev1.Pod) {
	c.t.Helper()
	Await(c.t, "the API server takes up that the rules are gone", func(ctx context.Context) error {
		tried := pod.DeepCopy()
		if err := c.Client.Create(ctx, tried, client.DryRunAll); err != nil {
			return err
		}
		if Injected(tried) {
			return errors.New("a pod of a policy that is gone still gets a sidecar")
		}
		return nil
	})
	c.Create(pod)
}

// AwaitInjection waits until a pod like this one would get a sidecar.
func (c *Cluster) AwaitInjection(pod *corev1.Pod) {
	c.t.Helper()
	Await(c.t, "the API server calls the webhook", func(ctx context.Context) error {
		tried := pod.DeepCopy()
		if err := c.Client.Create(ctx, tried, client.DryRunAll); err != nil {
			return err
		}
		if !Injected(tried) {
			return errors.New("it does not yet")
		}
		return nil
	})
}

// Protect runs a pod of the policy with its sidecar in front of the app, and waits
// until the policy counts all its pods as protected.
func (c *Cluster) Protect(p *mfav1alpha1.MFAPolicy, name, app string) (*corev1.Pod, *Sidecar) {
	c.t.Helper()
	pod := Pod(p.Namespace, name)
	c.Admit(pod)
	c.Running(pod)
	sidecar := c.RunSidecar(pod, app)
	sidecar.AwaitReady()
	c.AwaitCondition(p, mfav1alpha1.ConditionPodsProtected, metav1.ConditionTrue, mfav1alpha1.ReasonAllProtected)
	return pod, sidecar
}

// AwaitCondition waits until a condition of the policy's present generation is as it
// should be, and returns its message.
func (c *Cluster) AwaitCondition(
	p *mfav1alpha1.MFAPolicy, condition mfav1alpha1.ConditionType, status metav1.ConditionStatus, reason mfav1alpha1.ConditionReason,
) string {
	c.t.Helper()
	message := ""
	Await(c.t, fmt.Sprintf("%s of %s/%s is %s, %s", condition, p.Namespace, p.Name, status, reason), func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		is := meta.FindStatusCondition(p.Status.Conditions, string(condition))
		if is == nil || is.ObservedGeneration != p.Generation || is.Status != status || is.Reason != string(reason) {
			return fmt.Errorf("generation %d, conditions %+v", p.Generation, p.Status.Conditions)
		}
		message = is.Message
		return nil
	})
	return message
}

// AwaitReady waits until the policy's present generation is wholly in force.
func (c *Cluster) AwaitReady(p *mfav1alpha1.MFAPolicy) {
	c.t.Helper()
	c.AwaitCondition(p, mfav1alpha1.ConditionReady, metav1.ConditionTrue, mfav1alpha1.ReasonReady)
}

// AwaitGone waits until an object is no more.
func (c *Cluster) AwaitGone(object client.Object) {
	c.t.Helper()
	Await(c.t, fmt.Sprintf("%T %s is gone", object, object.GetName()), func(ctx context.Context) error {
		err := c.Client.Get(ctx, client.ObjectKeyFromObject(object), object)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: finalizers %v, %w", object.GetFinalizers(), err)
	})
}
