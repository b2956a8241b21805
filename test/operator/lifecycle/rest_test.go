package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/test/operator"
	"github.com/sallyport/sallyport/test/stack"
)

// TestAtRest lets the operator look at a policy again and again, and restarts it:
// where nothing changes, nothing is written, and nobody is told anything.
func TestAtRest(t *testing.T) {
	c := operator.Shared(t)
	address := stack.FreeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	flags := []string{"--resync", "200ms", "--webhook-listen", address, "--webhook-url", "https://localhost:" + port}
	process := c.Operator(flags...)
	p := c.Begin("atrest", func(p *mfav1alpha1.MFAPolicy) { p.Spec.Capture = mfav1alpha1.CapturePort })
	c.Protect(p, "portal-1", operator.App(t))
	c.AwaitReady(p)
	operator.Await(t, "people are counted", func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil || p.Status.Enrolment == nil {
			return fmt.Errorf("not yet: %w", err)
		}
		return nil
	})
	awaitConfirmed(t, c, p, "")
	process.AwaitPasses(3)
	before, told := versions(t, c), len(c.Events(p))
	if len(before) < 6 {
		t.Fatalf("only %v are watched", before)
	}

	process.AwaitPasses(10)
	if diff := cmp.Diff(before, versions(t, c)); diff != "" {
		t.Errorf("written at rest (-want +got):\n%s", diff)
	}
	process.Stop()
	c.Operator(flags...).AwaitPasses(10)
	if diff := cmp.Diff(before, versions(t, c)); diff != "" {
		t.Errorf("written after a restart (-want +got):\n%s", diff)
	}
	if got := len(c.Events(p)); got != told {
		t.Errorf("%d events, want the %d of before", got, told)
	}
}

// TestAChangedWebhookIsConfirmed has the operator change a webhook configuration, and
// write it once more when the API server has had its time.
func TestAChangedWebhookIsConfirmed(t *testing.T) {
	c := operator.Shared(t)
	process := c.Operator("--resync", "1s")
	p := c.Begin("confirmed")
	first := awaitConfirmed(t, c, p, "")
	version := c.RulesOf(p).Webhooks[0].ResourceVersion
	process.Stop()
	c.Operator("--resync", "1s") // on another port
	awaitConfirmed(t, c, p, first)
	if c.RulesOf(p).Webhooks[0].ResourceVersion == version {
		t.Error("the webhook was not written")
	}
	c.Admit(operator.Pod("confirmed", "portal-1"))
}

// awaitConfirmed waits until the policy's webhook is confirmed as something else than
// it was, and returns as what.
func awaitConfirmed(t *testing.T, c *operator.Cluster, p *mfav1alpha1.MFAPolicy, was string) (is string) {
	t.Helper()
	operator.Await(t, "the webhook is confirmed", func(context.Context) error {
		rules := c.RulesOf(p)
		if len(rules.Webhooks) != 1 {
			return errors.New("there is none")
		}
		if is = rules.Webhooks[0].Annotations[mfav1alpha1.ConfirmedAnnotation]; is == was || is == "" {
			return fmt.Errorf("it is as %q", is)
		}
		return nil
	})
	return is
}

// versions of everything that the operator writes, by kind and name.
func versions(t *testing.T, c *operator.Cluster) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, list := range []client.ObjectList{
		new(mfav1alpha1.MFAPolicyList), new(corev1.SecretList), new(networkingv1.NetworkPolicyList),
		new(admissionregistrationv1.MutatingWebhookConfigurationList), new(admissionregistrationv1.ValidatingAdmissionPolicyList),
		new(admissionregistrationv1.ValidatingAdmissionPolicyBindingList),
	} {
		if err := c.Client.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		err := meta.EachListItem(list, func(item runtime.Object) error {
			o, err := meta.Accessor(item)
			if err == nil {
				found[fmt.Sprintf("%T %s/%s", item, o.GetNamespace(), o.GetName())] = o.GetResourceVersion()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}
