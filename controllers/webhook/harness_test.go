package webhook_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/yaml"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/admission"
	"github.com/sallyport/sallyport/controllers/certs"
	"github.com/sallyport/sallyport/controllers/injection"
	"github.com/sallyport/sallyport/controllers/webhook"
	"github.com/sallyport/sallyport/test/apiserver"
)

const image = "registry.example/sallyport/sidecar:v1"

var server *apiserver.Server

// One API server serves all tests; each has namespaces of its own.
func TestMain(m *testing.M) {
	logf.SetLogger(logr.Discard())
	code := 0
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		s, stop, err := apiserver.Run(assets)
		if err != nil {
			fmt.Fprintln(os.Stderr, "start the API server:", err)
			os.Exit(1)
		}
		server = s
		code = m.Run()
		if err := stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the API server:", err)
			code = 1
		}
	} else {
		code = m.Run()
	}
	os.Exit(code)
}

func cluster(t *testing.T) client.Client {
	t.Helper()
	if server == nil {
		t.Skip(`no API server: run the tests with "make test", or eval "$(test/setup/install --env)" first`)
	}
	return server.Client
}

// front is what a Service is in a cluster: one address before the replicas that live.
type front struct {
	address string

	mu       sync.Mutex
	backends []string
	next     int
}

func newFront(t *testing.T) *front {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	f := &front{address: listener.Addr().String()}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go f.forward(t.Context(), conn)
		}
	}()
	return f
}

func (f *front) forward(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	f.mu.Lock()
	if len(f.backends) == 0 {
		f.mu.Unlock()
		return
	}
	f.next++
	to := f.backends[f.next%len(f.backends)]
	f.mu.Unlock()
	backend, err := new(net.Dialer).DialContext(ctx, "tcp", to)
	if err != nil {
		return
	}
	defer backend.Close()
	go func() {
		_, _ = io.Copy(backend, conn)
		backend.Close()
	}()
	_, _ = io.Copy(conn, backend)
}

func (f *front) url() string {
	_, port, _ := net.SplitHostPort(f.address)
	return "https://localhost:" + port + admission.Path
}

func (f *front) set(backends ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.backends = backends
}

// replica is one running operator.
type replica struct {
	address  string
	keeper   *certs.Keeper
	registry *prometheus.Registry
	stop     func()
}

// start runs a replica whose certificates live in namespace, until the test ends or
// stop is called.
func start(t *testing.T, namespace string, change func(*certs.Options)) *replica {
	t.Helper()
	cluster(t)
	port := freePort(t)
	r := &replica{address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), registry: prometheus.NewRegistry()}
	// The options are read when the server starts; by then there is a keeper.
	hooks := ctrlwebhook.NewServer(ctrlwebhook.Options{
		Host: "127.0.0.1", Port: port, TLSOpts: []func(*tls.Config){func(c *tls.Config) { r.keeper.Configure(c) }},
	})
	mgr, err := ctrl.NewManager(server.Config, ctrl.Options{
		Scheme:                 apiserver.Scheme(),
		Metrics:                metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress: "0",
		WebhookServer:          hooks,
	})
	must(t, err)
	options := certs.Options{
		Secret: types.NamespacedName{Namespace: namespace, Name: "sallyport-webhook-certificate"},
		Names:  []string{"localhost"}, Clock: time.Now, Random: rand.Reader,
	}
	if change != nil {
		change(&options)
	}
	r.keeper, err = certs.NewKeeper(mgr, options)
	must(t, err)
	defaulter, err := webhook.New(mgr.GetCache(), func(context.Context) injection.Operator {
		return injection.Operator{Image: image, Version: "v1"}
	}, time.Now, r.registry)
	must(t, err)
	must(t, defaulter.SetupWithManager(mgr))

	ctx, cancel := context.WithCancel(context.Background()) //nolint:usetesting // it ends when stop is called, or at the cleanup
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the manager ended: %v", err)
		}
	})
	t.Cleanup(r.stop)
	check := r.keeper.Checker(r.address)
	eventually(t, "the replica is ready", func() bool { return check(request(t)) == nil })
	return r
}

// count is how many pods the replica has answered for, by result.
func (r *replica) count(t *testing.T, result string) int {
	t.Helper()
	families, err := r.registry.Gather()
	must(t, err)
	for _, family := range families {
		if family.GetName() != "sallyport_injection_requests_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			if hasLabel(m, result) {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	t.Fatalf("no series for %q", result)
	return 0
}

func hasLabel(m *dto.Metric, value string) bool {
	for _, l := range m.GetLabel() {
		if l.GetValue() == value {
			return true
		}
	}
	return false
}

func (r *replica) total(t *testing.T) int {
	t.Helper()
	sum := 0
	for _, result := range []string{"injected", "unchanged", "refused", "error"} {
		sum += r.count(t, result)
	}
	return sum
}

func newNamespace(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	must(t, cluster(t).Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}))
}

// newPolicy makes the policy portal with selector app: portal, accepted and published.
func newPolicy(t *testing.T, namespace string) *mfav1alpha1.MFAPolicy {
	t.Helper()
	p := new(mfav1alpha1.MFAPolicy)
	manifest := `{metadata: {name: portal, namespace: ` + namespace + `}, spec: {selector: {matchLabels: {app: portal}}, capture: Port,
		app: {port: http}, identity: {type: Endpoint, endpoint: {path: /api/me, cookies: [session], subject: /id}}}}`
	must(t, yaml.UnmarshalStrict([]byte(manifest), p))
	must(t, cluster(t).Create(t.Context(), p))
	base := p.DeepCopy()
	p.Status.Images = []string{image}
	p.Status.PublishedGeneration = p.Generation
	must(t, server.Client.Status().Patch(t.Context(), p, client.MergeFrom(base)))
	t.Cleanup(func() { withdraw(t, p) })
	return p
}

func apply(t *testing.T, object interface{ IsApplyConfiguration() }) {
	t.Helper()
	must(t, server.Client.Apply(t.Context(), object, client.FieldOwner(mfav1alpha1.FieldManager), client.ForceOwnership))
}

// install puts the policy's webhook in force at url, and waits until it is.
func install(t *testing.T, p *mfav1alpha1.MFAPolicy, url string, bundle []byte) {
	t.Helper()
	apply(t, admission.Webhook(p, admission.Target{URL: url, CABundle: bundle}))
	eventually(t, "the webhook is in force", func() bool {
		probe := pod(p.Namespace, "probe", nil)
		return server.Client.Create(t.Context(), probe, client.DryRunAll) == nil && sidecarOf(probe) != nil
	})
}

// guard puts the backstop in force, and waits until it is; a webhook must not stand yet.
func guard(t *testing.T, p *mfav1alpha1.MFAPolicy) {
	t.Helper()
	backstop(t, p)
	eventually(t, "the backstop is in force", func() bool {
		err := server.Client.Create(t.Context(), pod(p.Namespace, "probe", nil), client.DryRunAll)
		return err != nil && strings.Contains(err.Error(), "arrived without")
	})
}

func backstop(t *testing.T, p *mfav1alpha1.MFAPolicy) {
	t.Helper()
	apply(t, admission.Backstop())
	apply(t, admission.BackstopBinding(p))
	apply(t, admission.PolicyBackstop(p))
	apply(t, admission.PolicyBackstopBinding(p))
}

// withdraw takes a policy's rules away, in the controller's order.
func withdraw(t *testing.T, p *mfav1alpha1.MFAPolicy) {
	t.Helper()
	ctx := context.Background() //nolint:usetesting // at a cleanup the test's own has ended
	binding, own := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}
	binding.Name, own.Name = *admission.BackstopBinding(p).Name, *admission.PolicyBackstopBinding(p).Name
	policy, hook := &admissionregistrationv1.ValidatingAdmissionPolicy{}, &admissionregistrationv1.MutatingWebhookConfiguration{}
	policy.Name, hook.Name = own.Name, admission.WebhookName(p.Namespace, p.Name)
	for _, o := range []client.Object{binding, own, policy, hook, p} {
		if err := server.Client.Delete(ctx, o); err != nil && !apierrors.IsNotFound(err) {
			t.Errorf("delete %s: %v", o.GetName(), err)
		}
	}
}

func pod(namespace, name string, mutate func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{"app": "portal"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "app", Image: "registry.example/app", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
		}}},
	}
	if mutate != nil {
		mutate(p)
	}
	return p
}

// sidecarOf is the injected container, nil where there is none.
func sidecarOf(p *corev1.Pod) *corev1.Container {
	for i, c := range p.Spec.InitContainers {
		if c.Name == mfav1alpha1.SidecarContainer && c.Image == image {
			return &p.Spec.InitContainers[i]
		}
	}
	return nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refusedWith(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil {
		t.Fatal("the write was accepted")
	}
	if !strings.Contains(err.Error(), words) {
		t.Errorf("refused with %q, want it to say %q", err, words)
	}
	if status, ok := errors.AsType[*apierrors.StatusError](err); !ok || status.ErrStatus.Code >= 500 && status.ErrStatus.Code != 503 {
		t.Errorf("refused with %+v, want a refusal and not a fault", err)
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
		case <-time.After(50 * time.Millisecond):
		}
	}
}
