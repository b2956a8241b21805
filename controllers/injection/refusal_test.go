package injection_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sallyport/sallyport/api/policy"
	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/injection"
)

// base is a pod that is not refused.
func base() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "portal-0", Namespace: "acme"},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "migrate", Image: "example.com/portal:1"}},
			Containers: []corev1.Container{{
				Name: "app", Image: "example.com/portal:1",
				Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
				ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
					HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromString("http")},
				}},
			}},
		},
	}
}

func TestInjectRefuses(t *testing.T) {
	secret := &corev1.LocalObjectReference{Name: mfav1alpha1.SidecarSecret}
	volume := func(source corev1.VolumeSource) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: "any", VolumeSource: source}} }
	}
	port := func(port corev1.ContainerPort) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.InitContainers[0].Ports = []corev1.ContainerPort{port} }
	}
	mount := func(name string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.InitContainers[0].VolumeMounts = []corev1.VolumeMount{{Name: name, MountPath: "/keys"}}
		}
	}
	const reads = "reads the sidecars' Secret sallyport-sidecar"
	for _, c := range []struct {
		name   string
		mutate func(*corev1.Pod)
		want   string
	}{
		{"the network of the node", func(p *corev1.Pod) { p.Spec.HostNetwork = true }, "remove hostNetwork"},
		{"the processes of the node", func(p *corev1.Pod) { p.Spec.HostPID = true }, "remove hostPID"},
		{"shared processes", func(p *corev1.Pod) { p.Spec.ShareProcessNamespace = new(true) }, "remove shareProcessNamespace"},
		{"Windows by os", func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }, "Windows"},
		{"Windows by its nodes", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"kubernetes.io/os": "windows"} }, "Windows"},
		{"a static pod", func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }, "static pod"},
		{"an ephemeral container", func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "look"}}}
		}, "ephemeral container look"},
		{"another policy's annotation", func(p *corev1.Pod) { p.Annotations = map[string]string{mfav1alpha1.PolicyAnnotation: "lax"} }, `"lax"`},
		{"an emptied annotation", func(p *corev1.Pod) { p.Annotations = map[string]string{mfav1alpha1.PolicyAnnotation: ""} }, "remove the annotation"},

		{"a container with the sidecar's name", func(p *corev1.Pod) { p.Spec.Containers[0].Name = "sallyport" }, "the name is reserved"},
		{"a container with the redirect's name", func(p *corev1.Pod) { p.Spec.Containers[0].Name = "sallyport-redirect" }, "the name is reserved"},
		{"an init container with the sidecar's name", func(p *corev1.Pod) { p.Spec.InitContainers[0].Name = "sallyport" }, "field args differs"},
		{"an init container with the redirect's name", func(p *corev1.Pod) { p.Spec.InitContainers[0].Name = "sallyport-redirect" }, "the sidecar is missing"},
		{"a volume with our name", func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: "sallyport"}} }, "reserved"},
		{"a volume with our other name", func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: "sallyport-no-token"}} }, "reserved"},

		{"the traffic port of another", port(corev1.ContainerPort{ContainerPort: 15080}), "declares port 15080"},
		{"the operations port of another", port(corev1.ContainerPort{ContainerPort: 15090}), "declares port 15090"},
		{"the traffic port with a host port", port(corev1.ContainerPort{ContainerPort: 15080, HostPort: 80}), "declares port 15080"},
		{"our number as a host port", port(corev1.ContainerPort{ContainerPort: 80, HostPort: 15090}), "host port 15090"},
		{"our name of a port", port(corev1.ContainerPort{ContainerPort: 80, Name: "sallyport-ops"}), "rename it"},

		{"a mount of our volume", mount("sallyport"), "mounts the volume sallyport"},
		{"a mount of our other volume", mount("sallyport-no-token"), "mounts the volume"},
		{"the Secret by env", func(p *corev1.Pod) {
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "K", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: *secret}}}}
		}, reads},
		{"the Secret by envFrom", func(p *corev1.Pod) {
			p.Spec.InitContainers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: *secret}}}
		}, reads},
		{"the Secret as a volume", volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret.Name}}), reads},
		{"the Secret projected", volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{}, {Secret: &corev1.SecretProjection{LocalObjectReference: *secret}},
		}}}), reads},
		{"the Secret for CSI", volume(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{NodePublishSecretRef: secret}}), reads},
		{"the Secret for Azure", volume(corev1.VolumeSource{AzureFile: &corev1.AzureFileVolumeSource{SecretName: secret.Name}}), reads},
		{"the Secret for CephFS", volume(corev1.VolumeSource{CephFS: &corev1.CephFSVolumeSource{SecretRef: secret}}), reads},
		{"the Secret for Cinder", volume(corev1.VolumeSource{Cinder: &corev1.CinderVolumeSource{SecretRef: secret}}), reads},
		{"the Secret for a flex volume", volume(corev1.VolumeSource{FlexVolume: &corev1.FlexVolumeSource{SecretRef: secret}}), reads},
		{"the Secret for iSCSI", volume(corev1.VolumeSource{ISCSI: &corev1.ISCSIVolumeSource{SecretRef: secret}}), reads},
		{"the Secret for RBD", volume(corev1.VolumeSource{RBD: &corev1.RBDVolumeSource{SecretRef: secret}}), reads},
		{"the Secret for ScaleIO", volume(corev1.VolumeSource{ScaleIO: &corev1.ScaleIOVolumeSource{SecretRef: secret}}), reads},
		{"the Secret for StorageOS", volume(corev1.VolumeSource{StorageOS: &corev1.StorageOSVolumeSource{SecretRef: secret}}), reads},

		{"a port that is not declared", func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].ContainerPort = 3000 }, "no container declares port 8080"},
		{"a port that is UDP", func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].Protocol = corev1.ProtocolUDP }, "no container declares port 8080"},
		{"a probe of the operations port", func(p *corev1.Pod) {
			*p.Spec.Containers[0].ReadinessProbe.HTTPGet = corev1.HTTPGetAction{Path: "/probe/app/readiness", Port: intstr.FromInt32(15090)}
		}, "write the app's port"},
	} {
		for _, capture := range captures {
			if capture == mfav1alpha1.CapturePort && strings.HasPrefix(c.name, "a probe") {
				continue
			}
			t.Run(c.name+"/"+mode(capture), func(t *testing.T) { refused(t, c.mutate, settings(capture), c.want) })
		}
	}
}

// refused mutates the base pod and wants the refusal to say so, and the pod untouched.
func refused(t *testing.T, mutate func(*corev1.Pod), s injection.Settings, want string) {
	t.Helper()
	pod := base()
	mutate(pod)
	before := pod.DeepCopy()
	err := injection.Inject(pod, s)
	refusal, ok := errors.AsType[*injection.Refusal](err)
	if !ok {
		t.Fatalf("Inject: %v; want a refusal", err)
	}
	if !strings.Contains(refusal.Error(), want) || !strings.HasPrefix(refusal.Error(), "MFAPolicy acme/portal ") {
		t.Errorf("refusal %q; want it to name the policy and to say %q", refusal, want)
	}
	if diff := cmp.Diff(before, pod); diff != "" {
		t.Errorf("a refused pod was changed:\n%s", diff)
	}
}

func TestInjectRefusesWhatWasChangedSince(t *testing.T) {
	sidecar := func(change func(*corev1.Container)) func(*corev1.Pod) {
		return func(p *corev1.Pod) { change(sidecarOf(p)) }
	}
	for _, c := range []struct {
		name   string
		change func(*corev1.Pod)
		want   string
	}{
		{"another image", sidecar(func(c *corev1.Container) { c.Image += "-mine" }), "field image differs"},
		{"a command", sidecar(func(c *corev1.Container) { c.Command = []string{"sleep"} }), "field command differs"},
		{"an argument more", sidecar(func(c *corev1.Container) { c.Args = append(c.Args, "--insecure-cookies") }), "field args differs"},
		{"another policy", sidecar(func(c *corev1.Container) { c.Args[1] = "acme/lax" }), "field args differs"},
		{"another app", sidecar(func(c *corev1.Container) { c.Args[3] = "http://127.0.0.1:9999" }), ""},
		{"an app elsewhere", sidecar(func(c *corev1.Container) { c.Args[3] = "http://192.0.2.1:8080" }), "field args differs"},
		{"no arguments", sidecar(func(c *corev1.Container) { c.Args = nil }), "field args differs"},
		{"an environment variable", sidecar(func(c *corev1.Container) { c.Env = append(c.Env, corev1.EnvVar{Name: "SSL_CERT_FILE"}) }), "field env differs"},
		{"a port", sidecar(func(c *corev1.Container) { c.Ports[0].ContainerPort = 8080 }), ""},
		{"no restart", sidecar(func(c *corev1.Container) { c.RestartPolicy = nil }), "field restartPolicy differs"},
		{"fewer resources", sidecar(func(c *corev1.Container) { c.Resources.Limits[corev1.ResourceMemory] = *quantity("1Mi") }), "field resources differs"},
		{"another user", sidecar(func(c *corev1.Container) { c.SecurityContext.RunAsUser = new(int64(0)) }), "field securityContext differs"},
		{"a mount", sidecar(func(c *corev1.Container) { c.VolumeMounts = c.VolumeMounts[:1] }), "field volumeMounts differs"},
		{"a hook", sidecar(func(c *corev1.Container) { c.Lifecycle = new(corev1.Lifecycle) }), "field manifest differs"},
		{"a probe", sidecar(func(c *corev1.Container) { c.ReadinessProbe = nil }), "field manifest differs"},
		{"a sidecar twice", func(p *corev1.Pod) {
			p.Spec.InitContainers = append(p.Spec.InitContainers, *sidecarOf(p))
		}, "twice"},
		{"a missing volume", func(p *corev1.Pod) { p.Spec.Volumes = p.Spec.Volumes[1:] }, "volume sallyport is missing"},
		{"another Secret", func(p *corev1.Pod) { p.Spec.Volumes[0].Projected.Sources[0].Secret.Name = "mine" }, "volume sallyport is missing or differs"},
		{"another way to Redis", func(p *corev1.Pod) { p.Spec.Volumes[0].Projected.Sources[0].Secret.Items[1].Key = "redis-mine.json" }, "differs"},
		{"a reader of the volume", func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "sallyport", MountPath: "/keys"}}
		}, "mounts the volume sallyport"},
	} {
		for _, capture := range captures {
			t.Run(c.name+"/"+mode(capture), func(t *testing.T) {
				refused(t, func(p *corev1.Pod) {
					if err := injection.Inject(p, settings(capture)); err != nil {
						t.Fatal(err)
					}
					c.change(p)
				}, settings(capture), c.want)
			})
		}
	}
}

func TestInjectRefusesAnOlderInjection(t *testing.T) {
	for _, c := range []struct {
		name  string
		older func(*injection.Settings)
	}{
		{"of an older image", func(s *injection.Settings) { s.Image = "ghcr.io/sallyport/sidecar:v0.0.9" }},
		{"of another capture", func(s *injection.Settings) { s.Capture = mfav1alpha1.CaptureRedirect }},
		{"of another policy", func(s *injection.Settings) { s.Policy = "lax" }},
		{"of another Redis", func(s *injection.Settings) { s.RedisKey = "redis-lax.json" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, func(p *corev1.Pod) {
				older := settings(mfav1alpha1.CapturePort)
				c.older(&older)
				if err := injection.Inject(p, older); err != nil {
					t.Fatal(err)
				}
			}, settings(mfav1alpha1.CapturePort), "container sallyport")
		})
	}
}

func TestInjectRefusesForgedProbes(t *testing.T) {
	probes := func(document string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			c := sidecarOf(p)
			c.Args[len(c.Args)-1] = document
		}
	}
	const own = `{"container":"app","kind":"readiness","timeoutSeconds":1,"httpGet":{"path":"/healthz","port":8080}}`
	for _, c := range []struct {
		name   string
		change func(*corev1.Pod)
	}{
		{"one that nobody has", probes(`[` + own + `,{"container":"app","kind":"startup","timeoutSeconds":1,"httpGet":{"port":8080}}]`)},
		{"a hook with a token of its own", probes(`[{"container":"app","kind":"preStop","token":"0123456789abcdef","httpGet":{"port":8080}},` + own + `]`)},
		{"no list", probes(`{`)},
		{"an empty list", probes(`[]`)},
		{"another timeout", func(p *corev1.Pod) { p.Spec.Containers[0].ReadinessProbe.TimeoutSeconds = 9 }},
		{"another request", func(p *corev1.Pod) { p.Spec.Containers[0].ReadinessProbe.HTTPGet.Scheme = corev1.URISchemeHTTPS }},
		{"another container's", func(p *corev1.Pod) { p.Spec.Containers[0].ReadinessProbe.HTTPGet.Path = "/probe/app/liveness" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, func(p *corev1.Pod) {
				if err := injection.Inject(p, settings(mfav1alpha1.CaptureRedirect)); err != nil {
					t.Fatal(err)
				}
				c.change(p)
			}, settings(mfav1alpha1.CaptureRedirect), "")
		})
	}
}

func TestHooksWithoutAKeyAreRefused(t *testing.T) {
	s := settings(mfav1alpha1.CaptureRedirect)
	s.HookKey = nil
	refused(t, func(p *corev1.Pod) {
		p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{
			HTTPGet: &corev1.HTTPGetAction{Path: "/drain", Port: intstr.FromInt32(8080)},
		}}
	}, s, "has no key for such hooks")
}

func TestInjectWithoutUsableSettingsFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*injection.Settings)
	}{
		{"no policy", func(s *injection.Settings) { s.Policy = "" }},
		{"no namespace", func(s *injection.Settings) { s.Namespace = "" }},
		{"another namespace", func(s *injection.Settings) { s.Namespace = "other" }},
		{"no image", func(s *injection.Settings) { s.Image = "" }},
		{"no key for Redis", func(s *injection.Settings) { s.RedisKey = "" }},
		{"no port", func(s *injection.Settings) { s.App = policy.Port{} }},
		{"an undecided capture", func(s *injection.Settings) { s.Capture = mfav1alpha1.CaptureAuto }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := settings(mfav1alpha1.CapturePort)
			c.change(&s)
			pod := base()
			if err := injection.Inject(pod, s); err == nil {
				t.Error("Inject succeeded")
			}
			if diff := cmp.Diff(base(), pod); diff != "" {
				t.Errorf("the pod was changed:\n%s", diff)
			}
		})
	}
}
