//go:build unfinished

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
	p := begin(t, c, "leaving", func(p *mfav1alpha1.MFAPolicy) { p.Spec.RequireForEveryone = true })
	carrier, sidecar := protect(t, c, p, operator.App(t))
	alice, adam := signIn(t, c, sidecar, "alice"), signIn(t, c, sidecar, "adam")
	alice.enrol()
	adam.awaitLands("enrol")
	epoch := c.Redis.Do("GET", "sallyport:{leaving/portal}:epoch")

	remove(t, c, p)
	operator.Await(t, "the admission rules are withdrawn", func(context.Context) error {
		if webhook, binding := rules(t, c, p); webhook != nil || binding != nil {
			return errors.New("they are there")
		}
		return nil
	})
	// Whoever enrolled is still challenged, and nobody has to enrol.
	adam.awaitLands("app")
	if got := alice.lands(); got != "app" {
		t.Errorf("alice, verified, lands at %s", got)
	}
	signIn(t, c, sidecar, "alice").awaitLands("challenge")
	message := awaitMessage(t, c, p, mfav1alpha1.ConditionPodsProtected, "still carry the sidecar")
	wantIn(t, "PodsProtected", message, "1 pods still carry the sidecar, such as portal-1", "kubectl -n leaving delete pod portal-1")
	wantIn(t, "InjectionReady", awaitMessage(t, c, p, mfav1alpha1.ConditionInjectionReady, "being deleted"), "new pods get no sidecar")
	bare := pod("leaving", "portal-2")
	create(t, c, bare)
	if injected(bare) {
		t.Error("a new pod of a deleted policy got a sidecar")
	}
	remove(t, c, bare)

	_, command, _ := strings.Cut(message, "restarted: ")
	c.Kubectl(command + " --grace-period=0 --force")
	awaitGone(t, c, p)
	if exists(c, "sallyport:{leaving}:policy:portal") {
		t.Error("the published record was not withdrawn")
	}
	if got := c.Redis.Do("GET", "sallyport:{leaving/portal}:epoch"); got != epoch {
		t.Error("the epoch is not what it was")
	}
	if carrier.UID == "" || sidecarSecret(t, c, "leaving") == nil {
		t.Error("the memory of the store is gone")
	}

	again := portal("leaving")
	create(t, c, again)
	awaitReady(t, c, again)
	if again.Status.Store.Fingerprint != p.Status.Store.Fingerprint {
		t.Errorf("the policy made again finds store %s, want %s", again.Status.Store.Fingerprint, p.Status.Store.Fingerprint)
	}
	_, sidecar = protect(t, c, again, operator.App(t))
	signIn(t, c, sidecar, "alice").awaitLands("challenge")
}

func purge(t *testing.T, c *operator.Cluster) {
	p := begin(t, c, "purge")
	_, sidecar := protect(t, c, p, operator.App(t))
	signIn(t, c, sidecar, "alice").enrol()
	sidecar.Stop()
	stop := func(name string) {
		remove(t, c, pod("purge", name))
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
	change(t, c, p, func(p *mfav1alpha1.MFAPolicy) { p.Annotations = map[string]string{mfav1alpha1.PurgeAnnotation: "true"} })
	remove(t, c, p)
	stop("portal-1")
	awaitGone(t, c, p)
	if left := enrolled(); left != before {
		t.Errorf("%d keys are left of %d after a purge that was not asked for", left, before)
	}
	p = portal("purge", func(p *mfav1alpha1.MFAPolicy) {
		p.Annotations = map[string]string{mfav1alpha1.PurgeAnnotation: "portal"}
	})
	create(t, c, p)
	awaitReady(t, c, p)
	if left := enrolled(); left != before {
		t.Errorf("the annotation purged before the deletion: %d keys are left of %d", left, before)
	}
	remove(t, c, p)
	awaitGone(t, c, p)
	if left := enrolled(); left != 0 {
		t.Errorf("%d keys are left after the purge", left)
	}
	operator.Await(t, "the namespace's Secret goes too", func(context.Context) error {
		if sidecarSecret(t, c, "purge") != nil {
			return errors.New("it is there")
		}
		return nil
	})
	wantIn(t, "the event", awaitEvent(t, c, p, corev1.EventTypeNormal, "Purged").Note, "records of workspace portal")
}

// namespaceDeletion does what the namespace's controller would: the API server only
// marks the namespace, and refuses whatever is new in it.
func namespaceDeletion(t *testing.T, c *operator.Cluster) {
	p := begin(t, c, "doomed")
	carrier, _ := protect(t, c, p, operator.App(t))
	doomed := namespace("doomed")
	remove(t, c, doomed)
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(doomed), doomed); err != nil || doomed.DeletionTimestamp == nil {
		t.Fatalf("the namespace is not on its way out: %v", err)
	}
	// The order is the API server's to choose: here the Secret goes first, the pod last.
	remove(t, c, sidecarSecret(t, c, "doomed"))
	remove(t, c, p)
	awaitGone(t, c, p)
	remove(t, c, carrier)
	operator.Await(t, "nothing of the namespace is left", func(ctx context.Context) error {
		webhook, binding := rules(t, c, p)
		if webhook != nil || binding != nil {
			return errors.New("admission rules are")
		}
		if sidecarSecret(t, c, "doomed") != nil {
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
	awaitGone(t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "doomed"}})
}
