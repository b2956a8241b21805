package admission_test

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/admission"
	"github.com/sallyport/sallyport/controllers/injection"
	"github.com/sallyport/sallyport/test/apiserver"
)

const (
	namespace = "acme"
	image     = "registry.example/sallyport/sidecar:v1"
)

// fixture is an API server with one policy, in force by the backstop alone: no
// injector runs.
type fixture struct {
	t      *testing.T
	client client.Client
	typed  kubernetes.Interface
	policy *mfav1alpha1.MFAPolicy
}

func policy(t testing.TB, name, selector string) *mfav1alpha1.MFAPolicy {
	t.Helper()
	p := new(mfav1alpha1.MFAPolicy)
	manifest := `{metadata: {name: ` + name + `, namespace: ` + namespace + `}, spec: {selector: ` + selector + `,
		app: {port: 8080}, identity: {type: Endpoint, endpoint: {path: /api/me, cookies: [session], subject: /id}}}}`
	if err := yaml.UnmarshalStrict([]byte(manifest), p); err != nil {
		t.Fatal(err)
	}
	return p
}

// newFixture installs the backstop for a policy and waits until it bites. before
// makes what stood before the policy.
func newFixture(t *testing.T, s *apiserver.Server, before ...*corev1.Pod) *fixture {
	t.Helper()
	f := &fixture{t: t, client: s.Client, typed: kubernetes.NewForConfigOrDie(s.Config)}
	f.must(f.client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
	f.must(f.client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "other"}}))
	for _, pod := range before {
		f.must(f.client.Create(t.Context(), pod))
	}
	f.policy = policy(t, "portal", `{matchLabels: {app: portal}, matchExpressions: [
		{key: tier, operator: NotIn, values: [batch]}, {key: legacy, operator: DoesNotExist}]}`)
	f.must(f.client.Create(t.Context(), f.policy))
	f.policy.Status.Images = []string{image, "registry.example/sallyport/sidecar:v0"}
	f.apply(f.policy)
	f.eventually("the backstop of all policies bites", func() bool {
		return refusal(f.client.Create(t.Context(), pod("probe", but(asRoot)), client.DryRunAll), "securityContext")
	})
	f.eventually("the policy's own backstop bites", func() bool {
		return refusal(f.client.Create(t.Context(), pod("probe", nil), client.DryRunAll), "arrived without")
	})
	return f
}

// apply puts both parts of a policy's backstop in force.
func (f *fixture) apply(p *mfav1alpha1.MFAPolicy) {
	f.t.Helper()
	for _, object := range []runtime.ApplyConfiguration{
		admission.Backstop(), admission.BackstopBinding(p), admission.PolicyBackstop(p), admission.PolicyBackstopBinding(p),
	} {
		f.must(f.client.Apply(f.t.Context(), object, client.FieldOwner(mfav1alpha1.FieldManager), client.ForceOwnership))
	}
}

func refusal(err error, words string) bool { return err != nil && strings.Contains(err.Error(), words) }

func asRoot(p *corev1.Pod) { sidecar(p).SecurityContext.RunAsNonRoot = nil }

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) eventually(what string, holds func() bool) {
	f.t.Helper()
	deadline, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	defer cancel()
	for !holds() {
		select {
		case <-deadline.Done():
			f.t.Fatalf("never came true: %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// denied checks that a write was refused by the backstop, with these words.
func denied(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil {
		t.Fatal("the write was accepted")
	}
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'sallyport") {
		t.Fatalf("refused, but not by the backstop: %v", err)
	}
	if !strings.Contains(err.Error(), words) {
		t.Errorf("refused with %q, want it to say %q", err, words)
	}
}

func pod(name string, mutate func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{"app": "portal"}},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{
				Name: "app", Image: "registry.example/app", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
			}},
		},
	}
	if mutate != nil {
		mutate(p)
	}
	return p
}

// guarded adds what the injector adds where capture is Port.
func guarded(p *corev1.Pod) { inject(p, mfav1alpha1.CapturePort) }

// redirected adds what the injector adds where capture is Redirect; the sidecar makes
// the app's probe.
func redirected(p *corev1.Pod) {
	p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
		HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080)},
	}}
	inject(p, mfav1alpha1.CaptureRedirect)
}

// inject is the injector itself: what it writes and what the backstop asks for cannot
// drift apart.
func inject(p *corev1.Pod, capture mfav1alpha1.Capture, change ...func(*injection.Settings)) {
	governing := new(mfav1alpha1.MFAPolicy)
	governing.Name, governing.Namespace = "portal", namespace
	governing.Spec.App.Port.Number = 8080
	settings := injection.For(governing, capture, injection.Operator{Image: image, Version: "v1"})
	for _, c := range change {
		c(&settings)
	}
	settings.Namespace = cmp.Or(p.Namespace, namespace)
	if err := injection.Inject(p, settings); err != nil {
		panic(err)
	}
}

// but is a guarded pod with something wrong about it.
func but(mutate func(*corev1.Pod)) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		guarded(p)
		mutate(p)
	}
}

func sidecar(p *corev1.Pod) *corev1.Container { return container(p, mfav1alpha1.SidecarContainer) }

func redirect(p *corev1.Pod) *corev1.Container { return container(p, mfav1alpha1.RedirectContainer) }

func container(p *corev1.Pod, name string) *corev1.Container {
	return &p.Spec.InitContainers[slices.IndexFunc(p.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == name })]
}

// keys is the source of the volume that holds the sidecar's keys.
func keys(p *corev1.Pod) *corev1.VolumeSource {
	return &p.Spec.Volumes[slices.IndexFunc(p.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Name == mfav1alpha1.SidecarVolume
	})].VolumeSource
}
