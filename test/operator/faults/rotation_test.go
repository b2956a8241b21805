package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/keys"
	"github.com/sallyport/sallyport/test/await"
	"github.com/sallyport/sallyport/test/operator"
)

// TestKeysRotateUnderAUser rotates the master keys while somebody uses the app, and
// kills the operator between the phases. All that a rotation waits for stands in the
// Secret of the keys: the test turns the times there back where a person would wait.
func TestKeysRotateUnderAUser(t *testing.T) {
	c := operator.Shared(t)
	process := c.Operator()
	p := c.Begin("rotating")
	_, sidecar := c.Protect(p, "portal-1", operator.App(t))
	alice := c.SignIn(sidecar, "alice")
	alice.Enrol()
	stays := func(when string) {
		t.Helper()
		if got := alice.Lands(); got != "app" {
			t.Fatalf("%s, alice lands at %s", when, got)
		}
		fresh := alice.Again()
		fresh.AwaitLands("challenge")
		fresh.Pass()
		fresh.AwaitLands("app")
	}

	c.Kubectl("kubectl -n " + operator.Namespace + " annotate secret " + mfav1alpha1.MasterSecret + " --overwrite " + mfav1alpha1.RotateAnnotation + "=once")
	awaitPhase(t, c, p, keys.Distributing, "key 2 is being delivered to the sidecars until")
	process.Kill()
	editMaster(t, c, func(s *corev1.Secret) {
		s.Data[mfav1alpha1.KeysKey] = olderBy(t, s.Data[mfav1alpha1.KeysKey], 2, time.Hour)
	})
	process = c.Operator()
	awaitPhase(t, c, p, keys.Resealing, "recovery code sets still need key 1")
	stays("with two keys")
	process.Kill()

	// The sign-ins of before run out, and she makes new codes.
	editMaster(t, c, func(s *corev1.Secret) {
		s.Annotations[keys.SettledAnnotation] = "2 " + time.Now().Add(-100*24*time.Hour).UTC().Format(time.RFC3339)
	})
	alice.NewCodes()
	c.Operator()
	c.Redis.Do("DEL", "sallyport:{rotating/portal}:keys") // as if the count were an hour old
	awaitPhase(t, c, p, keys.Idle, "")
	if v := p.Status.Keys.Versions; len(v) != 2 || v[0].Status != "retired" || v[1].Status != "primary" {
		t.Errorf("keys %+v", v)
	}
	stays("with the new key alone")
	c.AwaitReady(p)
	master := new(corev1.Secret)
	if err := c.Client.Get(t.Context(), client.ObjectKey{Namespace: operator.Namespace, Name: mfav1alpha1.MasterSecret}, master); err != nil {
		t.Fatal(err)
	}
	if got := master.Annotations[mfav1alpha1.RotatedAnnotation]; got != "once" {
		t.Errorf("the rotation that was served is %q", got)
	}
}

func awaitPhase(t *testing.T, c *operator.Cluster, p *mfav1alpha1.MFAPolicy, phase keys.Phase, waiting string) {
	t.Helper()
	await.Until(t, 2*time.Minute, fmt.Sprintf("the rotation is %s and says %q", phase, waiting), func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		is := p.Status.Keys
		if is == nil || is.Phase != string(phase) || !strings.Contains(is.Waiting, waiting) || phase == keys.Idle && len(is.Versions) < 2 {
			return fmt.Errorf("keys %+v", is)
		}
		return nil
	})
}

func editMaster(t *testing.T, c *operator.Cluster, edit func(*corev1.Secret)) {
	t.Helper()
	operator.Change(c, &corev1.Secret{ObjectMeta: metaOf(operator.Namespace, mfav1alpha1.MasterSecret)}, edit)
}

// olderBy moves back when a key was made.
func olderBy(t *testing.T, document []byte, id float64, by time.Duration) []byte {
	t.Helper()
	var ring map[string]any
	if err := json.Unmarshal(document, &ring); err != nil {
		t.Fatal(err)
	}
	entries, _ := ring["keys"].([]any)
	found := false
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		if entry["id"] == id {
			found = true
			entry["created"] = time.Now().Add(-by).UTC().Format(time.RFC3339)
		}
	}
	if !found {
		t.Fatalf("the ring has no key %v", id)
	}
	edited, err := json.Marshal(ring)
	if err != nil {
		t.Fatal(err)
	}
	return edited
}
