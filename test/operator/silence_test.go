package operator_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/test/operator"
)

// TestTheStatusSaysWhyASidecarIsSilent plays the kubelet's part: what it says of the
// injected containers is what people read in the policy's status.
func TestTheStatusSaysWhyASidecarIsSilent(t *testing.T) {
	c := operator.Shared(t)
	c.Operator()
	p := c.Begin("silent")
	pod := operator.Pod("silent", "portal-1")
	c.Admit(pod)
	c.Running(pod)

	waiting := func(name, reason string) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: name, Image: "registry.test/x:1", State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: reason},
		}}
	}
	for _, tt := range []struct {
		name   string
		status corev1.ContainerStatus
		want   string
	}{
		{"a pod that is being made", waiting(mfav1alpha1.SidecarContainer, "PodInitializing"), "its sidecar is starting"},
		{
			"an image that is not there", waiting(mfav1alpha1.RedirectContainer, "ErrImagePull"),
			"the image registry.test/x:1 of its container sallyport-redirect cannot be pulled; the pod's events say why",
		},
		{
			"the same, later", waiting(mfav1alpha1.RedirectContainer, "ImagePullBackOff"),
			"the image registry.test/x:1 of its container sallyport-redirect cannot be pulled; the pod's events say why",
		},
		{
			"a sidecar that ends", waiting(mfav1alpha1.SidecarContainer, "CrashLoopBackOff"),
			"its container sallyport ends again and again: kubectl -n silent logs portal-1 -c sallyport",
		},
		{
			"a container that the runtime refuses", waiting(mfav1alpha1.SidecarContainer, "CreateContainerConfigError"),
			"its container sallyport cannot start: CreateContainerConfigError; the pod's events say why",
		},
		{
			"a sidecar that runs",
			corev1.ContainerStatus{Name: mfav1alpha1.SidecarContainer, Started: new(true)},
			"its sidecar has not been heard of for ten seconds",
		},
		{"an app's own container that waits", waiting("migrate", "ErrImagePull"), "its sidecar is starting"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := pod.DeepCopy()
			pod.Status.InitContainerStatuses = []corev1.ContainerStatus{tt.status}
			if err := c.Client.Status().Patch(t.Context(), pod, client.MergeFrom(before)); err != nil {
				t.Fatal(err)
			}
			operator.Await(t, "the policy's status says so", func(ctx context.Context) error {
				if err := c.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
					return err
				}
				if p.Status.Pods == nil || len(p.Status.Pods.Attention) != 1 {
					return fmt.Errorf("pods: %+v", p.Status.Pods)
				}
				if got := p.Status.Pods.Attention[0].Reason; got != tt.want {
					return fmt.Errorf("reason %q, want %q", got, tt.want)
				}
				return nil
			})
		})
	}
}

// TestTheOperatorGrowsPatient leaves a sidecar silent, with nothing else that has the
// operator look: it looks at once, and then ever more rarely.
func TestTheOperatorGrowsPatient(t *testing.T) {
	c := operator.Shared(t)
	process := c.Operator("--resync", "1h", "--enrolment-count", "1h")
	p := c.Begin("patient")
	pod := operator.Pod("patient", "portal-1")
	c.Admit(pod)
	c.Running(pod)
	c.AwaitCondition(p, mfav1alpha1.ConditionPodsProtected, metav1.ConditionFalse, mfav1alpha1.ReasonPodsStale)

	const rare = 3 * time.Second // an operator that is not patient looks every second
	passes, since := process.Passes(), time.Now()
	operator.Await(t, "the operator looks rarely", func(context.Context) error {
		if now := process.Passes(); now != passes {
			passes, since = now, time.Now()
		}
		if quiet := time.Since(since); quiet < rare {
			return fmt.Errorf("it last looked %s ago", quiet)
		}
		return nil
	})
}
