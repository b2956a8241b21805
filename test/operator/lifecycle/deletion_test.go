package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/test/operator"
)

func exists(c *operator.Cluster, key string) bool { return c.Redis.Do("EXISTS", key) == int64(1) }

func deletion(t *testing.T, c *operator.Cluster) {
	p := c.Begin("leaving", func(p *mfav1alpha1.MFAPolicy) { p.Spec.RequireForEveryone = true })
	carrier, sidecar := c.Protect(p, "portal-1", operator.App(t))
	alice, adam := c.SignIn(sidecar, "alice"), c.SignIn(sidecar, "adam")
	alice.Enrol()
	adam.AwaitLands("enrol")
	epoch := c.Redis.Do("GET", "sallyport:{leaving/portal}:epoch")

	c.Remove(p)
	operator.Await(t, "the admission rules are withdrawn", func(context.Context) error {
		if !c.RulesOf(p).None() {
			return errors.New("they are there")
		}
		return nil
	})
	// Whoever enrolled is still challenged, and nobody has to enrol.
	adam.AwaitLands("app")
	if got := alice.Lands(); got != "app" {
		t.Errorf("alice, verified, lands at %s", got)
	}
	c.SignIn(sidecar, "alice").AwaitLands("challenge")
	message := c.AwaitMessage(p, mfav1alpha1.ConditionPodsProtected, "still carry the sidecar")
	operator.WantIn(t, "PodsProtected", message, "1 pods still carry the sidecar, such as portal-1", "kubectl -n leaving delete pod portal-1")
	operator.WantIn(t, "InjectionReady", c.AwaitMessage(p, mfav1alpha1.ConditionInjectionReady, "being deleted"), "new pods get no sidecar")
	bare := operator.Pod("leaving", "portal-2")
	c.AdmitBare(bare)
	c.Remove(bare)

	_, command, _ := strings.Cut(message, "restarted: ")
	c.Kubectl(command + " --grace-period=0 --force")
	c.AwaitGone(p)
	if exists(c, "sallyport:{leaving}:policy:portal") {
		t.Error("the published record was not withdrawn")
	}
	if got := c.Redis.Do("GET", "sallyport:{leaving/portal}:epoch"); got != epoch {
		t.Error("the epoch is not what it was")
	}
	if carrier.UID == "" || c.SidecarSecret("leaving") == nil {
		t.Error("the memory of the store is gone")
	}

	again := operator.Portal("leaving")
	c.Create(again)
	c.AwaitReady(again)
	if again.Status.Store.Fingerprint != p.Status.Store.Fingerprint {
		t.Errorf("the policy made again finds store %s, want %s", again.Status.Store.Fingerprint, p.Status.Store.Fingerprint)
	}
	_, sidecar = c.Protect(again, "portal-1", operator.App(t))
	c.SignIn(sidecar, "alice").AwaitLands("challenge")
}

func purge(t *testing.T, c *operator.Cluster) {
	p := c.Begin("purge")
	_, sidecar := c.Protect(p, "portal-1", operator.App(t))
	c.SignIn(sidecar, "alice").Enrol()
	sidecar.Stop()
	stop := func(name string) {
		c.Remove(operator.Pod("purge", name))
	}
	enrolled := func() int {
		found, _ := c.Redis.Do("KEYS", "sallyport:{purge/portal*").([]any)
		return len(found)
	}
	before := enrolled()
	if before < 2 {
		t.Fatalf("%d keys after an enrolment", before)
	}

	// A value that is not the workspace's name purges nothing.
	operator.Change(c, p, func(p *mfav1alpha1.MFAPolicy) { p.Annotations = map[string]string{mfav1alpha1.PurgeAnnotation: "true"} })
	c.Remove(p)
	stop("portal-1")
	c.AwaitGone(p)
	if left := enrolled(); left != before {
		t.Errorf("%d keys are left of %d after a purge that was not asked for", left, before)
	}
	p = operator.Portal("purge", func(p *mfav1alpha1.MFAPolicy) {
		p.Annotations = map[string]string{mfav1alpha1.PurgeAnnotation: "portal"}
	})
	c.Create(p)
	c.AwaitReady(p)
	if left := enrolled(); left != before {
		t.Errorf("the annotation purged before the deletion: %d keys are left of %d", left, before)
	}
	c.Remove(p)
	c.AwaitGone(p)
	if left := enrolled(); left != 0 {
		t.Errorf("%d keys are left after the purge", left)
	}
	operator.Await(t, "the namespace's Secret goes too", func(context.Context) error {
		if c.SidecarSecret("purge") != nil {
			return errors.New("it is there")
		}
		return nil
	})
	operator.WantIn(t, "the event", c.AwaitEvent(p, corev1.EventTypeNormal, "Purged").Note, "records of workspace portal")
}

// namespaceDeletion does what the namespace's controller would: the API server only
// marks the namespace, and refuses whatever is new in it.
func namespaceDeletion(t *testing.T, c *operator.Cluster) {
	p := c.Begin("doomed")
	carrier, _ := c.Protect(p, "portal-1", operator.App(t))
	doomed := operator.NewNamespace("doomed")
	c.Remove(doomed)
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(doomed), doomed); err != nil || doomed.DeletionTimestamp == nil {
		t.Fatalf("the namespace is not on its way out: %v", err)
	}
	// The order is the API server's to choose: here the Secret goes first, the pod last.
	c.Remove(c.SidecarSecret("doomed"))
	c.Remove(p)
	c.AwaitGone(p)
	c.Remove(carrier)
	operator.Await(t, "nothing of the namespace is left", func(ctx context.Context) error {
		if !c.RulesOf(p).None() {
			return errors.New("admission rules are")
		}
		if c.SidecarSecret("doomed") != nil {
			return errors.New("the sidecars' Secret was made again")
		}
		list := new(mfav1alpha1.MFAPolicyList)
		if err := c.Client.List(ctx, list, client.InNamespace("doomed")); err != nil || len(list.Items) > 0 {
			return fmt.Errorf("%d policies, %w", len(list.Items), err)
		}
		return nil
	})
	doomed.Spec.Finalizers = nil
	if err := c.Client.SubResource("finalize").Update(t.Context(), doomed); err != nil {
		t.Fatalf("finish the namespace: %v", err)
	}
	c.AwaitGone(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "doomed"}})
}

// A policy whose finalizer somebody removed leaves no rules that refuse pods.
func finalizerRemoved(t *testing.T, c *operator.Cluster) {
	p := c.Begin("forced")
	if !c.RulesOf(p).Complete() {
		t.Fatal("the admission rules are not there")
	}
	force(c, p)
	awaitSwept(t, c, p)
}

// What went while no operator ran is swept when one starts.
func TestRulesOfAPolicyThatWentWithoutAnOperator(t *testing.T) {
	c := operator.Shared(t)
	process := c.Operator()
	p, stays := c.Begin("abandoned"), c.Begin("kept")
	process.Stop()
	force(c, p)
	if !c.RulesOf(p).Complete() {
		t.Fatal("the admission rules went without an operator")
	}
	c.Operator()
	awaitSwept(t, c, p)
	if !c.RulesOf(stays).Complete() {
		t.Error("the rules of a policy that is there were swept too")
	}
}

// force removes a policy as a person does who will not wait.
func force(c *operator.Cluster, p *mfav1alpha1.MFAPolicy) {
	operator.Change(c, p, func(p *mfav1alpha1.MFAPolicy) { p.Finalizers = nil })
	c.Remove(p)
	c.AwaitGone(p)
}

func awaitSwept(t *testing.T, c *operator.Cluster, p *mfav1alpha1.MFAPolicy) {
	t.Helper()
	operator.Await(t, "the admission rules are swept", func(context.Context) error {
		if !c.RulesOf(p).None() {
			return errors.New("they are there")
		}
		return nil
	})
	c.AdmitBare(operator.Pod(p.Namespace, "portal-1"))
}
