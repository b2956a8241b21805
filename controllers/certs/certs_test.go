package certs_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/certs"
	"github.com/sallyport/sallyport/test/apiserver"
)

const name = "sallyport-webhook-certificate"

var server *apiserver.Server

func TestMain(m *testing.M) {
	logf.SetLogger(logr.Discard())
	stop := func() error { return nil }
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		var err error
		if server, stop, err = apiserver.Run(assets); err != nil {
			fmt.Fprintln(os.Stderr, "start the API server:", err)
			os.Exit(1)
		}
	}
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the API server:", err)
		code = 1
	}
	os.Exit(code)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !holds() {
		select {
		case <-deadline.Done():
			t.Fatalf("never came true: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// a clock that tests move.
type clock struct {
	mu   sync.Mutex
	skew time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.skew)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew += d
}

func newManager(t *testing.T, config *rest.Config) ctrl.Manager {
	t.Helper()
	mgr, err := ctrl.NewManager(config, manager.Options{
		Scheme: apiserver.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
	})
	must(t, err)
	return mgr
}

func run(t *testing.T, mgr ctrl.Manager) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
	})
}

func newNamespace(t *testing.T, namespace string) {
	t.Helper()
	if server == nil {
		t.Skip(`no API server: run the tests with "make test", or eval "$(test/setup/install --env)" first`)
	}
	must(t, server.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
}

// newKeeper runs a Keeper with the rights that an operator has, and no more.
func newKeeper(t *testing.T, namespace string, c *clock, metrics prometheus.Registerer) *certs.Keeper {
	t.Helper()
	user, err := server.Env.AddUser(envtest.User{Name: "operator-of-" + namespace}, nil)
	must(t, err)
	subject := []rbacv1.Subject{{Kind: "User", Name: "operator-of-" + namespace}}
	for _, o := range []client.Object{
		&rbacv1.Role{
			ObjectMeta: metav1.ObjectMeta{Name: "certificates", Namespace: namespace},
			Rules: []rbacv1.PolicyRule{
				{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}},
				{
					APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{name},
					Verbs: []string{"get", "list", "watch", "update"},
				},
			},
		},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "certificates", Namespace: namespace}, Subjects: subject,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "certificates"},
		},
		&rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: "hooks-" + namespace},
			Rules: []rbacv1.PolicyRule{{
				APIGroups: []string{admissionregistrationv1.GroupName}, Resources: []string{"mutatingwebhookconfigurations"},
				Verbs: []string{"list"},
			}},
		},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "hooks-" + namespace}, Subjects: subject,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "hooks-" + namespace},
		},
	} {
		must(t, server.Client.Create(t.Context(), o))
	}
	mgr := newManager(t, user.Config())
	keeper, err := certs.NewKeeper(mgr, certs.Options{
		Secret: types.NamespacedName{Namespace: namespace, Name: name}, Names: []string{"hook.acme.svc"},
		Settle: 200 * time.Millisecond, Metrics: metrics, Clock: c.now, Random: rand.Reader,
	})
	must(t, err)
	run(t, mgr)
	return keeper
}

func serial(t *testing.T, get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) string {
	t.Helper()
	cert, err := get(nil)
	if err != nil {
		return ""
	}
	return cert.Leaf.SerialNumber.String()
}

const expiryMetric = "sallyport_webhook_certificate_expiry_timestamp_seconds"

// wantExpiry checks that the metric tells when what is served expires.
func wantExpiry(t *testing.T, metrics prometheus.Gatherer, get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) {
	t.Helper()
	cert, err := get(nil)
	must(t, err)
	if got, want := expiry(t, metrics), float64(cert.Leaf.NotAfter.Unix()); got != want {
		t.Errorf("%s is %.0f, want %.0f", expiryMetric, got, want)
	}
}

func expiry(t *testing.T, metrics prometheus.Gatherer) float64 {
	t.Helper()
	families, err := metrics.Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() == expiryMetric {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no %s", expiryMetric)
	return 0
}

func TestTheMetricIsZeroUntilThereIsACertificate(t *testing.T) {
	metrics := prometheus.NewRegistry()
	options := certs.Options{
		Secret: types.NamespacedName{Namespace: "metric", Name: name}, Names: []string{"hook.acme.svc"},
		Metrics: metrics, Clock: new(clock).now, Random: rand.Reader,
	}
	_, err := certs.NewKeeper(newManager(t, server.Config), options) // which never runs
	must(t, err)
	if got := expiry(t, metrics); got != 0 {
		t.Errorf("it is %.0f", got)
	}
	if _, err := certs.NewKeeper(newManager(t, server.Config), options); err == nil {
		t.Error("a second certificate took the same metric")
	}
}

func authorities(bundle []byte) int { return bytes.Count(bundle, []byte("BEGIN CERTIFICATE")) }

// touch has the Keeper look, as an hour of rest would.
func touch(t *testing.T) {
	t.Helper()
	eventually(t, "the Secret takes an annotation", func() bool {
		secret := new(corev1.Secret)
		must(t, server.Client.Get(t.Context(), client.ObjectKey{Namespace: "keep", Name: name}, secret))
		secret.Annotations = map[string]string{"touched": time.Now().String()}
		err := server.Client.Update(t.Context(), secret)
		if err != nil && !apierrors.IsConflict(err) {
			t.Fatal(err)
		}
		return err == nil
	})
}

func TestKeeperMakesAndRenews(t *testing.T) {
	newNamespace(t, "keep")
	// A Secret that a chart made beforehand is as good as none.
	must(t, server.Client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "keep"}}))
	c := new(clock)
	metrics := prometheus.NewRegistry()
	k := newKeeper(t, "keep", c, metrics)
	eventually(t, "there is a certificate", func() bool { return len(k.Bundle()) > 0 })
	<-k.Changed()
	first, bundle := serial(t, k.GetCertificate), k.Bundle()
	wantExpiry(t, metrics, k.GetCertificate)

	t.Run("a certificate that ages is renewed by the same authority", func(t *testing.T) {
		c.advance(45 * 24 * time.Hour)
		touch(t)
		eventually(t, "another certificate is served", func() bool { return serial(t, k.GetCertificate) != first })
		if !bytes.Equal(k.Bundle(), bundle) {
			t.Error("the bundle has changed")
		}
		wantExpiry(t, metrics, k.GetCertificate)
	})
	t.Run("an authority that ages is succeeded once it is trusted", func(t *testing.T) {
		hook := &admissionregistrationv1.MutatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: "keep", Labels: map[string]string{mfav1alpha1.ManagedByLabel: mfav1alpha1.ManagedBy}},
			Webhooks: []admissionregistrationv1.MutatingWebhook{{
				Name: "a.b.c", SideEffects: new(admissionregistrationv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
				ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: new("https://localhost/x"), CABundle: bundle},
			}},
		}
		must(t, server.Client.Create(t.Context(), hook))
		t.Cleanup(func() { _ = server.Client.Delete(context.Background(), hook) }) //nolint:usetesting // the test's own has ended
		c.advance(220 * 24 * time.Hour)
		touch(t)
		eventually(t, "two authorities are trusted", func() bool { return authorities(k.Bundle()) == 2 })
		<-k.Changed()
		before := serial(t, k.GetCertificate)
		touch(t)
		time.Sleep(500 * time.Millisecond) // longer than Settle: nothing may happen, which no event tells
		if serial(t, k.GetCertificate) != before {
			t.Fatal("a certificate is served that no configuration trusts")
		}
		hook.Webhooks[0].ClientConfig.CABundle = k.Bundle()
		must(t, server.Client.Update(t.Context(), hook))
		eventually(t, "the new authority's certificate is served", func() bool { return serial(t, k.GetCertificate) != before })
		if authorities(k.Bundle()) != 2 {
			t.Error("the old authority was forgotten at once")
		}
		c.advance(2 * time.Hour)
		touch(t)
		eventually(t, "the old authority is forgotten", func() bool { return authorities(k.Bundle()) == 1 })
		if bytes.Equal(k.Bundle(), bundle) {
			t.Error("the new authority was forgotten")
		}
	})
	t.Run("a Secret that is gone is made anew", func(t *testing.T) {
		old := k.Bundle()
		must(t, server.Client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "keep"}}))
		eventually(t, "there is another authority", func() bool { return !bytes.Equal(k.Bundle(), old) })
	})
}

func TestFilesChangeOver(t *testing.T) {
	newNamespace(t, "files")
	dir := t.TempDir()
	old := writeFiles(t, dir, "hook.acme.svc")
	hook := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "files", Labels: map[string]string{mfav1alpha1.ManagedByLabel: mfav1alpha1.ManagedBy}},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "a.b.c", SideEffects: new(admissionregistrationv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
			ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: new("https://localhost/x"), CABundle: old},
		}},
	}
	must(t, server.Client.Create(t.Context(), hook))
	t.Cleanup(func() { _ = server.Client.Delete(context.Background(), hook) }) //nolint:usetesting // the test's own has ended
	mgr, c, metrics := newManager(t, server.Config), new(clock), prometheus.NewRegistry()
	f, err := certs.NewFiles(mgr, certs.FilesOptions{
		Dir: dir, Names: []string{"hook.acme.svc"}, Settle: 100 * time.Millisecond, Poll: 20 * time.Millisecond,
		Metrics: metrics, Clock: c.now,
	})
	must(t, err)
	run(t, mgr)
	wantExpiry(t, metrics, f.GetCertificate)
	first := serial(t, f.GetCertificate)

	next := writeFiles(t, dir, "hook.acme.svc")
	eventually(t, "both authorities are trusted", func() bool { return authorities(f.Bundle()) == 2 })
	time.Sleep(300 * time.Millisecond) // longer than Settle: nothing may happen, which no event tells
	if serial(t, f.GetCertificate) != first {
		t.Fatal("a certificate is served that no configuration trusts")
	}
	hook.Webhooks[0].ClientConfig.CABundle = f.Bundle()
	must(t, server.Client.Update(t.Context(), hook))
	eventually(t, "the new certificate is served", func() bool { return serial(t, f.GetCertificate) != first })
	if authorities(f.Bundle()) != 2 {
		t.Error("the old authority was forgotten at once")
	}
	c.advance(2 * time.Hour)
	eventually(t, "the old authority is forgotten", func() bool { return bytes.Equal(f.Bundle(), next) })

	second := serial(t, f.GetCertificate)
	must(t, os.WriteFile(filepath.Join(dir, "ca.crt"), old, 0o600))
	time.Sleep(100 * time.Millisecond) // several polls: nothing may happen, which no event tells
	if serial(t, f.GetCertificate) != second || !bytes.Equal(f.Bundle(), next) {
		t.Error("files that do not fit together were taken")
	}
}

func TestFilesRefuseAnotherName(t *testing.T) {
	newNamespace(t, "files-name")
	dir := t.TempDir()
	writeFiles(t, dir, "other.acme.svc")
	_, err := certs.NewFiles(newManager(t, server.Config), certs.FilesOptions{
		Dir: dir, Names: []string{"hook.acme.svc"}, Clock: time.Now,
	})
	if err == nil {
		t.Error("a certificate for another name was taken")
	}
}

// writeFiles writes a fresh authority and its certificate for a name.
func writeFiles(t *testing.T, dir, dnsName string) (authority []byte) {
	t.Helper()
	draw := func() *big.Int {
		n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
		must(t, err)
		return n
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ca := &x509.Certificate{
		SerialNumber: draw(), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	leaf := &x509.Certificate{
		SerialNumber: draw(), DNSNames: []string{dnsName}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	must(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	for file, content := range map[string][]byte{
		"ca.crt":  authority,
		"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leafDER}),
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	} {
		must(t, os.WriteFile(filepath.Join(dir, file), content, 0o600))
	}
	return authority
}
