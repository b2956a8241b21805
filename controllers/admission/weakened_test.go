package admission_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/injection"
)

// a weakened pod is refused with these words when it is created.
type weakened struct {
	name   string
	mutate func(*corev1.Pod)
	denied string // "" where it is accepted
}

func testWeakened(t *testing.T, f *fixture) {
	const arguments, environment, surface, volumes, redirection = "The arguments of the init container", "The environment of the init container",
		"The ports, probes or hooks", "The volumes of the init container", "The init container sallyport-redirect is not what"
	argument := func(at int, value string) func(*corev1.Pod) {
		return but(func(p *corev1.Pod) { sidecar(p).Args[at] = value })
	}
	more := func(args ...string) func(*corev1.Pod) {
		return but(func(p *corev1.Pod) { sidecar(p).Args = append(sidecar(p).Args, args...) })
	}
	butRedirected := func(mutate func(*corev1.Pod)) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			redirected(p)
			mutate(p)
		}
	}
	driver := &corev1.LocalObjectReference{Name: mfav1alpha1.SidecarSecret}
	foreign := func(source corev1.VolumeSource) func(*corev1.Pod) {
		return but(func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "harmless", VolumeSource: source})
		})
	}
	injected := func(change func(*injection.Settings)) func(*corev1.Pod) {
		return func(p *corev1.Pod) { inject(p, mfav1alpha1.CapturePort, change) }
	}
	f.weakened(t, []weakened{
		{"not at all", guarded, ""},
		{"not at all, redirected", redirected, ""},
		{"not at all, with another key prefix", injected(func(s *injection.Settings) {
			s.ExtraArgs = []string{"--redis-key-prefix", "mfa"}
		}), ""},
		{"not at all, with a Redis of its own", injected(func(s *injection.Settings) { s.RedisKey = mfav1alpha1.RedisKeyOf("portal") }), ""},
		{"not at all, with limits", injected(func(s *injection.Settings) { s.Resources = corev1.ResourceRequirements{} }), ""},

		{"cookies without Secure", more("--insecure-cookies"), arguments},
		{"another flag in the place of a known one", more("--insecure-cookies", "--x"), arguments},
		{"another app, again", more("--app", "http://127.0.0.1:9"), arguments},
		{"another app", argument(3, "http://203.0.113.1:80"), arguments},
		{"another app behind a name", argument(3, "http://127.0.0.1:8080@evil.example:80"), arguments},
		{"keys of its own", argument(5, "/mine/keys.json"), arguments},
		{"a Redis of its own", argument(7, "/mine/redis.json"), arguments},
		{"traffic elsewhere", argument(9, "127.0.0.1:15080"), arguments},
		{"operations elsewhere", argument(11, ":8081"), arguments},
		{"probes without a redirect", more("--probes", "[]"), arguments},
		{"a flag after the probes", butRedirected(func(p *corev1.Pod) {
			sidecar(p).Args = append(sidecar(p).Args, "--redis-key-prefix", "x")
		}), arguments},

		{"a variable more", but(func(p *corev1.Pod) {
			sidecar(p).Env = append(sidecar(p).Env, corev1.EnvVar{Name: "HTTPS_PROXY", Value: "http://evil.example"})
		}), environment},
		{"another pod's name", but(func(p *corev1.Pod) { sidecar(p).Env[0] = corev1.EnvVar{Name: "POD_NAME", Value: "x"} }), environment},
		{"variables of a ConfigMap", but(func(p *corev1.Pod) {
			sidecar(p).EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: "x"},
			}}}
		}), environment},

		{"a port more", but(func(p *corev1.Pod) {
			sidecar(p).Ports = append(sidecar(p).Ports, corev1.ContainerPort{Name: "x", ContainerPort: 8080})
		}), surface},
		{"a hook", but(func(p *corev1.Pod) {
			sidecar(p).Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 1}}}
		}), surface},
		{"ready without asking", but(func(p *corev1.Pod) { sidecar(p).ReadinessProbe = nil }), surface},
		{"a probe that runs a command", but(func(p *corev1.Pod) {
			sidecar(p).LivenessProbe.ProbeHandler = corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}}
		}), surface},
		{"a probe of another port", but(func(p *corev1.Pod) {
			sidecar(p).ReadinessProbe.HTTPGet.Port = intstr.FromInt32(8080)
		}), surface},

		{"keys of an emptyDir", but(func(p *corev1.Pod) {
			*keys(p) = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
		}), volumes},
		{"keys of another Secret", but(func(p *corev1.Pod) {
			keys(p).Projected.Sources[0].Secret.Name = "mine"
		}), volumes},
		{"the Redis of another policy", but(func(p *corev1.Pod) {
			keys(p).Projected.Sources[0].Secret.Items[1].Key = mfav1alpha1.RedisKeyOf("other")
		}), volumes},
		{"a source more", but(func(p *corev1.Pod) {
			projected := keys(p).Projected
			projected.Sources = append(projected.Sources, corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: "x"},
			}})
		}), volumes},
		{"a Secret that may be missing", but(func(p *corev1.Pod) {
			keys(p).Projected.Sources[0].Secret.Optional = new(true)
		}), volumes},
		{"a mount more", but(func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "x"})
			sidecar(p).VolumeMounts = append(sidecar(p).VolumeMounts, corev1.VolumeMount{Name: "x", MountPath: "/etc/ssl"})
		}), volumes},
		{"keys from below their volume", but(func(p *corev1.Pod) { sidecar(p).VolumeMounts[0].SubPath = "x" }), volumes},

		{"Secret by a volume that nobody mounts", foreign(corev1.VolumeSource{
			Secret: &corev1.SecretVolumeSource{SecretName: mfav1alpha1.SidecarSecret},
		}), "No container but the sidecar"},
		{"Secret by a CSI driver", foreign(corev1.VolumeSource{
			CSI: &corev1.CSIVolumeSource{Driver: "evil.example", NodePublishSecretRef: driver},
		}), "No container but the sidecar"},
		{"Secret by a FlexVolume driver", foreign(corev1.VolumeSource{
			FlexVolume: &corev1.FlexVolumeSource{Driver: "example/evil", SecretRef: driver},
		}), "No container but the sidecar"},
		{"Secret read by an init container", but(func(p *corev1.Pod) {
			p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{
				Name: "setup", Image: "x", VolumeMounts: []corev1.VolumeMount{{Name: mfav1alpha1.SidecarVolume, MountPath: "/keys"}},
			})
		}), "No container but the sidecar"},

		{"redirect by another image", butRedirected(func(p *corev1.Pod) {
			redirect(p).Image = "evil.example/redirect"
		}), "not one that the operator injects"},
		{"redirect by another command", butRedirected(func(p *corev1.Pod) { redirect(p).Command = []string{"true"} }), redirection},
		{"redirect of another port", butRedirected(func(p *corev1.Pod) { redirect(p).Args[2] = "9" }), redirection},
		{"redirect to another port", butRedirected(func(p *corev1.Pod) { redirect(p).Args[4] = "8080" }), redirection},
		{"redirect without arguments", butRedirected(func(p *corev1.Pod) { redirect(p).Args = nil }), redirection},
		{"redirect as a sidecar", butRedirected(func(p *corev1.Pod) {
			redirect(p).RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
		}), redirection},
		{"redirect with privileges", butRedirected(func(p *corev1.Pod) {
			redirect(p).SecurityContext.AllowPrivilegeEscalation, redirect(p).SecurityContext.Privileged = new(true), new(true)
		}), redirection},
		{"redirect with a variable", butRedirected(func(p *corev1.Pod) { redirect(p).Env = []corev1.EnvVar{{Name: "A", Value: "b"}} }), redirection},
	})
}

func (f *fixture) weakened(t *testing.T, cases []weakened) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := pod("", c.mutate)
			p.GenerateName = "weakened-"
			err := f.client.Create(t.Context(), p, client.DryRunAll)
			if c.denied != "" {
				denied(t, err, c.denied)
			} else if err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

// A policy that asks for capture Redirect gets no pod without.
func testCapture(t *testing.T, f *fixture) {
	p := policy(t, "shop", `{matchLabels: {app: shop}}`)
	p.Spec.Capture = mfav1alpha1.CaptureRedirect
	p.Status.Images = []string{image}
	f.apply(p)
	shop := func(capture mfav1alpha1.Capture, followed string) *corev1.Pod {
		p := pod("", nil)
		p.GenerateName, p.Labels = "shop-", map[string]string{"app": "shop"}
		inject(p, capture, func(s *injection.Settings) { s.Policy = followed })
		return p
	}
	create := func(p *corev1.Pod) error { return f.client.Create(t.Context(), p, client.DryRunAll) }
	f.eventually("the backstop bites", func() bool { return create(shop(mfav1alpha1.CapturePort, "shop")) != nil })
	denied(t, create(shop(mfav1alpha1.CapturePort, "shop")), "arrived without the init container sallyport-redirect")
	if err := create(shop(mfav1alpha1.CaptureRedirect, "shop")); err != nil {
		t.Errorf("a redirected pod was refused: %v", err)
	}
	if err := create(shop(mfav1alpha1.CapturePort, "older")); err != nil {
		t.Errorf("a pod that an older policy governs with capture Port was refused: %v", err)
	}
}
