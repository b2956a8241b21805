package injection

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/intstr"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// carried is a probe or lifecycle hook that the sidecar does for the kubelet, in the
// form that the sidecar reads. Which of its fields are left out matters: the sidecar
// is strict.
type carried struct {
	Container      string       `json:"container"`
	Kind           string       `json:"kind"`
	TimeoutSeconds int32        `json:"timeoutSeconds,omitzero"`
	Token          string       `json:"token,omitzero"`
	HTTPGet        *carriedHTTP `json:"httpGet,omitzero"`
	TCPSocket      *carriedTCP  `json:"tcpSocket,omitzero"`
	GRPC           *carriedGRPC `json:"grpc,omitzero"`
}

type carriedHTTP struct {
	Path    string          `json:"path,omitzero"`
	Port    int32           `json:"port"`
	Scheme  string          `json:"scheme,omitzero"`
	Host    string          `json:"host,omitzero"`
	Headers []carriedHeader `json:"headers,omitzero"`
}

type carriedHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type carriedTCP struct {
	Port int32  `json:"port"`
	Host string `json:"host,omitzero"`
}

type carriedGRPC struct {
	Port    int32  `json:"port"`
	Service string `json:"service,omitzero"`
}

// What the sidecar takes at most, and where it answers.
const (
	probePrefix = "/probe/"
	hookHeader  = "Sallyport-Hook-Token"
	maxProbes   = 256
	maxHeaders  = 64
	maxText     = 8 << 10
	maxDocument = 64 << 10

	kindPostStart = "postStart"
	kindPreStop   = "preStop"
)

// place is where a container's manifest may have a probe or a hook.
type place struct {
	kind    string
	hook    bool
	timeout int32
	http    **corev1.HTTPGetAction
	tcp     **corev1.TCPSocketAction
	grpc    **corev1.GRPCAction // nil for hooks
}

// seconds is the timeout with the API server's default; hooks have none.
func (p place) seconds() int32 {
	if p.hook {
		return 0
	}
	return cmp.Or(p.timeout, 1)
}

// ports are the ports of the place's actions that may be names.
func (p place) ports() []*intstr.IntOrString {
	var ports []*intstr.IntOrString
	if get := *p.http; get != nil {
		ports = append(ports, &get.Port)
	}
	if socket := *p.tcp; socket != nil {
		ports = append(ports, &socket.Port)
	}
	return ports
}

// places returns the probes and hooks that a container has.
func places(c *corev1.Container) []place {
	var all []place
	for _, p := range []struct {
		kind  string
		probe *corev1.Probe
	}{{"liveness", c.LivenessProbe}, {"readiness", c.ReadinessProbe}, {"startup", c.StartupProbe}} {
		if p.probe != nil {
			all = append(all, place{
				kind: p.kind, timeout: p.probe.TimeoutSeconds,
				http: &p.probe.HTTPGet, tcp: &p.probe.TCPSocket, grpc: &p.probe.GRPC,
			})
		}
	}
	if c.Lifecycle == nil {
		return all
	}
	for _, h := range []struct {
		kind string
		hook *corev1.LifecycleHandler
	}{{kindPostStart, c.Lifecycle.PostStart}, {kindPreStop, c.Lifecycle.PreStop}} {
		if h.hook != nil {
			all = append(all, place{kind: h.kind, hook: true, http: &h.hook.HTTPGet, tcp: &h.hook.TCPSocket})
		}
	}
	return all
}

// takeProbes has every probe and hook of the app's port go by the sidecar's operations
// port: coming from the node, they would meet the second door. A hook by tcpSocket
// stays: the kubelet runs none.
func (s Settings) takeProbes(pod *corev1.Pod, app int32, before *found) (taken, error) {
	t := taken{app: app}
	for _, c := range running(pod) {
		for _, p := range places(c) {
			probe, err := s.takeProbe(c, p, app, before)
			if err != nil {
				return taken{}, err
			}
			if probe != nil {
				t.probes = append(t.probes, *probe)
			}
		}
	}
	slices.SortFunc(t.probes, func(a, b carried) int {
		return cmp.Or(strings.Compare(a.Container, b.Container), strings.Compare(a.Kind, b.Kind))
	})
	if before != nil && slices.ContainsFunc(before.probes, func(p carried) bool { return t.find(p.Container, p.Kind) == nil }) {
		return taken{}, s.refuseContainer(mfav1alpha1.SidecarContainer, "field args differs")
	}
	if len(t.probes) > maxProbes || len(encodeProbes(t.probes)) > maxDocument {
		return taken{}, s.refuse("it has more probes of the app's port than the sidecar can take over; use exec probes, or capture: Port")
	}
	return t, nil
}

func (t taken) find(container, kind string) *carried {
	i := slices.IndexFunc(t.probes, func(p carried) bool { return p.Container == container && p.Kind == kind })
	if i < 0 {
		return nil
	}
	return &t.probes[i]
}

// takeProbe returns what the sidecar is to do in one place, nil for nothing, and has
// the kubelet ask the sidecar instead.
func (s Settings) takeProbe(c *corev1.Container, p place, app int32, before *found) (*carried, error) {
	if get := *p.http; get != nil && strings.HasPrefix(get.Path, probePrefix) && get.Port.IntValue() == int(mfav1alpha1.OperationsPort) {
		return s.kept(c, p, before)
	}
	probe, err := s.carry(c, p, app)
	if probe == nil || err != nil {
		return nil, err
	}
	if p.hook {
		if len(s.HookKey) == 0 {
			return nil, s.refuse("the %s hook of container %s asks the app by httpGet, and the operator has no key for such hooks; use exec, or capture: Port",
				p.kind, c.Name)
		}
		probe.Token = s.hookToken(c.Name, p.kind)
	}
	*p.http = s.asked(*probe)
	*p.tcp = nil
	if p.grpc != nil {
		*p.grpc = nil
	}
	return probe, nil
}

// kept returns what the sidecar does already for a place that an earlier call of
// Inject has rewritten.
func (s Settings) kept(c *corev1.Container, p place, before *found) (*carried, error) {
	if before == nil {
		return nil, s.refuse("the %s of container %s asks the sidecar's own port %d; write the app's port",
			p.kind, c.Name, mfav1alpha1.OperationsPort)
	}
	probe := before.find(c.Name, p.kind)
	if probe == nil || p.hook != (probe.Token != "") || p.hook && probe.Token != s.hookToken(c.Name, p.kind) {
		return nil, s.refuseContainer(mfav1alpha1.SidecarContainer, "field args differs")
	}
	get := (*p.http).DeepCopy()
	if get.Protocol != nil && *get.Protocol == corev1.HTTPProtocolHTTP1 {
		get.Protocol = nil
	}
	if !equality.Semantic.DeepEqual(get, s.asked(*probe)) || probe.TimeoutSeconds != p.seconds() {
		return nil, s.refuse("the %s of container %s is not what was injected; write the app's own", p.kind, c.Name)
	}
	return probe, nil
}

// asked is what the kubelet asks the sidecar in place of the app.
func (s Settings) asked(probe carried) *corev1.HTTPGetAction {
	get := &corev1.HTTPGetAction{
		Path: probePrefix + probe.Container + "/" + probe.Kind, Port: intstr.FromInt32(mfav1alpha1.OperationsPort),
		Scheme: corev1.URISchemeHTTP,
	}
	if probe.Token != "" {
		get.HTTPHeaders = []corev1.HTTPHeader{{Name: hookHeader, Value: probe.Token}}
	}
	return get
}

// hookToken is known to who may read the pod, and cannot be guessed by who may only
// reach it.
func (s Settings) hookToken(container, kind string) string {
	mac := hmac.New(sha256.New, s.HookKey)
	fmt.Fprintf(mac, "sallyport hook\x00%s\x00%s\x00%s\x00%s", s.Namespace, s.Policy, container, kind)
	return hex.EncodeToString(mac.Sum(nil)[:16])
}
