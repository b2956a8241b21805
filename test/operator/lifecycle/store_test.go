//go:build unfinished

package lifecycle_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/test/operator"
)

func TestRedisGoesAndComesBack(t *testing.T) {
	c := cluster(t)
	c.Operator()
	p := begin(t, c, "outage")
	_, sidecar := protect(t, c, p, operator.App(t))
	alice := signIn(t, c, sidecar, "alice")
	alice.enrol()
	dump := dumpRedis(t, c)

	c.Redis.Kill()
	message := awaitCondition(t, c, p, mfav1alpha1.ConditionStoreReady, metav1.ConditionFalse, mfav1alpha1.ReasonStoreUnreachable)
	wantIn(t, "StoreReady", message, "Redis cannot be relied upon")
	awaitCondition(t, c, p, mfav1alpha1.ConditionPodsProtected, metav1.ConditionUnknown, mfav1alpha1.ReasonStoreUnreachable)
	awaitCondition(t, c, p, mfav1alpha1.ConditionReady, metav1.ConditionFalse, mfav1alpha1.ReasonStoreUnreachable)
	awaitEvent(t, c, p, corev1.EventTypeWarning, mfav1alpha1.ReasonStoreUnreachable)
	if got := alice.lands(); got != "503" {
		t.Errorf("without Redis, alice lands at %s", got)
	}
	// Pods are still injected, and let nobody through.
	second := pod("outage", "portal-2")
	create(t, c, second)
	if !injected(second) {
		t.Fatal("a pod that was made meanwhile got no sidecar")
	}
	c.Running(second)
	shut := c.RunSidecar(second, operator.App(t))
	operator.Await(t, "the new sidecar listens", func(ctx context.Context) error {
		_, _, err := operator.Status(ctx, shut.OpsURL+"/healthz")
		return err
	})
	for _, path := range []string{"/", "/login", "/my/profile", "/static/x"} {
		if code, _, err := operator.Status(t.Context(), shut.URL+path); err != nil || code != http.StatusServiceUnavailable {
			t.Errorf("%s of a sidecar that has no policy: %d, %v", path, code, err)
		}
	}
	if code, _, err := operator.Status(t.Context(), shut.OpsURL+"/readyz"); err != nil || code == http.StatusOK {
		t.Errorf("a sidecar that has no policy is ready: %d, %v", code, err)
	}

	c.Redis.Restart()
	restoreRedis(t, c, dump)
	awaitReady(t, c, p)
	shut.AwaitReady()
	alice.awaitLands("app")
	if got := p.Status.Pods; got.Selected != 2 || got.Protected != 2 {
		t.Errorf("pods: %+v, want two, protected", got)
	}
}

func TestStoreIsLost(t *testing.T) {
	c := cluster(t)
	c.Operator()
	p := begin(t, c, "lost", func(p *mfav1alpha1.MFAPolicy) { p.Spec.RequireForAdmins = true })
	_, sidecar := protect(t, c, p, operator.App(t))
	alice := signIn(t, c, sidecar, "alice")
	alice.enrol()
	dump := dumpRedis(t, c)
	epoch, fingerprint := epochOf(t, c, "lost/portal"), p.Status.Store.Fingerprint

	lost := func() string {
		t.Helper()
		c.Redis.Do("FLUSHALL")
		message := awaitCondition(t, c, p, mfav1alpha1.ConditionStoreReady, metav1.ConditionFalse, mfav1alpha1.ReasonStoreLost)
		operator.Await(t, "the rules are published again", func(context.Context) error {
			if !exists(c, "sallyport:{lost}:policy:portal") {
				return fmt.Errorf("they are not: %+v", p.Status.Conditions)
			}
			return nil
		})
		alice.awaitLands("503")
		if exists(c, "sallyport:{lost/portal}:epoch") {
			t.Error("the epoch was made again")
		}
		if epochOf(t, c, "lost/portal") != epoch || p.Status.Store.Fingerprint != fingerprint {
			t.Error("the cluster forgot which store held the enrolments")
		}
		return message
	}
	message := lost()
	wantIn(t, "StoreReady", message, "Redis has lost the enrolments of lost/portal (store "+fingerprint+"), and nobody can pass",
		"Restore Redis from a backup", "kubectl -n lost annotate mfapolicy portal --overwrite "+mfav1alpha1.AcceptStoreLossAnnotation+"="+fingerprint)
	wantIn(t, "the event", awaitEvent(t, c, p, corev1.EventTypeWarning, mfav1alpha1.ReasonStoreLost).Note, fingerprint)

	// One way out: the backup.
	restoreRedis(t, c, dump)
	awaitReady(t, c, p)
	alice.awaitLands("app")
	signIn(t, c, sidecar, "alice").awaitLands("challenge")

	// The other: to accept the loss, by the very command that the condition names. An
	// acceptance of another store's loss is none.
	message = lost()
	change(t, c, p, func(p *mfav1alpha1.MFAPolicy) {
		p.Annotations = map[string]string{mfav1alpha1.AcceptStoreLossAnnotation: "0123456789abcdef"}
	})
	awaitCondition(t, c, p, mfav1alpha1.ConditionStoreReady, metav1.ConditionFalse, mfav1alpha1.ReasonStoreLost)
	alice.awaitLands("503")
	at := strings.Index(message, "kubectl -n lost annotate")
	c.Kubectl(message[at:])
	awaitReady(t, c, p)
	if p.Status.Store.Fingerprint == fingerprint || epochOf(t, c, "lost/portal") == epoch {
		t.Error("the new store is known by the old epoch")
	}
	alice.awaitLands("app") // she is not enrolled any more
	signIn(t, c, sidecar, "adam").awaitLands("enrol")
	signIn(t, c, sidecar, "alice").enrol()

	// What was accepted once is not accepted for the next loss.
	epoch, fingerprint = epochOf(t, c, "lost/portal"), p.Status.Store.Fingerprint
	alice = signIn(t, c, sidecar, "alice")
	lost()
}

// The master key ring is never made anew while anything depends on it.
func TestMasterKeysAreDeleted(t *testing.T) {
	c := cluster(t)
	process := c.Operator()
	p := begin(t, c, "keyless", func(p *mfav1alpha1.MFAPolicy) { p.Spec.RequireForAdmins = true })
	_, sidecar := protect(t, c, p, operator.App(t))
	alice := signIn(t, c, sidecar, "alice")
	alice.enrol()
	delivered := sidecarSecret(t, c, "keyless")
	master := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: mfav1alpha1.MasterSecret}}
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(master), master); err != nil {
		t.Fatal(err)
	}
	backup := master.DeepCopy()
	gone := func() {
		t.Helper()
		message := awaitCondition(t, c, p, mfav1alpha1.ConditionKeysReady, metav1.ConditionFalse, mfav1alpha1.ReasonKeysMissing)
		wantIn(t, "KeysReady", message, "restore Secret "+operator.Namespace+"/"+mfav1alpha1.MasterSecret+" from a backup",
			"MFAPolicy keyless/portal", "every user look unenrolled")
		awaitGone(t, c, master.DeepCopy())
		is := sidecarSecret(t, c, "keyless")
		if is == nil || string(is.Data[mfav1alpha1.KeysKey]) != string(delivered.Data[mfav1alpha1.KeysKey]) {
			t.Error("the delivered keys were overwritten")
		}
		if got := alice.lands(); got != "app" {
			t.Errorf("alice lands at %s", got)
		}
		signIn(t, c, sidecar, "adam").awaitLands("enrol")
	}
	remove(t, c, master)
	gone()
	// Nor by an operator that starts without.
	process.Stop()
	remove(t, c, sidecarSecret(t, c, "keyless"))
	delivered.ResourceVersion, delivered.UID = "", ""
	create(t, c, delivered.DeepCopy())
	c.Operator()
	gone()

	backup.ResourceVersion, backup.UID = "", ""
	create(t, c, backup)
	awaitReady(t, c, p)
	signIn(t, c, sidecar, "alice").awaitLands("challenge")
}

// dumpRedis is a backup of what Redis holds.
func dumpRedis(t *testing.T, c *operator.Cluster) map[string]string {
	t.Helper()
	dump := make(map[string]string)
	keys, _ := c.Redis.Do("KEYS", "*").([]any)
	for _, key := range keys {
		if strings.Contains(key.(string), ":heartbeats:") {
			continue
		}
		if value, ok := c.Redis.Do("DUMP", key).(string); ok {
			dump[key.(string)] = base64.StdEncoding.EncodeToString([]byte(value))
		}
	}
	if len(dump) < 3 {
		t.Fatalf("Redis holds %d keys", len(dump))
	}
	return dump
}

func restoreRedis(t *testing.T, c *operator.Cluster, dump map[string]string) {
	t.Helper()
	for key, value := range dump {
		raw, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			t.Fatal(err)
		}
		c.Redis.Do("RESTORE", key, 0, string(raw), "REPLACE")
	}
}
