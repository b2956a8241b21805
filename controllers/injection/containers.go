package injection

import (
	"cmp"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

const (
	// sidecarUser is the user and group that the image is made for.
	sidecarUser int64 = 65532

	// trafficName is the name of the sidecar's port where it takes over none of the
	// app's names; operationsName that of its other port.
	trafficName    = "sallyport"
	operationsName = "sallyport-ops"

	// tokenVolume is empty, and is mounted where a service account token would be.
	tokenVolume = mfav1alpha1.SidecarVolume + "-no-token"
	tokenMount  = "/var/run/secrets/kubernetes.io/serviceaccount" //nolint:gosec // a path

	// everyone may read, nobody write; the package comment says why.
	fileMode int32 = 0o444

	flagFollow = "--follow"
	flagApp    = "--app"
	flagProbes = "--probes"
	loopback   = "http://127.0.0.1:"
	redisFile  = "redis.json"
)

// taken is what the sidecar took over from the pod's containers.
type taken struct {
	// app is the number of the app's port.
	app int32
	// names of the app's port that are the sidecar's now, where capture is Port.
	names []string
	// probes that the sidecar does for the kubelet, where capture is Redirect.
	probes []carried
}

// sidecar is the container that stands in front of the app. overall are the resources
// of the pod as a whole, if it has any.
func (s Settings) sidecar(t taken, overall *corev1.ResourceRequirements) corev1.Container {
	return corev1.Container{
		Name:                     mfav1alpha1.SidecarContainer,
		Image:                    s.Image,
		ImagePullPolicy:          cmp.Or(s.PullPolicy, corev1.PullIfNotPresent),
		Args:                     s.args(t),
		Env:                      []corev1.EnvVar{fieldEnv("POD_NAME", "metadata.name"), fieldEnv("POD_UID", "metadata.uid")},
		Ports:                    sidecarPorts(t.names),
		RestartPolicy:            new(corev1.ContainerRestartPolicyAlways),
		Resources:                within(s.Resources, overall),
		StartupProbe:             operationsProbe("/healthz", 1, 60),
		ReadinessProbe:           operationsProbe("/readyz", 5, 2),
		LivenessProbe:            operationsProbe("/healthz", 10, 6),
		SecurityContext:          unprivileged(),
		TerminationMessagePath:   corev1.TerminationMessagePathDefault,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		VolumeMounts: []corev1.VolumeMount{
			{Name: mfav1alpha1.SidecarVolume, MountPath: mfav1alpha1.SidecarMount, ReadOnly: true},
			{Name: tokenVolume, MountPath: tokenMount, ReadOnly: true},
		},
	}
}

func (s Settings) args(t taken) []string {
	args := []string{
		flagFollow, s.Namespace + "/" + s.Policy,
		flagApp, loopback + strconv.Itoa(int(t.app)),
		"--keys", mfav1alpha1.SidecarMount + "/" + mfav1alpha1.KeysKey,
		"--redis-file", mfav1alpha1.SidecarMount + "/" + redisFile,
		"--listen", ":" + strconv.Itoa(int(mfav1alpha1.TrafficPort)),
		"--ops-listen", ":" + strconv.Itoa(int(mfav1alpha1.OperationsPort)),
		"--log-level", cmp.Or(s.LogLevel, "info"),
	}
	args = append(args, s.ExtraArgs...)
	if len(t.probes) > 0 {
		args = append(args, flagProbes, encodeProbes(t.probes))
	}
	return args
}

// redirect is the init container that turns the traffic of the app's port over to the
// sidecar. It uses the resources of the sidecar: the pod then asks for no more with it
// than without, and stays Guaranteed where the sidecar lets it.
func (s Settings) redirect(app int32, overall *corev1.ResourceRequirements) corev1.Container {
	security := unprivileged()
	security.RunAsUser, security.RunAsGroup, security.RunAsNonRoot = new(int64(0)), new(int64(0)), new(false)
	security.Capabilities.Add = []corev1.Capability{"NET_ADMIN"}
	resources := within(s.Resources, overall)
	resources.Claims = nil
	return corev1.Container{
		Name:            mfav1alpha1.RedirectContainer,
		Image:           s.Image,
		ImagePullPolicy: cmp.Or(s.PullPolicy, corev1.PullIfNotPresent),
		Args: []string{
			"redirect", "--port", strconv.Itoa(int(app)), "--to", strconv.Itoa(int(mfav1alpha1.TrafficPort)),
		},
		Resources:                resources,
		SecurityContext:          security,
		TerminationMessagePath:   corev1.TerminationMessagePathDefault,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		VolumeMounts:             []corev1.VolumeMount{{Name: tokenVolume, MountPath: tokenMount, ReadOnly: true}},
	}
}

// volumes are what the injected containers mount: of the namespace's Secret no more
// than this policy's sidecar needs. A Secret that is not there yet has the pod wait.
func (s Settings) volumes() []corev1.Volume {
	return []corev1.Volume{
		{Name: mfav1alpha1.SidecarVolume, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			DefaultMode: new(fileMode),
			Sources: []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: mfav1alpha1.SidecarSecret},
				Items: []corev1.KeyToPath{
					{Key: mfav1alpha1.KeysKey, Path: mfav1alpha1.KeysKey},
					{Key: s.RedisKey, Path: redisFile},
				},
			}}},
		}}},
		{Name: tokenVolume, VolumeSource: corev1.VolumeSource{
			DownwardAPI: &corev1.DownwardAPIVolumeSource{DefaultMode: new(fileMode)},
		}},
	}
}

func sidecarPorts(names []string) []corev1.ContainerPort {
	if len(names) == 0 {
		names = []string{trafficName}
	}
	var ports []corev1.ContainerPort
	for _, name := range names {
		ports = append(ports, corev1.ContainerPort{
			Name: name, ContainerPort: mfav1alpha1.TrafficPort, Protocol: corev1.ProtocolTCP,
		})
	}
	return append(ports, corev1.ContainerPort{
		Name: operationsName, ContainerPort: mfav1alpha1.OperationsPort, Protocol: corev1.ProtocolTCP,
	})
}

func operationsProbe(path string, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: path, Port: intstr.FromInt32(mfav1alpha1.OperationsPort), Scheme: corev1.URISchemeHTTP,
		}},
		TimeoutSeconds: 3, PeriodSeconds: period, SuccessThreshold: 1, FailureThreshold: failures,
	}
}

func fieldEnv(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path},
	}}
}

// unprivileged is a security context that the Pod Security level restricted admits,
// whatever the pod's own says.
func unprivileged() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		RunAsUser: new(sidecarUser), RunAsGroup: new(sidecarUser), RunAsNonRoot: new(true),
		AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// within leaves out what the pod states as a whole: its containers share that, and the
// API server refuses a pod whose containers ask for more than the pod does.
func within(own corev1.ResourceRequirements, overall *corev1.ResourceRequirements) corev1.ResourceRequirements {
	own = *own.DeepCopy()
	if overall == nil {
		return own
	}
	for _, stated := range []corev1.ResourceList{overall.Requests, overall.Limits} {
		for name := range stated {
			delete(own.Requests, name)
			delete(own.Limits, name)
		}
	}
	return own
}

// restartsAlways reports whether an init container runs as long as the pod.
func restartsAlways(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// running returns the containers that run as long as the pod, in the order in which
// the endpoint controllers look for a port's name.
func running(pod *corev1.Pod) []*corev1.Container {
	var all []*corev1.Container
	for i := range pod.Spec.Containers {
		all = append(all, &pod.Spec.Containers[i])
	}
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; restartsAlways(c) {
			all = append(all, c)
		}
	}
	return all
}

// ours reports whether a container's name is one of the injected.
func ours(name string) bool {
	return name == mfav1alpha1.SidecarContainer || name == mfav1alpha1.RedirectContainer
}

// ourVolume reports whether a volume's name is one of the injected.
func ourVolume(name string) bool {
	return slices.Contains([]string{mfav1alpha1.SidecarVolume, tokenVolume}, name)
}
