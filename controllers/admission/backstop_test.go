package admission_test

import (
	"context"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/admission"
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
	f.images(image, "registry.example/sallyport/sidecar:v0")
	f.apply()
	return f
}

func (f *fixture) apply() {
	f.t.Helper()
	owner := client.FieldOwner(mfav1alpha1.FieldManager)
	f.must(f.client.Apply(f.t.Context(), admission.Backstop(), owner, client.ForceOwnership))
	f.must(f.client.Apply(f.t.Context(), admission.BackstopBinding(f.policy), owner, client.ForceOwnership))
	f.eventually("the backstop bites", func() bool {
		return f.client.Create(f.t.Context(), pod("probe", nil), client.DryRunAll) != nil
	})
	f.eventually("the backstop knows the images", func() bool {
		return f.client.Create(f.t.Context(), pod("probe", guarded), client.DryRunAll) == nil
	})
}

// images writes the status as the controller does.
func (f *fixture) images(images ...string) {
	f.t.Helper()
	base := f.policy.DeepCopy()
	f.policy.Status.Images = images
	f.must(f.client.Status().Patch(f.t.Context(), f.policy, client.MergeFrom(base)))
}

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
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), admission.BackstopName) {
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
			Containers: []corev1.Container{{Name: "app", Image: "registry.example/app"}},
		},
	}
	if mutate != nil {
		mutate(p)
	}
	return p
}

// guarded adds what the injector adds.
func guarded(p *corev1.Pod) {
	p.Annotations = map[string]string{mfav1alpha1.PolicyAnnotation: "portal", mfav1alpha1.RevisionAnnotation: "abc"}
	p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "sallyport", VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{
			Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: mfav1alpha1.SidecarSecret}},
		}}},
	}})
	p.Spec.InitContainers = append([]corev1.Container{{
		Name: mfav1alpha1.SidecarContainer, Image: image,
		Args:          []string{"--follow", namespace + "/portal", "--app", "http://127.0.0.1:8080"},
		RestartPolicy: new(corev1.ContainerRestartPolicyAlways),
		VolumeMounts:  []corev1.VolumeMount{{Name: "sallyport", MountPath: mfav1alpha1.SidecarMount}},
		SecurityContext: &corev1.SecurityContext{
			RunAsUser: new(int64(65532)), RunAsNonRoot: new(true), ReadOnlyRootFilesystem: new(true), AllowPrivilegeEscalation: new(false),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}}, p.Spec.InitContainers...)
}

// but is a guarded pod with something wrong about it.
func but(mutate func(*corev1.Pod)) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		guarded(p)
		mutate(p)
	}
}

func sidecar(p *corev1.Pod) *corev1.Container { return &p.Spec.InitContainers[0] }

func TestBackstop(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *apiserver.Server{
		"the current minor": apiserver.Start, "the oldest supported minor": apiserver.StartOldest,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, start(t), pod("old", nil), pod("old-leaving", func(p *corev1.Pod) {
				p.Finalizers = []string{"example.com/wait"}
			}))
			t.Run("create", func(t *testing.T) { testCreate(t, f) })
			t.Run("update", func(t *testing.T) { testUpdate(t, f) })
			t.Run("old pods", func(t *testing.T) { testOldPods(t, f) })
			t.Run("entering", func(t *testing.T) { testEntering(t, f) })
			t.Run("policy", func(t *testing.T) { testPolicy(t, f) })
		})
	}
}

func testCreate(t *testing.T, f *fixture) {
	for _, c := range []struct {
		name   string
		mutate func(*corev1.Pod)
		denied string // "" where it is accepted
	}{
		{"guarded pod", guarded, ""},
		{"guarded pod of the image before", but(func(p *corev1.Pod) {
			sidecar(p).Image = "registry.example/sallyport/sidecar:v0"
		}), ""},
		{"pod that an older policy governs", but(func(p *corev1.Pod) { sidecar(p).Args[1] = "acme/older" }), ""},
		{"pod without a sidecar", nil, "arrived without the init container sallyport"},
		{"opt out by label", func(p *corev1.Pod) { p.Labels["sidecar.sallyport.dev/inject"] = "false" }, "arrived without"},
		{"opt out by annotation", func(p *corev1.Pod) {
			p.Annotations = map[string]string{mfav1alpha1.PolicyAnnotation: "portal", mfav1alpha1.RevisionAnnotation: "abc"}
		}, "arrived without"},
		{"not selected by its expression", func(p *corev1.Pod) { p.Labels["tier"] = "batch" }, ""},
		{"not selected for a label that must not be", func(p *corev1.Pod) { p.Labels["legacy"] = "" }, ""},
		{"other namespace", func(p *corev1.Pod) { p.Namespace = "other" }, ""},
		{"fake sidecar among the containers", func(p *corev1.Pod) { p.Spec.Containers[0].Name = "sallyport" }, "arrived without"},
		{"fake image", but(func(p *corev1.Pod) { sidecar(p).Image = "evil.example/sidecar" }), "not one that the operator injects"},
		{"init container that ends", but(func(p *corev1.Pod) { sidecar(p).RestartPolicy = nil }), "restartPolicy Always"},
		{"another command", but(func(p *corev1.Pod) { sidecar(p).Command = []string{"/sidecar", "version"} }), "must follow"},
		{"no arguments", but(func(p *corev1.Pod) { sidecar(p).Args = nil }), "must follow an MFAPolicy of namespace acme"},
		{"policy of another namespace", but(func(p *corev1.Pod) { sidecar(p).Args[1] = "other/portal" }), "must follow"},
		{"policy named twice", but(func(p *corev1.Pod) { sidecar(p).Args = append(sidecar(p).Args, "--follow=other/x") }), "must follow"},
		{"sidecar as root", but(func(p *corev1.Pod) { sidecar(p).SecurityContext.RunAsNonRoot = nil }), "securityContext"},
		{"sidecar as the app's user", but(func(p *corev1.Pod) {
			sidecar(p).SecurityContext.RunAsUser = new(int64(1000))
		}), "securityContext"},
		{"sidecar without a securityContext", but(func(p *corev1.Pod) { sidecar(p).SecurityContext = nil }), "securityContext"},
		{"sidecar with a capability", but(func(p *corev1.Pod) {
			sidecar(p).SecurityContext.Capabilities.Add = []corev1.Capability{"NET_BIND_SERVICE"}
		}), "securityContext"},
		{"keys mounted by the app", but(func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "sallyport", MountPath: "/keys"}}
		}), "No container but the sidecar"},
		{"keys mounted by another name", but(func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "harmless", VolumeSource: corev1.VolumeSource{
				Secret: &corev1.SecretVolumeSource{SecretName: mfav1alpha1.SidecarSecret},
			}})
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "harmless", MountPath: "/keys"}}
		}), "No container but the sidecar"},
		{"keys read by the environment", but(func(p *corev1.Pod) {
			p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: mfav1alpha1.SidecarSecret},
			}}}
		}), "No container but the sidecar"},
		{"one key read by the environment", but(func(p *corev1.Pod) {
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "K", ValueFrom: &corev1.EnvVarSource{
				SecretKeyRef: &corev1.SecretKeySelector{
					LocalObjectReference: corev1.LocalObjectReference{Name: mfav1alpha1.SidecarSecret}, Key: "keys.json",
				},
			}}}
		}), "No container but the sidecar"},
		{"own Secret of the app", but(func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "app", VolumeSource: corev1.VolumeSource{
				Secret: &corev1.SecretVolumeSource{SecretName: "app"},
			}}, corev1.Volume{Name: "empty"})
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "app", MountPath: "/app"}}
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "A", Value: "b"}}
		}), ""},
		{"hostNetwork", but(func(p *corev1.Pod) { p.Spec.HostNetwork = true }), "must not set hostNetwork"},
		{"hostPID", but(func(p *corev1.Pod) { p.Spec.HostPID = true }), "must not set hostNetwork"},
		{"shareProcessNamespace", but(func(p *corev1.Pod) { p.Spec.ShareProcessNamespace = new(true) }), "must not set hostNetwork"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := pod("", c.mutate)
			p.GenerateName = "create-"
			err := f.client.Create(t.Context(), p, client.DryRunAll)
			if c.denied != "" {
				denied(t, err, c.denied)
			} else if err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

func testUpdate(t *testing.T, f *fixture) {
	running := pod("running", guarded)
	f.must(f.client.Create(t.Context(), running))
	for _, c := range []struct {
		name   string
		mutate func(*corev1.Pod)
		denied string
	}{
		{"the app's image", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "registry.example/app:2" }, ""},
		{"a label", func(p *corev1.Pod) { p.Labels["colour"] = "red" }, ""},
		{"leaving the selection", func(p *corev1.Pod) { delete(p.Labels, "app") }, ""},
		{"an annotation of its own", func(p *corev1.Pod) { p.Annotations["note"] = "x" }, ""},
		{"the sidecar's image", func(p *corev1.Pod) { sidecar(p).Image = "evil.example/sidecar" }, "may not be changed"},
		{"the sidecar's image, to the one before", func(p *corev1.Pod) {
			sidecar(p).Image = "registry.example/sallyport/sidecar:v0"
		}, "may not be changed"},
		{"the sidecar's image while leaving the selection", func(p *corev1.Pod) {
			sidecar(p).Image, p.Labels = "evil.example/sidecar", nil
		}, "may not be changed"},
		{"the policy's name", func(p *corev1.Pod) { p.Annotations[mfav1alpha1.PolicyAnnotation] = "x" }, "annotations"},
		{"no revision", func(p *corev1.Pod) { delete(p.Annotations, mfav1alpha1.RevisionAnnotation) }, "annotations"},
		{"a version that was not there", func(p *corev1.Pod) { p.Annotations[mfav1alpha1.VersionAnnotation] = "9" }, "annotations"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := running.DeepCopy()
			c.mutate(p)
			err := f.client.Update(t.Context(), p, client.DryRunAll)
			if c.denied != "" {
				denied(t, err, c.denied)
			} else if err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
	t.Run("an ephemeral container", func(t *testing.T) {
		denied(t, f.debug(t, "running"), "kubectl debug running -n acme --copy-to=running-debug")
	})
	t.Run("its status", func(t *testing.T) {
		p := running.DeepCopy()
		p.Status.Phase = corev1.PodRunning
		if err := f.client.Status().Update(t.Context(), p); err != nil {
			t.Errorf("refused: %v", err)
		}
	})
	t.Run("its deletion", func(t *testing.T) {
		if err := f.client.Delete(t.Context(), running); err != nil {
			t.Errorf("refused: %v", err)
		}
	})
}

func (f *fixture) debug(t *testing.T, name string) error {
	t.Helper()
	p, err := f.typed.CoreV1().Pods(namespace).Get(t.Context(), name, metav1.GetOptions{})
	f.must(err)
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: "debug", Image: "busybox", TerminationMessagePolicy: "File",
	}}}
	_, err = f.typed.CoreV1().Pods(namespace).UpdateEphemeralContainers(t.Context(), name, p,
		metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// Pods from before the policy carry no sidecar; what the cluster does to them goes on.
func testOldPods(t *testing.T, f *fixture) {
	read := func(name string) *corev1.Pod {
		p := new(corev1.Pod)
		f.must(f.client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, p))
		return p
	}
	t.Run("label", func(t *testing.T) {
		p := read("old")
		p.Labels["colour"] = "red"
		if err := f.client.Update(t.Context(), p); err != nil {
			t.Errorf("refused: %v", err)
		}
	})
	t.Run("finalizer", func(t *testing.T) {
		p := read("old-leaving")
		p.Finalizers = nil
		if err := f.client.Update(t.Context(), p); err != nil {
			t.Errorf("refused: %v", err)
		}
	})
	t.Run("ephemeral container", func(t *testing.T) { denied(t, f.debug(t, "old"), "no ephemeral container may join it") })
	t.Run("leaving and coming back", func(t *testing.T) {
		p := read("old")
		p.Labels["legacy"] = "yes"
		f.must(f.client.Update(t.Context(), p))
		delete(p.Labels, "legacy")
		denied(t, f.client.Update(t.Context(), p), "was created without the sidecar")
	})
}

func testEntering(t *testing.T, f *fixture) {
	for _, c := range []struct {
		name   string
		mutate func(*corev1.Pod)
		denied string
	}{
		{"bare", nil, "was created without the sidecar"},
		{"guarded", guarded, ""},
		{"fake", but(func(p *corev1.Pod) { sidecar(p).Image = "evil.example/sidecar" }), "not one that the operator injects"},
		{"weaker", but(func(p *corev1.Pod) { sidecar(p).Args[1] = "acme/weaker" }), "must follow MFAPolicy portal"},
		{"host", but(func(p *corev1.Pod) { p.Spec.HostNetwork = true }), "must not set hostNetwork"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for how, enter := range map[string]func(*corev1.Pod){
				"equal":     func(p *corev1.Pod) { p.Labels["app"] = "portal" },
				"not in":    func(p *corev1.Pod) { p.Labels["tier"] = "web" },
				"no longer": func(p *corev1.Pod) { delete(p.Labels, "legacy") },
			} {
				t.Run(how, func(t *testing.T) {
					outside := map[string]map[string]string{
						"equal": {"app": "x"}, "not in": {"app": "portal", "tier": "batch"}, "no longer": {"app": "portal", "legacy": "y"},
					}[how]
					p := pod("", c.mutate)
					p.GenerateName, p.Labels = "entering-", outside
					f.must(f.client.Create(t.Context(), p))
					enter(p)
					err := f.client.Update(t.Context(), p, client.DryRunAll)
					if c.denied != "" {
						denied(t, err, c.denied)
					} else if err != nil {
						t.Errorf("refused: %v", err)
					}
				})
			}
		})
	}
}

func testPolicy(t *testing.T, f *fixture) {
	t.Run("without images nothing is created", func(t *testing.T) {
		f.images()
		f.eventually("the images are forgotten", func() bool {
			return f.client.Create(t.Context(), pod("imageless", guarded), client.DryRunAll) != nil
		})
		denied(t, f.client.Create(t.Context(), pod("imageless", guarded), client.DryRunAll), "is not in force yet")
	})
	t.Run("without its binding pods are created as they are", func(t *testing.T) {
		binding := new(admissionregistrationv1.ValidatingAdmissionPolicyBinding)
		binding.Name = *admission.BackstopBinding(f.policy).Name
		f.must(f.client.Delete(t.Context(), binding))
		f.must(f.client.Delete(t.Context(), f.policy))
		f.eventually("pods are created", func() bool {
			return f.client.Create(t.Context(), pod("free", nil), client.DryRunAll) == nil
		})
	})
}
