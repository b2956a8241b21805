package admission_test

import (
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/admission"
	"github.com/sallyport/sallyport/test/apiserver"
)

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
			t.Run("weakened", func(t *testing.T) { testWeakened(t, f) })
			t.Run("capture", func(t *testing.T) { testCapture(t, f) })
			t.Run("update", func(t *testing.T) { testUpdate(t, f) })
			t.Run("old pods", func(t *testing.T) { testOldPods(t, f) })
			t.Run("entering", func(t *testing.T) { testEntering(t, f) })
			t.Run("status", func(t *testing.T) { testStatus(t, f) })
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
		{"init container that ends", but(func(p *corev1.Pod) {
			sidecar(p).RestartPolicy, sidecar(p).StartupProbe, sidecar(p).ReadinessProbe, sidecar(p).LivenessProbe = nil, nil, nil, nil
		}), "restartPolicy Always"},
		{"another command", but(func(p *corev1.Pod) { sidecar(p).Command = []string{"/sidecar", "version"} }), "must follow"},
		{"no arguments", but(func(p *corev1.Pod) { sidecar(p).Args = nil }), "must follow an MFAPolicy of namespace acme"},
		{"policy of another namespace", but(func(p *corev1.Pod) { sidecar(p).Args[1] = "other/portal" }), "must follow"},
		{"policy named twice", but(func(p *corev1.Pod) { sidecar(p).Args = append(sidecar(p).Args, "--follow=other/x") }), "must follow"},
		{"sidecar as root", but(asRoot), "securityContext"},
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
		denied(t, f.client.Update(t.Context(), p), "was not created under it")
	})
}

// Nothing enters the selection later, with a sidecar or without: what is in a pod was
// looked at when it was created.
func testEntering(t *testing.T, f *fixture) {
	for name, mutate := range map[string]func(*corev1.Pod){
		"bare": nil, "guarded": guarded, "fake": but(func(p *corev1.Pod) { sidecar(p).Image = "evil.example/sidecar" }),
	} {
		t.Run(name, func(t *testing.T) {
			for _, way := range []struct {
				name    string
				outside map[string]string
				enter   func(labels map[string]string)
			}{
				{"equal", map[string]string{"app": "x"}, func(labels map[string]string) { labels["app"] = "portal" }},
				{"not in", map[string]string{"app": "portal", "tier": "batch"}, func(labels map[string]string) { labels["tier"] = "web" }},
				{"no longer", map[string]string{"app": "portal", "legacy": "y"}, func(labels map[string]string) { delete(labels, "legacy") }},
			} {
				t.Run(way.name, func(t *testing.T) {
					p := pod("", mutate)
					p.GenerateName, p.Labels = "entering-", way.outside
					f.must(f.client.Create(t.Context(), p))
					way.enter(p.Labels)
					denied(t, f.client.Update(t.Context(), p, client.DryRunAll), "was not created under it")
				})
			}
		})
	}
}

// Who may write a pod's status may change its labels with it.
func testStatus(t *testing.T, f *fixture) {
	outside := pod("status-outside", func(p *corev1.Pod) { p.Labels = map[string]string{"app": "x"} })
	inside := pod("status-inside", guarded)
	f.must(f.client.Create(t.Context(), outside))
	f.must(f.client.Create(t.Context(), inside))
	dryRun := &client.SubResourceUpdateOptions{UpdateOptions: client.UpdateOptions{DryRun: []string{metav1.DryRunAll}}}
	for _, c := range []struct {
		name   string
		pod    *corev1.Pod
		mutate func(*corev1.Pod)
		denied string
	}{
		{"phase", inside, func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }, ""},
		{"entering", outside, func(p *corev1.Pod) { p.Labels["app"] = "portal" }, "through pods/status"},
		{"another pod's labels", outside, func(p *corev1.Pod) { p.Labels["app"] = "y" }, ""},
		{"policy's name", inside, func(p *corev1.Pod) { p.Annotations[mfav1alpha1.PolicyAnnotation] = "x" }, "through pods/status"},
		{"no annotations", inside, func(p *corev1.Pod) { p.Annotations = nil }, "through pods/status"},
		{"an annotation of its own", inside, func(p *corev1.Pod) { p.Annotations["note"] = "x" }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := c.pod.DeepCopy()
			c.mutate(p)
			err := f.client.Status().Update(t.Context(), p, dryRun)
			if c.denied != "" {
				denied(t, err, c.denied)
			} else if err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

func testPolicy(t *testing.T, f *fixture) {
	t.Run("without images nothing is created", func(t *testing.T) {
		f.policy.Status.Images = nil
		f.apply(f.policy)
		f.eventually("the images are forgotten", func() bool {
			return f.client.Create(t.Context(), pod("imageless", guarded), client.DryRunAll) != nil
		})
		denied(t, f.client.Create(t.Context(), pod("imageless", guarded), client.DryRunAll), "not one that the operator injects")
	})
	t.Run("without its binding pods are created as they are", func(t *testing.T) {
		binding := new(admissionregistrationv1.ValidatingAdmissionPolicyBinding)
		binding.Name = *admission.PolicyBackstopBinding(f.policy).Name
		f.must(f.client.Delete(t.Context(), binding))
		f.eventually("pods are created", func() bool {
			return f.client.Create(t.Context(), pod("free", nil), client.DryRunAll) == nil
		})
	})
}
