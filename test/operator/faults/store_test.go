package faults_test

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
	c := operator.Shared(t)
	c.Operator()
	p := c.Begin("outage")
	_, sidecar := c.Protect(p, "portal-1", operator.App(t))
	alice := c.SignIn(sidecar, "alice")
	alice.Enrol()
	dump := dumpRedis(t, c)

	c.Redis.Kill()
	message := c.AwaitCondition(p, mfav1alpha1.ConditionStoreReady, metav1.ConditionFalse, mfav1alpha1.ReasonStoreUnreachable)
	operator.WantIn(t, "StoreReady", message, "Redis cannot be relied upon")
	c.AwaitCondition(p, mfav1alpha1.ConditionPodsProtected, metav1.ConditionUnknown, mfav1alpha1.ReasonStoreUnreachable)
	c.AwaitCondition(p, mfav1alpha1.ConditionReady, metav1.ConditionFalse, mfav1alpha1.ReasonStoreUnreachable)
	c.AwaitEvent(p, corev1.EventTypeWarning, mfav1alpha1.ReasonStoreUnreachable)
	if got := alice.Lands(); got != "503" {
		t.Errorf("without Redis, alice lands at %s", got)
	}
	// Pods are still injected, and let nobody through.
	second := operator.Pod("outage", "portal-2")
	c.Create(second)
	if !operator.Injected(second) {
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
	c.AwaitReady(p)
	shut.AwaitReady()
	alice.AwaitLands("app")
	if got := p.Status.Pods; got.Selected != 2 || got.Protected != 2 {
		t.Errorf("pods: %+v, want two, protected", got)
	}
}

func TestStoreIsLost(t *testing.T) {
	c := operator.Shared(t)
	c.Operator()
	p := c.Begin("lost", func(p *mfav1alpha1.MFAPolicy) { p.Spec.RequireForAdmins = true })
	_, sidecar := c.Protect(p, "portal-1", operator.App(t))
	alice := c.SignIn(sidecar, "alice")
	alice.Enrol()
	dump := dumpRedis(t, c)
	epoch, fingerprint := c.EpochOf("lost/portal"), p.Status.Store.Fingerprint

	lost := func() string {
		t.Helper()
		c.Redis.Do("FLUSHALL")
		message := c.AwaitCondition(p, mfav1alpha1.ConditionStoreReady, metav1.ConditionFalse, mfav1alpha1.ReasonStoreLost)
		operator.Await(t, "the rules are published again", func(context.Context) error {
			if !exists(c, "sallyport:{lost}:policy:portal") {
				return fmt.Errorf("they are not: %+v", p.Status.Conditions)
			}
			return nil
		})
		alice.AwaitLands("503")
		if exists(c, "sallyport:{lost/portal}:epoch") {
			t.Error("the epoch was made again")
		}
		if c.EpochOf("lost/portal") != epoch || p.Status.Store.Fingerprint != fingerprint {
			t.Error("the cluster forgot which store held the enrolments")
		}
		return message
	}
	message := lost()
	operator.WantIn(t, "StoreReady", message, "Redis has lost the enrolments of lost/portal (store "+fingerprint+"), and nobody can pass",
		"Restore Redis from a backup", "kubectl -n lost annotate mfapolicy portal --overwrite "+mfav1alpha1.AcceptStoreLossAnnotation+"="+fingerprint)
	operator.WantIn(t, "the event", c.AwaitEvent(p, corev1.EventTypeWarning, mfav1alpha1.ReasonStoreLost).Note, fingerprint)

	// One way out: the backup.
	restoreRedis(t, c, dump)
	c.AwaitReady(p)
	alice.AwaitLands("app")
	c.SignIn(sidecar, "alice").AwaitLands("challenge")

	// The other: to accept the loss, by the very command that the condition names. An
	// acceptance of another store's loss is none.
	message = lost()
	operator.Change(c, p, func(p *mfav1alpha1.MFAPolicy) {
		p.Annotations = map[string]string{mfav1alpha1.AcceptStoreLossAnnotation: "0123456789abcdef"}
	})
	c.AwaitCondition(p, mfav1alpha1.ConditionStoreReady, metav1.ConditionFalse, mfav1alpha1.ReasonStoreLost)
	alice.AwaitLands("503")
	at := strings.Index(message, "kubectl -n lost annotate")
	c.Kubectl(message[at:])
	c.AwaitReady(p)
	if p.Status.Store.Fingerprint == fingerprint || c.EpochOf("lost/portal") == epoch {
		t.Error("the new store is known by the old epoch")
	}
	alice.AwaitLands("app") // she is not enrolled any more
	c.SignIn(sidecar, "adam").AwaitLands("enrol")
	c.SignIn(sidecar, "alice").Enrol()

	// What was accepted once is not accepted for the next loss.
	epoch, fingerprint = c.EpochOf("lost/portal"), p.Status.Store.Fingerprint
	alice = c.SignIn(sidecar, "alice")
	lost()
}

// The master key ring is never made anew while anything depends on it.
func TestMasterKeysAreDeleted(t *testing.T) {
	c := operator.Shared(t)
	process := c.Operator()
	p := c.Begin("keyless", func(p *mfav1alpha1.MFAPolicy) { p.Spec.RequireForAdmins = true })
	_, sidecar := c.Protect(p, "portal-1", operator.App(t))
	alice := c.SignIn(sidecar, "alice")
	alice.Enrol()
	delivered := c.SidecarSecret("keyless")
	master := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: mfav1alpha1.MasterSecret}}
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(master), master); err != nil {
		t.Fatal(err)
	}
	backup := master.DeepCopy()
	gone := func() {
		t.Helper()
		message := c.AwaitCondition(p, mfav1alpha1.ConditionKeysReady, metav1.ConditionFalse, mfav1alpha1.ReasonKeysMissing)
		operator.WantIn(t, "KeysReady", message, "restore Secret "+operator.Namespace+"/"+mfav1alpha1.MasterSecret+" from a backup",
			"MFAPolicy keyless/portal", "every user look unenrolled")
		c.AwaitGone(master.DeepCopy())
		is := c.SidecarSecret("keyless")
		if is == nil || string(is.Data[mfav1alpha1.KeysKey]) != string(delivered.Data[mfav1alpha1.KeysKey]) {
			t.Error("the delivered keys were overwritten")
		}
		if got := alice.Lands(); got != "app" {
			t.Errorf("alice lands at %s", got)
		}
		c.SignIn(sidecar, "adam").AwaitLands("enrol")
	}
	c.Remove(master)
	gone()
	// Nor by an operator that starts without.
	process.Stop()
	c.Remove(c.SidecarSecret("keyless"))
	delivered.ResourceVersion, delivered.UID = "", ""
	c.Create(delivered.DeepCopy())
	c.Operator()
	gone()

	backup.ResourceVersion, backup.UID = "", ""
	c.Create(backup)
	c.AwaitReady(p)
	c.SignIn(sidecar, "alice").AwaitLands("challenge")
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
