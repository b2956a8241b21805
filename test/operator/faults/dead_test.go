package faults_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport/sallyport/test/operator"
	"github.com/sallyport/sallyport/test/stack"
)

// listener stands where the operator's webhook was, and counts who calls.
type listener struct{ calls atomic.Int64 }

// impostor listens at an address until the test ends. With a certificate it talks TLS;
// without one it takes connections and says nothing.
func impostor(t *testing.T, address string, certificate *tls.Certificate) *listener {
	t.Helper()
	inner, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatalf("listen where the operator did: %v", err)
	}
	l := new(listener)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := inner.Accept()
			if err != nil {
				return
			}
			l.calls.Add(1)
			if certificate != nil {
				conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12})
				go func() { _ = conn.(*tls.Conn).HandshakeContext(t.Context()) }()
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	t.Cleanup(func() { _ = inner.Close(); <-done })
	return l
}

// strangersCertificate is one that no webhook of ours trusts.
func strangersCertificate(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{signed}, PrivateKey: key}
}

// outside are pods that no policy selects.
func outside() map[string]*corev1.Pod {
	other := func(p *corev1.Pod) { p.Labels = map[string]string{"app": "other"} }
	return map[string]*corev1.Pod{
		"beside the selected":             operator.Pod("watched", "other", other),
		"without labels":                  operator.Pod("watched", "bare", func(p *corev1.Pod) { p.Labels = nil }),
		"the labels in another namespace": operator.Pod("unwatched", "portal"),
		"of the system":                   operator.Pod(metav1.NamespaceSystem, "portal"),
		"of the operator":                 operator.Pod(operator.Namespace, "portal"),
		"that looks injected":             operator.Pod("watched", "alike", other, lookAlike),
		"that we would refuse":            operator.Pod("watched", "host", other, func(p *corev1.Pod) { p.Spec.HostNetwork = true }),
	}
}

func lookAlike(p *corev1.Pod) {
	p.Annotations = map[string]string{"mfa.sallyport.dev/policy": "portal"}
	p.Spec.InitContainers = []corev1.Container{{
		Name: "helper", Image: "registry.test/helper:1", RestartPolicy: new(corev1.ContainerRestartPolicyAlways),
	}}
}

// asCreated is what an API server makes of a pod, without what differs each time.
func asCreated(pod *corev1.Pod) corev1.Pod {
	is := *pod.DeepCopy()
	is.UID, is.ResourceVersion, is.CreationTimestamp, is.ManagedFields = "", "", metav1.Time{}, nil
	return is
}

// TestOutsideEveryPolicyWithADeadOperator creates pods that no policy selects: before
// there is any policy, and while the operator is dead in each way in which it can be.
// The API server makes the same of them, and calls nobody.
func TestOutsideEveryPolicyWithADeadOperator(t *testing.T) {
	c := operator.Shared(t)
	c.Create(operator.NewNamespace("unwatched"), operator.NewNamespace("watched"))
	before := make(map[string]corev1.Pod)
	for name, pod := range outside() {
		c.Create(pod)
		before[name] = asCreated(pod)
		c.Remove(pod)
	}
	address := stack.FreeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	process := c.Operator("--webhook-listen", address, "--webhook-url", "https://localhost:"+port)
	p := operator.Portal("watched")
	c.Create(p)
	c.AwaitReady(p)
	carrier, sidecar := c.Protect(p, "portal-1", operator.App(t))
	process.Kill()
	if !c.RulesOf(p).Complete() {
		t.Fatal("the admission rules went with the operator: this test shows nothing")
	}

	for _, dead := range []struct {
		name     string
		listen   func(*testing.T) *listener
		refusals []string
	}{
		{"nobody listens", func(*testing.T) *listener { return new(listener) }, []string{"failed calling webhook", "connection refused"}},
		{
			"it takes connections and never answers", func(t *testing.T) *listener { return impostor(t, address, nil) },
			[]string{"failed calling webhook", "deadline exceeded"},
		},
		{
			"its certificate is a stranger's", func(t *testing.T) *listener { return impostor(t, address, strangersCertificate(t)) },
			[]string{"failed calling webhook", "certificate"},
		},
	} {
		t.Run(dead.name, func(t *testing.T) {
			c := c.For(t)
			where := dead.listen(t)
			for name, pod := range outside() {
				c.Create(pod)
				if diff := cmp.Diff(before[name], asCreated(pod)); diff != "" {
					t.Errorf("a pod %s is not what it was without us (-want +got):\n%s", name, diff)
				}
				operator.Change(c, pod, func(p *corev1.Pod) { p.Annotations = map[string]string{"changed": "yes"} })
				c.Running(pod)
				c.Remove(pod)
			}
			// What a kubelet says of a pod that runs its sidecar, and that it ends.
			c.Running(carrier)
			if got := where.calls.Load(); got != 0 {
				t.Errorf("the webhook was called %d times", got)
			}

			err := c.Client.Create(t.Context(), operator.Pod("watched", "portal-2"))
			if err == nil {
				t.Fatal("a selected pod came in without a sidecar")
			}
			if dead.refusals[1] != "connection refused" && where.calls.Load() == 0 {
				t.Error("the API server called nobody for the selected pod: this test counts nothing")
			}
			operator.WantIn(t, "the refusal", err.Error(), append(dead.refusals, "mfa.sallyport.dev")...)
		})
	}
	c.SignIn(sidecar, "alice").AwaitLands("app")
	c.Remove(carrier)
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(carrier), carrier); err == nil {
		t.Error("a pod with a sidecar could not be deleted")
	}
}
