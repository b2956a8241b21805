package keys_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/keys"
	"github.com/sallyport/sallyport/test/apiserver"
)

func none(context.Context) ([]string, error) { return nil, nil }

func forbidden(t *testing.T) func(context.Context) ([]string, error) {
	return func(context.Context) ([]string, error) {
		t.Error("dependents were asked for though the ring is there")
		return nil, nil
	}
}

// TestMasterSecret runs all cases against one API server, each in its namespace.
func TestMasterSecret(t *testing.T) {
	c := apiserver.Start(t).Client
	for _, test := range []struct {
		name string
		run  func(*testing.T, *keys.Master)
	}{
		{"a first ring is made once, by all replicas together", madeOnce},
		{"a ring that something depends on is not made anew", notAnew},
		{"an unreadable ring is not replaced", notReplaced},
		{"a rotation is saved whole", saved},
		{"a change meanwhile is a conflict", conflicting},
	} {
		t.Run(test.name, func(t *testing.T) {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "keys-"}}
			if err := c.Create(t.Context(), namespace); err != nil {
				t.Fatal(err)
			}
			test.run(t, &keys.Master{
				Client: c, Live: c, Namespace: namespace.Name, Random: rand.Reader, Clock: time.Now,
			})
		})
	}
}

func secretOf(t *testing.T, m *keys.Master) *corev1.Secret {
	t.Helper()
	secret := new(corev1.Secret)
	key := client.ObjectKey{Namespace: m.Namespace, Name: mfav1alpha1.MasterSecret}
	if err := m.Live.Get(t.Context(), key, secret); err != nil {
		t.Fatal(err)
	}
	return secret
}

func load(t *testing.T, m *keys.Master, dependents func(context.Context) ([]string, error)) *keys.Ring {
	t.Helper()
	ring, err := m.Load(t.Context(), dependents)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func madeOnce(t *testing.T, m *keys.Master) {
	var wg sync.WaitGroup
	documents := make([]string, 8)
	for i := range documents {
		wg.Go(func() {
			ring, err := m.Load(t.Context(), none)
			if err != nil {
				t.Error(err)
				return
			}
			documents[i] = string(ring.Document)
		})
	}
	wg.Wait()
	for i, doc := range documents {
		if doc == "" || doc != documents[0] {
			t.Errorf("replica %d has another ring", i)
		}
	}
	secret := secretOf(t, m)
	if secret.Type != corev1.SecretTypeOpaque || secret.Immutable != nil || len(secret.Finalizers) != 0 ||
		secret.Labels[mfav1alpha1.ManagedByLabel] != mfav1alpha1.ManagedBy || len(secret.Data) != 1 {
		t.Errorf("the Secret is %s, immutable %v, with labels %v", secret.Type, secret.Immutable, secret.Labels)
	}
	load(t, m, forbidden(t))
}

func notAnew(t *testing.T, m *keys.Master) {
	boom := errors.New("boom")
	for _, c := range []struct {
		named []string
		err   error
		want  string
	}{
		{[]string{"Secret acme/sallyport-sidecar"}, nil, "restore Secret " + m.Namespace + "/sallyport-master-keys from a backup; it is needed for Secret acme/sallyport-sidecar"},
		{[]string{"a", "b", "c", "d"}, nil, "a, b, c and 1 more"},
		{nil, boom, "boom"},
	} {
		_, err := m.Load(t.Context(), func(context.Context) ([]string, error) { return c.named, c.err })
		if !errors.Is(err, keys.ErrRingMissing) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Load with %v, %v: %v", c.named, c.err, err)
		}
	}
	err := m.Live.Get(t.Context(), client.ObjectKey{Namespace: m.Namespace, Name: mfav1alpha1.MasterSecret}, new(corev1.Secret))
	if !apierrors.IsNotFound(err) {
		t.Errorf("a Secret was made: %v", err)
	}
}

func notReplaced(t *testing.T, m *keys.Master) {
	load(t, m, none)
	good := secretOf(t, m).Data[mfav1alpha1.KeysKey]
	for _, data := range []map[string][]byte{nil, {"other": good}, {mfav1alpha1.KeysKey: good[:len(good)-5]}} {
		secret := secretOf(t, m)
		secret.Data = data
		if err := m.Client.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		before := secretOf(t, m).ResourceVersion
		if _, err := m.Load(t.Context(), none); err == nil || !strings.Contains(err.Error(), "restore it from a backup") {
			t.Errorf("Load: %v", err)
		}
		if after := secretOf(t, m).ResourceVersion; after != before {
			t.Error("the Secret was changed")
		}
	}
}

func saved(t *testing.T, m *keys.Master) {
	load(t, m, none)
	secret := secretOf(t, m)
	secret.Annotations = map[string]string{mfav1alpha1.RotateAnnotation: "may", "team": "platform"}
	secret.Data["note"] = []byte("kept")
	if err := m.Client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	ring := load(t, m, forbidden(t))
	next, _, err := keys.Next(keys.State{Ring: ring, Now: start}, rand.Reader)
	if err != nil || next == nil {
		t.Fatalf("Next = %v, %v", next, err)
	}
	next.Settled = keys.Settled{Primary: 1, At: start}
	if err := m.Save(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	again := load(t, m, forbidden(t))
	if statuses(t, again.Document) != "1:primary 2:active" || again.Served != "may" || again.Settled != next.Settled {
		t.Errorf("keys %s, served %q, settled %v", statuses(t, again.Document), again.Served, again.Settled)
	}
	stored := secretOf(t, m)
	if stored.Annotations["team"] != "platform" || string(stored.Data["note"]) != "kept" {
		t.Error("what others wrote is lost")
	}
	again.Settled = keys.Settled{}
	if err := m.Save(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if _, ok := secretOf(t, m).Annotations[keys.SettledAnnotation]; ok {
		t.Error("the annotation of nothing stays")
	}
}

func conflicting(t *testing.T, m *keys.Master) {
	ring, other := load(t, m, none), load(t, m, none)
	other.Served = "first"
	if err := m.Save(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	ring.Served = "second"
	if err := m.Save(t.Context(), ring); !apierrors.IsConflict(err) {
		t.Errorf("Save over another's change: %v, want a conflict", err)
	}
	if got := load(t, m, none).Served; got != "first" {
		t.Errorf("served %q, want first", got)
	}
}
