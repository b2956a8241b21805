package webhook_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/admission"
)

func request(t testing.TB) *http.Request {
	t.Helper()
	return httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", http.NoBody)
}

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func TestOnlySelectedPodsReachTheInjector(t *testing.T) {
	c := cluster(t)
	newNamespace(t, "select", nil)
	newNamespace(t, "select-other", nil)
	policy := newPolicy(t, "select")
	guard(t, policy)
	r := start(t, "select", nil)
	f := newFront(t)
	f.set(r.address)
	install(t, policy, f.url(), r.keeper.Bundle())

	t.Run("selected pod is injected", func(t *testing.T) {
		p := pod("select", "selected", nil)
		must(t, c.Create(t.Context(), p))
		if sidecarOf(p) == nil {
			t.Error("no sidecar")
		}
		if got := p.Annotations[mfav1alpha1.PolicyAnnotation]; got != "portal" {
			t.Errorf("governed by %q, want portal", got)
		}
	})
	t.Run("dry run is injected and kept nowhere", func(t *testing.T) {
		p := pod("select", "dry", nil)
		must(t, c.Create(t.Context(), p, client.DryRunAll))
		if sidecarOf(p) == nil {
			t.Error("no sidecar")
		}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(p), p); client.IgnoreNotFound(err) != nil || err == nil {
			t.Errorf("the pod is there: %v", err)
		}
	})
	outside := map[string]func() *corev1.Pod{
		"another app":       func() *corev1.Pod { return pod("select", "", func(p *corev1.Pod) { p.Labels["app"] = "shop" }) },
		"without labels":    func() *corev1.Pod { return pod("select", "", func(p *corev1.Pod) { p.Labels = nil }) },
		"another namespace": func() *corev1.Pod { return pod("select-other", "", nil) },
	}
	untouched := func(t *testing.T) {
		for name, make := range outside {
			t.Run(name, func(t *testing.T) {
				before := r.total(t)
				p := make()
				p.GenerateName = "outside-"
				must(t, c.Create(t.Context(), p))
				if len(p.Spec.InitContainers) > 0 || len(p.Annotations) > 0 {
					t.Errorf("the pod was touched: %v", p)
				}
				if after := r.total(t); after != before {
					t.Errorf("the injector was asked %d times", after-before)
				}
			})
		}
	}
	t.Run("others are untouched", untouched)
	t.Run("others are untouched by an outage", func(t *testing.T) {
		r.stop()
		untouched(t)
	})
	t.Run("selected pod is refused in an outage", func(t *testing.T) {
		err := c.Create(t.Context(), pod("select", "outage", nil))
		if err == nil {
			t.Fatal("the pod was accepted")
		}
		must(t, client.IgnoreNotFound(c.Get(t.Context(), client.ObjectKey{Namespace: "select", Name: "outage"}, new(corev1.Pod))))
	})
	t.Run("an injected pod lives on in an outage", func(t *testing.T) {
		p := new(corev1.Pod)
		must(t, c.Get(t.Context(), client.ObjectKey{Namespace: "select", Name: "selected"}, p))
		p.Labels["colour"] = "red"
		must(t, c.Update(t.Context(), p))
		must(t, c.Delete(t.Context(), p))
	})
}

func TestNobodyOptsOut(t *testing.T) {
	c := cluster(t)
	newNamespace(t, "optout", nil)
	policy := newPolicy(t, "optout")
	guard(t, policy)
	r := start(t, "optout", nil)
	install(t, policy, "https://localhost:"+portOf(r.address)+admission.Path, r.keeper.Bundle())

	plain := pod("optout", "plain", nil)
	must(t, c.Create(t.Context(), plain))
	want := *sidecarOf(plain)
	for name, mutate := range map[string]func(*corev1.Pod){
		"label":               func(p *corev1.Pod) { p.Labels[mfav1alpha1.GroupName+"/inject"] = "false" },
		"annotation":          func(p *corev1.Pod) { p.Annotations = map[string]string{mfav1alpha1.GroupName + "/inject": "false"} },
		"claim of injection":  func(p *corev1.Pod) { p.Annotations = plain.Annotations },
		"claim of a revision": func(p *corev1.Pod) { p.Annotations = map[string]string{mfav1alpha1.RevisionAnnotation: "x"} },
		"fake sidecar": func(p *corev1.Pod) {
			p.Annotations = plain.Annotations
			p.Spec.InitContainers = []corev1.Container{{
				Name: mfav1alpha1.SidecarContainer, Image: "evil.example/sidecar", RestartPolicy: new(corev1.ContainerRestartPolicyAlways),
			}}
		},
		"fake sidecar of the right image": func(p *corev1.Pod) {
			p.Annotations = plain.Annotations
			fake := *want.DeepCopy()
			fake.Args = []string{"--follow", "optout/portal", "--app", "http://127.0.0.1:1"}
			p.Spec.InitContainers = []corev1.Container{fake}
		},
		"fake sidecar among the containers": func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: mfav1alpha1.SidecarContainer, Image: image})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := pod("optout", "", mutate)
			p.GenerateName = "optout-"
			if err := c.Create(t.Context(), p); err != nil {
				refusedWith(t, err, "") // refused is as good as corrected
				return
			}
			got := sidecarOf(p)
			if got == nil {
				t.Fatal("the pod has no sidecar")
			}
			if diff := cmp.Diff(want, *got); diff != "" {
				t.Errorf("the sidecar is not as injected elsewhere (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(plain.Annotations, p.Annotations, ignoreInject()); diff != "" {
				t.Errorf("annotations (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("image by update", func(t *testing.T) {
		p := plain.DeepCopy()
		sidecarOf(p).Image = "evil.example/sidecar"
		refusedWith(t, c.Update(t.Context(), p), "may not be changed")
	})
	t.Run("entering by labels", func(t *testing.T) {
		p := pod("optout", "entering", func(p *corev1.Pod) { p.Labels = nil })
		must(t, c.Create(t.Context(), p))
		p.Labels = map[string]string{"app": "portal"}
		refusedWith(t, c.Update(t.Context(), p), "not created under it")
	})
	t.Run("without the webhook's configuration", func(t *testing.T) {
		deleteHook(t, policy)
		eventually(t, "the API server forgets the webhook", func() bool {
			before := r.total(t)
			_ = c.Create(t.Context(), pod("optout", "gone", nil), client.DryRunAll)
			return r.total(t) == before
		})
		refusedWith(t, c.Create(t.Context(), pod("optout", "gone", nil)), "arrived without the init container")
	})
}

func TestPolicyThatCannotBeFollowed(t *testing.T) {
	c := cluster(t)
	newNamespace(t, "unready", nil)
	policy := newPolicy(t, "unready")
	r := start(t, "unready", nil)
	install(t, policy, "https://localhost:"+portOf(r.address)+admission.Path, r.keeper.Bundle())
	refused := func(t *testing.T, words string) {
		t.Helper()
		eventually(t, "the injector hears of it", func() bool {
			return c.Create(t.Context(), pod("unready", "probe", nil), client.DryRunAll) != nil
		})
		refusedWith(t, c.Create(t.Context(), pod("unready", "refused", nil)), words)
	}
	t.Run("never published and invalid", func(t *testing.T) {
		base := policy.DeepCopy()
		policy.Status.PublishedGeneration = 0
		must(t, c.Status().Patch(t.Context(), policy, client.MergeFrom(base)))
		base = policy.DeepCopy()
		policy.Spec.Issuer = "Acme: portal"
		if err := c.Patch(t.Context(), policy, client.MergeFrom(base)); err != nil {
			t.Skipf("the API server refuses it already: %v", err)
		}
		refused(t, "is not valid; correct it")
	})
	t.Run("pod that cannot be injected", func(t *testing.T) {
		base := policy.DeepCopy()
		policy.Spec.Issuer = ""
		must(t, c.Patch(t.Context(), policy, client.MergeFrom(base)))
		base = policy.DeepCopy()
		policy.Status.PublishedGeneration = policy.Generation
		must(t, c.Status().Patch(t.Context(), policy, client.MergeFrom(base)))
		eventually(t, "the injector hears of it", func() bool {
			return c.Create(t.Context(), pod("unready", "probe", nil), client.DryRunAll) == nil
		})
		before := r.count(t, "refused")
		refusedWith(t, c.Create(t.Context(), pod("unready", "portless", func(p *corev1.Pod) { p.Spec.Containers[0].Ports = nil })), "http")
		if r.count(t, "refused") != before+1 {
			t.Error("the refusal was not counted")
		}
	})
	t.Run("policy gone while its rule stands", func(t *testing.T) {
		must(t, c.Delete(t.Context(), policy))
		refused(t, "no MFAPolicy that selects this pod is known here yet; try again")
	})
}

func TestUnknownFieldsOfAPodSurvive(t *testing.T) {
	// The API server drops fields that it does not know itself, so it is asked what it
	// makes of a pod with everything that it knows and defaults.
	c := cluster(t)
	newNamespace(t, "fields", nil)
	policy := newPolicy(t, "fields")
	r := start(t, "fields", nil)
	install(t, policy, "https://localhost:"+portOf(r.address)+admission.Path, r.keeper.Bundle())
	manifest := func(labels map[string]any) *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"namespace": "fields", "name": "fields", "labels": labels, "finalizers": []any{"example.com/keep"}},
			"spec": map[string]any{
				"hostUsers": true, "setHostnameAsFQDN": false, "enableServiceLinks": false,
				"topologySpreadConstraints": []any{map[string]any{
					"maxSkew": int64(1), "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "matchLabelKeys": []any{"x"},
					"labelSelector": map[string]any{},
				}},
				"containers": []any{map[string]any{
					"name": "app", "image": "registry.example/app", "resizePolicy": []any{
						map[string]any{"resourceName": "cpu", "restartPolicy": "NotRequired"},
					},
					"ports":     []any{map[string]any{"name": "http", "containerPort": int64(8080)}},
					"lifecycle": map[string]any{"preStop": map[string]any{"sleep": map[string]any{"seconds": int64(3)}}},
				}},
			},
		}}
		u.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "Pod"})
		return u
	}
	bare, guarded := manifest(nil), manifest(map[string]any{"app": "portal"})
	must(t, c.Create(t.Context(), bare, client.DryRunAll))
	must(t, c.Create(t.Context(), guarded, client.DryRunAll))
	for _, field := range []string{"hostUsers", "setHostnameAsFQDN", "enableServiceLinks", "topologySpreadConstraints"} {
		want, _, _ := unstructured.NestedFieldNoCopy(bare.Object, "spec", field)
		got, _, _ := unstructured.NestedFieldNoCopy(guarded.Object, "spec", field)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("spec.%s (-bare +injected):\n%s", field, diff)
		}
	}
	if diff := cmp.Diff(bare.GetFinalizers(), guarded.GetFinalizers()); diff != "" {
		t.Errorf("finalizers (-bare +injected):\n%s", diff)
	}
}

func TestRestrictedNamespaceAdmitsInjectedPods(t *testing.T) {
	c := cluster(t)
	newNamespace(t, "restricted", map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	policy := newPolicy(t, "restricted")
	r := start(t, "restricted", nil)
	apply(t, admission.Webhook(policy, admission.Target{
		URL: "https://localhost:" + portOf(r.address) + admission.Path, CABundle: r.keeper.Bundle(),
	}))
	secure := func(p *corev1.Pod) {
		p.Spec.SecurityContext = &corev1.PodSecurityContext{
			RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		}
		p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}
	}
	eventually(t, "a pod is admitted with its sidecar", func() bool {
		p := pod("restricted", "probe", secure)
		must(t, c.Create(t.Context(), p, client.DryRunAll))
		return sidecarOf(p) != nil
	})
	refusedWith(t, c.Create(t.Context(), pod("restricted", "insecure", nil)), "violates PodSecurity")
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}
