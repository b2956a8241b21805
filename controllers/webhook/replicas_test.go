package webhook_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/admission"
	"github.com/sallyport/sallyport/controllers/certs"
)

func ignoreInject() cmp.Option {
	return cmpopts.IgnoreMapEntries(func(k, _ string) bool { return strings.HasSuffix(k, "/inject") })
}

func deleteHook(t *testing.T, p *mfav1alpha1.MFAPolicy) {
	t.Helper()
	hook := &admissionregistrationv1.MutatingWebhookConfiguration{}
	hook.Name = admission.WebhookName(p.Namespace, p.Name)
	must(t, server.Client.Delete(t.Context(), hook))
}

// A webhook that comes after ours adds a container; the API server asks ours again.
func TestInjectionSurvivesReinvocation(t *testing.T) {
	c := cluster(t)
	newNamespace(t, "again", nil)
	policy := newPolicy(t, "again")
	guard(t, policy)
	r := start(t, "again", nil)
	install(t, policy, "https://localhost:"+portOf(r.address)+admission.Path, r.keeper.Bundle())

	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		review := new(admissionv1.AdmissionReview)
		if err := json.NewDecoder(req.Body).Decode(review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		response := &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		if !bytes.Contains(review.Request.Object.Raw, []byte(`"late"`)) {
			response.Patch = []byte(`[{"op":"add","path":"/spec/containers/-","value":{"name":"late","image":"registry.example/late"}}]`)
			response.PatchType = new(admissionv1.PatchTypeJSONPatch)
		}
		review.Response = response
		_ = json.NewEncoder(w).Encode(review)
	}))
	t.Cleanup(other.Close)
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate().Raw})
	hook := admission.Webhook(policy, admission.Target{URL: other.URL, CABundle: bundle})
	hook.Name = new("zz-after-ours") // configurations are asked in the order of their names
	hook.Labels = nil
	apply(t, hook)
	t.Cleanup(func() {
		late := &admissionregistrationv1.MutatingWebhookConfiguration{}
		late.Name = "zz-after-ours"
		_ = c.Delete(context.Background(), late) //nolint:usetesting // at a cleanup the test's own has ended
	})
	eventually(t, "the other webhook is in force", func() bool {
		probe := pod("again", "probe", nil)
		return c.Create(t.Context(), probe, client.DryRunAll) == nil && len(probe.Spec.Containers) == 2
	})

	before := r.total(t)
	p := pod("again", "twice", nil)
	must(t, c.Create(t.Context(), p))
	if asked := r.total(t) - before; asked != 2 {
		t.Errorf("the injector was asked %d times, want 2", asked)
	}
	if len(p.Spec.Containers) != 2 || sidecarOf(p) == nil {
		t.Errorf("want both the late container and the sidecar, got %+v", p.Spec)
	}
	if r.count(t, "unchanged") == 0 {
		t.Error("the second time changed the pod")
	}
}

func TestPodThatTwoPoliciesSelectFollowsTheOlder(t *testing.T) {
	c := cluster(t)
	newNamespace(t, "two", nil)
	older := newPolicy(t, "two")
	guard(t, older)
	r := start(t, "two", nil)
	url := "https://localhost:" + portOf(r.address) + admission.Path
	install(t, older, url, r.keeper.Bundle())
	newer := older.DeepCopy()
	newer.ObjectMeta = metav1.ObjectMeta{Namespace: "two", Name: "zz-newer"}
	must(t, c.Create(t.Context(), newer))
	t.Cleanup(func() { withdraw(t, newer) })
	base := newer.DeepCopy()
	newer.Status = older.Status
	must(t, c.Status().Patch(t.Context(), newer, client.MergeFrom(base)))
	apply(t, admission.Webhook(newer, admission.Target{URL: url, CABundle: r.keeper.Bundle()}))
	backstop(t, newer)
	eventually(t, "both webhooks are in force", func() bool {
		before := r.total(t)
		_ = c.Create(t.Context(), pod("two", "probe", nil), client.DryRunAll)
		return r.total(t)-before >= 2
	})
	p := pod("two", "both", nil)
	must(t, c.Create(t.Context(), p))
	if got := p.Annotations[mfav1alpha1.PolicyAnnotation]; got != older.Name {
		t.Errorf("the pod follows %q, want %q", got, older.Name)
	}
}

func TestBackstopAcceptsWhatRedirectInjects(t *testing.T) {
	c := cluster(t)
	newNamespace(t, "redirect", nil)
	policy := newPolicy(t, "redirect")
	base := policy.DeepCopy()
	policy.Spec.Capture = mfav1alpha1.CaptureRedirect
	must(t, c.Patch(t.Context(), policy, client.MergeFrom(base)))
	guard(t, policy)
	r := start(t, "redirect", nil)
	install(t, policy, "https://localhost:"+portOf(r.address)+admission.Path, r.keeper.Bundle())
	p := pod("redirect", "redirected", nil)
	must(t, c.Create(t.Context(), p))
	names := []string{}
	for _, init := range p.Spec.InitContainers {
		names = append(names, init.Name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{mfav1alpha1.SidecarContainer, mfav1alpha1.RedirectContainer}, names); diff != "" {
		t.Errorf("init containers (-want +got):\n%s", diff)
	}
	p.Spec.InitContainers[slices.IndexFunc(p.Spec.InitContainers, func(c corev1.Container) bool {
		return c.Name == mfav1alpha1.RedirectContainer
	})].Image = "evil.example/redirect"
	refusedWith(t, c.Update(t.Context(), p), "may not be changed")
}

func TestReplicasServeTheSameCertificate(t *testing.T) {
	c := cluster(t)
	newNamespace(t, "replicas", nil)
	policy := newPolicy(t, "replicas")
	a, b := start(t, "replicas", nil), start(t, "replicas", nil)
	if !bytes.Equal(a.keeper.Bundle(), b.keeper.Bundle()) {
		t.Fatal("the replicas trust different authorities")
	}
	must(t, a.keeper.Checker(b.address)(request(t)))
	f := newFront(t)
	f.set(a.address, b.address)
	install(t, policy, f.url(), a.keeper.Bundle())
	f.set(b.address)
	a.stop()
	for _, name := range []string{"one", "two"} {
		p := pod("replicas", name, nil)
		must(t, c.Create(t.Context(), p))
		if sidecarOf(p) == nil {
			t.Error("no sidecar")
		}
	}
}

// handshake is what an API server does that trusts the configuration as it is.
func handshake(t *testing.T, p *mfav1alpha1.MFAPolicy, address string) error {
	t.Helper()
	hook := new(admissionregistrationv1.MutatingWebhookConfiguration)
	must(t, server.Client.Get(t.Context(), client.ObjectKey{Name: admission.WebhookName(p.Namespace, p.Name)}, hook))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(hook.Webhooks[0].ClientConfig.CABundle)
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Authorities that live for seconds, so that the test sees several successions.
func TestRotationRefusesNoPod(t *testing.T) {
	c := cluster(t)
	newNamespace(t, "rotation", nil)
	policy := newPolicy(t, "rotation")
	short := func(o *certs.Options) {
		o.AuthorityLifetime, o.CertificateLifetime = 12*time.Second, 4*time.Second
		o.Settle, o.Retain = time.Second, time.Second
	}
	a, b := start(t, "rotation", short), start(t, "rotation", short)
	f := newFront(t)
	f.set(a.address, b.address)

	// The controller's part: a changed bundle goes into the configuration.
	var group sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	install(t, policy, f.url(), a.keeper.Bundle())
	group.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-a.keeper.Changed():
			}
			err := server.Client.Apply(ctx, admission.Webhook(policy, admission.Target{URL: f.url(), CABundle: a.keeper.Bundle()}),
				client.FieldOwner(mfav1alpha1.FieldManager), client.ForceOwnership)
			if err != nil && ctx.Err() == nil {
				t.Errorf("apply the bundle: %v", err)
			}
		}
	})
	authorities, created := map[string]bool{}, 0
	for ctx.Err() == nil {
		secret := new(corev1.Secret)
		must(t, c.Get(t.Context(), client.ObjectKey{Namespace: "rotation", Name: "sallyport-webhook-certificate"}, secret))
		authorities[string(secret.Data["ca.crt"])] = true
		p := pod("rotation", "rotation", nil)
		if err := c.Create(t.Context(), p, client.DryRunAll); err != nil {
			t.Errorf("pod %d was refused: %v", created, err)
		} else if sidecarOf(p) == nil {
			t.Errorf("pod %d has no sidecar", created)
		}
		created++
		// The API server keeps its connections, so new ones are made here: what the
		// configuration trusts must verify what every replica presents.
		for _, r := range []*replica{a, b} {
			if err := handshake(t, policy, r.address); err != nil {
				t.Errorf("pod %d: %v", created, err)
			}
		}
	}
	group.Wait()
	t.Logf("%d pods, %d authorities", created, len(authorities))
	if len(authorities) < 3 {
		t.Errorf("%d authorities signed, want at least 3", len(authorities))
	}
}
