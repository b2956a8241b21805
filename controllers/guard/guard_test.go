package guard_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/guard"
)

// want is a way around: its object, and words that its message must hold.
type want struct {
	kind, name string
	says       []string
}

func checkWays(t *testing.T, got []mfav1alpha1.WayAround, wanted []want) {
	t.Helper()
	var objects, wantedObjects []string
	for _, w := range got {
		objects = append(objects, w.Kind+"/"+w.Name)
	}
	for _, w := range wanted {
		wantedObjects = append(wantedObjects, w.kind+"/"+w.name)
	}
	if diff := cmp.Diff(wantedObjects, objects); diff != "" {
		t.Fatalf("ways (-want +got):\n%s\n%v", diff, got)
	}
	for i, w := range wanted {
		for _, words := range w.says {
			if !strings.Contains(got[i].Message, words) {
				t.Errorf("the message of %s does not say %q:\n%s", objects[i], words, got[i].Message)
			}
		}
	}
}

func TestServicesAreFlaggedByWhereTheyLead(t *testing.T) {
	headless := func(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone }
	number, name := intstr.FromInt32(appPort), intstr.FromString("http")
	cases := map[string]struct {
		service corev1.Service
		pod     corev1.Pod
		says    []string // nothing: not flagged
	}{
		"a number that is the app's leads around":    {service("s", number), ported("a"), []string{"port 80 ", "own port 8080 by number", "targetPort", "15080"}},
		"a name that the sidecar took over does not": {service("s", name), ported("a"), nil},
		"the sidecar's number does not":              {service("s", intstr.FromInt32(mfav1alpha1.TrafficPort)), ported("a"), nil},
		"another port of the pod does not":           {service("s", intstr.FromInt32(9100)), ported("a"), nil},
		"no target and the app's number leads around": {
			service("s", intstr.IntOrString{}, func(s *corev1.Service) { s.Spec.Ports[0].Port = appPort }), ported("a"),
			[]string{"being the same number"},
		},
		"no target and another number does not": {service("s", intstr.IntOrString{}), ported("a"), nil},
		"a name that another container still has leads around": {
			service("s", intstr.FromString("web")),
			with(ported("a"), func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].Name = "web" }),
			[]string{`still calls "web"`, "15080"},
		},
		"a name of an init container that ends is no endpoint": {
			service("s", intstr.FromString("web")),
			with(ported("a"), func(p *corev1.Pod) {
				p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{
					Name: "setup", Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: appPort}},
				})
			}), nil,
		},
		"a name of the other protocol is no endpoint": {
			service("s", intstr.FromString("web")),
			with(ported("a"), func(p *corev1.Pod) {
				p.Spec.Containers[0].Ports = append(p.Spec.Containers[0].Ports, corev1.ContainerPort{Name: "web", ContainerPort: appPort, Protocol: corev1.ProtocolUDP})
			}), nil,
		},
		"UDP does not": {service("s", number, func(s *corev1.Service) { s.Spec.Ports[0].Protocol = corev1.ProtocolUDP }), ported("a"), nil},
		"a node port says so": {
			service("s", number, func(s *corev1.Service) {
				s.Spec.Type, s.Spec.Ports[0].NodePort = corev1.ServiceTypeNodePort, 30080
			}), ported("a"), []string{"from outside the cluster by port 30080 of every node", "NetworkPolicy may not stop"},
		},
		"a load balancer without node ports says so": {
			service("s", number, func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeLoadBalancer }), ported("a"),
			[]string{"by its load balancer"},
		},
		"external addresses say so": {
			service("s", number, func(s *corev1.Service) { s.Spec.ExternalIPs = []string{"192.0.2.1"} }), ported("a"),
			[]string{"by its external addresses"},
		},
		"a headless one with the app's number leads around": {service("s", number, headless), ported("a"), []string{"by number"}},
		"a headless one with the app's port leads around, whatever its target": {
			service("s", name, headless, func(s *corev1.Service) { s.Spec.Ports[0].Port = appPort }), ported("a"),
			[]string{"headless", "dial port 8080"},
		},
		"a headless one with another port does not": {service("s", name, headless), ported("a"), nil},
		"an external name does not": {
			service("s", number, func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeExternalName }), ported("a"), nil,
		},
		"none without a selector": {service("s", number, func(s *corev1.Service) { s.Spec.Selector = nil }), ported("a"), nil},
		"none that selects others": {
			service("s", number, func(s *corev1.Service) { s.Spec.Selector["tier"] = "db" }), ported("a"), nil,
		},
		"none of another namespace":                  {service("s", number, func(s *corev1.Service) { s.Namespace = "other" }), ported("a"), nil},
		"none where the pod's network is redirected": {service("s", number), redirected("a"), nil},
		"the sidecar's own argument goes before the policy's port": {
			service("s", intstr.FromInt32(9090)),
			with(ported("a"), func(p *corev1.Pod) { p.Spec.InitContainers[0].Args = []string{"--app=http://127.0.0.1:9090"} }),
			[]string{"own port 9090"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var wanted []want
			if tc.says != nil {
				wanted = []want{{"Service", "s", tc.says}}
			}
			in := guard.Input{Policy: portal(), AppPort: appPort, Capture: mfav1alpha1.CapturePort, Pods: []corev1.Pod{tc.pod}, Services: []corev1.Service{tc.service}}
			checkWays(t, guard.Ways(in), wanted)

			// Where capture is Redirect the Service is no fault: a pod of the other form is.
			in.Capture = mfav1alpha1.CaptureRedirect
			for _, w := range guard.Ways(in) {
				if w.Kind == "Service" {
					t.Errorf("flagged with capture Redirect: %v", w)
				}
			}
		})
	}
}

func TestPodsAreFlaggedByWhatGuardsThem(t *testing.T) {
	hostPort := func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].HostPort = 80 }
	cases := map[string]struct {
		capture mfav1alpha1.Capture
		pod     corev1.Pod
		reached []string
		says    []string
	}{
		"a sidecar guards":                              {mfav1alpha1.CapturePort, ported("a"), nil, nil},
		"a redirected network guards":                   {mfav1alpha1.CaptureRedirect, redirected("a"), nil, nil},
		"a redirected network guards with capture Port": {mfav1alpha1.CapturePort, redirected("a"), []string{"a"}, nil},
		"none at all":                                   {mfav1alpha1.CapturePort, bare("a"), []string{"a"}, []string{"without the sidecar", "status.pods.command"}},
		"none at all with capture Redirect":             {mfav1alpha1.CaptureRedirect, bare("a"), nil, []string{"without the sidecar"}},
		"the annotation alone guards nothing": {
			mfav1alpha1.CapturePort, with(ported("a"), func(p *corev1.Pod) { p.Spec.InitContainers = nil }), nil, []string{"without the sidecar"},
		},
		"a container of its name that ends guards nothing": {
			mfav1alpha1.CapturePort, with(ported("a"), func(p *corev1.Pod) { p.Spec.InitContainers[0].RestartPolicy = nil }), nil, []string{"without the sidecar"},
		},
		"another policy's sidecar": {
			mfav1alpha1.CapturePort, with(ported("a"), func(p *corev1.Pod) { p.Annotations[mfav1alpha1.PolicyAnnotation] = "old" }), nil, []string{`policy "old"`},
		},
		"the other form with capture Redirect": {mfav1alpha1.CaptureRedirect, ported("a"), nil, []string{"injected with capture Port", "8080"}},
		"its node's network": {
			mfav1alpha1.CapturePort, with(ported("a"), func(p *corev1.Pod) { p.Spec.HostNetwork = true }), nil, []string{"node's network", "hostNetwork: false"},
		},
		"a host port of the app's":           {mfav1alpha1.CapturePort, with(ported("a"), hostPort), nil, []string{"Host port 80 ", "8080"}},
		"a host port of a redirected pod":    {mfav1alpha1.CaptureRedirect, with(redirected("a"), hostPort), nil, nil},
		"a direct connection was answered":   {mfav1alpha1.CapturePort, ported("a"), []string{"a"}, []string{"8080 answers at the pod's own address", "127.0.0.1", "15080"}},
		"a connection to a pod that is gone": {mfav1alpha1.CapturePort, ported("a"), []string{"gone"}, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var wanted []want
			if tc.says != nil {
				wanted = []want{{"Pod", "a", tc.says}}
			}
			checkWays(t, guard.Ways(guard.Input{
				Policy: portal(), AppPort: appPort, Capture: tc.capture, Pods: []corev1.Pod{tc.pod}, Reached: tc.reached,
			}), wanted)
		})
	}
}

func TestAReachedPodSaysThatTheNetworkDoesNotEnforce(t *testing.T) {
	checkWays(t, guard.Ways(guard.Input{
		Policy: portal(), AppPort: appPort, Capture: mfav1alpha1.CapturePort, Pods: []corev1.Pod{ported("a")}, Reached: []string{"a"},
		NetworkPolicies: []networkingv1.NetworkPolicy{networkPolicy(guard.NetworkPolicyName("portal"), map[string]string{"app": "portal"})},
	}), []want{{"Pod", "a", []string{"although NetworkPolicy sallyport-portal", "does not enforce"}}})
}

func TestServicesThatLeadToUnguardedPodsAreFlagged(t *testing.T) {
	named := service("s", intstr.FromString("http"))
	for _, capture := range []mfav1alpha1.Capture{mfav1alpha1.CapturePort, mfav1alpha1.CaptureRedirect} {
		guarded := map[mfav1alpha1.Capture]corev1.Pod{mfav1alpha1.CapturePort: ported("a"), mfav1alpha1.CaptureRedirect: redirected("a")}[capture]
		in := guard.Input{Policy: portal(), AppPort: appPort, Capture: capture, Services: []corev1.Service{named}}

		in.Pods = []corev1.Pod{guarded, bare("b")}
		checkWays(t, guard.Ways(in), []want{{"Service", "s", []string{"without the sidecar: b."}}, {"Pod", "b", nil}})

		in.Pods, in.Others = []corev1.Pod{guarded}, []corev1.Pod{bare("canary")}
		checkWays(t, guard.Ways(in), []want{{"Service", "s", []string{"no policy covers: canary.", "selector"}}})

		// A port by name that the other pod does not have makes no endpoint there.
		in.Others = []corev1.Pod{with(bare("other"), func(p *corev1.Pod) { p.Spec.Containers[0].Ports = nil })}
		checkWays(t, guard.Ways(in), nil)
	}
}

func TestNetworkPoliciesOfOthersAreReadWhereOursGivesWay(t *testing.T) {
	mine, all := map[string]string{"app": "portal"}, map[string]string(nil)
	anywhere := func(ports ...networkingv1.NetworkPolicyPort) networkingv1.NetworkPolicyIngressRule {
		return networkingv1.NetworkPolicyIngressRule{Ports: ports}
	}
	from := func(peer networkingv1.NetworkPolicyPeer) networkingv1.NetworkPolicyIngressRule {
		return networkingv1.NetworkPolicyIngressRule{From: []networkingv1.NetworkPolicyPeer{peer}}
	}
	upTo := tcpPort(8000)
	upTo.EndPort = new(int32(8100))
	byName := networkingv1.NetworkPolicyPort{Port: new(intstr.FromString("http"))}
	cases := map[string]struct {
		policies []networkingv1.NetworkPolicy
		says     []string
	}{
		"no policy: ours closes it":        {nil, nil},
		"a policy for other pods: as none": {[]networkingv1.NetworkPolicy{networkPolicy("db", map[string]string{"app": "db"})}, nil},
		"everything is denied":             {[]networkingv1.NetworkPolicy{networkPolicy("deny", all)}, nil},
		"egress alone says nothing of it": {[]networkingv1.NetworkPolicy{{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "out"},
			Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}},
		}}, nil},
		"everything is admitted":                    {[]networkingv1.NetworkPolicy{networkPolicy("open", mine, anywhere())}, []string{"from anywhere", "open", "15080"}},
		"the app's port is admitted":                {[]networkingv1.NetworkPolicy{networkPolicy("open", mine, anywhere(tcpPort(appPort)))}, []string{"open"}},
		"a range with it is admitted":               {[]networkingv1.NetworkPolicy{networkPolicy("open", mine, anywhere(upTo))}, []string{"open"}},
		"one of two admits it":                      {[]networkingv1.NetworkPolicy{networkPolicy("deny", all), networkPolicy("open", mine, anywhere())}, []string{": open."}},
		"the sidecar's port alone is admitted":      {[]networkingv1.NetworkPolicy{networkPolicy("door", mine, anywhere(tcpPort(mfav1alpha1.TrafficPort)))}, nil},
		"a name that is the sidecar's is admitted":  {[]networkingv1.NetworkPolicy{networkPolicy("door", mine, anywhere(byName))}, nil},
		"some pods are admitted":                    {[]networkingv1.NetworkPolicy{networkPolicy("some", mine, networkingv1.NetworkPolicyIngressRule{From: fromPods(mine)})}, nil},
		"every pod of the namespace, but no others": {[]networkingv1.NetworkPolicy{networkPolicy("some", mine, from(networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{}}))}, nil},
		"every pod of the cluster is admitted":      {[]networkingv1.NetworkPolicy{networkPolicy("open", mine, from(networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{}}))}, []string{"open"}},
		"every address is admitted":                 {[]networkingv1.NetworkPolicy{networkPolicy("open", mine, from(networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0"}}))}, []string{"open"}},
		"every address but some is not anywhere": {[]networkingv1.NetworkPolicy{networkPolicy("some", mine, from(networkingv1.NetworkPolicyPeer{
			IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: []string{"10.0.0.0/8"}},
		}))}, nil},
		"another pod is covered, this one is not": {[]networkingv1.NetworkPolicy{networkPolicy("one", map[string]string{"one": "yes"})}, []string{"these pods: a.", "adds none"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var wanted []want
			if tc.says != nil {
				wanted = []want{{"Namespace", namespace, tc.says}}
			}
			covered := with(ported("b"), func(p *corev1.Pod) { p.Labels["one"] = "yes" })
			in := guard.Input{
				Policy: portal(), AppPort: appPort, Capture: mfav1alpha1.CapturePort,
				Pods: []corev1.Pod{ported("a"), covered}, NetworkPolicies: tc.policies,
			}
			checkWays(t, guard.Ways(in), wanted)
		})
	}
}

func TestWaysAreBoundedAndAlwaysInTheSameOrder(t *testing.T) {
	in := guard.Input{Policy: portal(), AppPort: appPort, Capture: mfav1alpha1.CapturePort}
	for i := range 40 {
		in.Pods = append(in.Pods, bare(fmt.Sprintf("pod-%02d", i)), ported(fmt.Sprintf("ported-%02d", i)))
	}
	for i := range 3 {
		in.Services = append(in.Services, service(fmt.Sprintf("s%d", i), intstr.FromInt32(appPort)))
	}
	first := guard.Ways(in)
	if len(first) != 16 {
		t.Fatalf("%d ways, want 16", len(first))
	}
	if last := first[15]; last.Kind != "Namespace" || !strings.Contains(last.Message, "28 more ways") {
		t.Errorf("the last way does not count the rest: %v", last)
	}
	if !strings.Contains(first[0].Message, "pod-00, pod-01, pod-02 and 37 more.") {
		t.Errorf("the message is not bounded: %s", first[0].Message)
	}
	if n := strings.Count(first[0].Message, "own port 8080"); n != 1 {
		t.Errorf("the same is said %d times: %s", n, first[0].Message)
	}
	for range 10 {
		rand.Shuffle(len(in.Pods), func(i, j int) { in.Pods[i], in.Pods[j] = in.Pods[j], in.Pods[i] })
		rand.Shuffle(len(in.Services), func(i, j int) { in.Services[i], in.Services[j] = in.Services[j], in.Services[i] })
		if diff := cmp.Diff(first, guard.Ways(in)); diff != "" {
			t.Fatalf("the order of the input shows (-first +now):\n%s", diff)
		}
	}
	in.Services[0].Spec.Ports = nil
	for i := range 9 {
		in.Services[0].Spec.Ports = append(in.Services[0].Spec.Ports, corev1.ServicePort{Port: int32(100 + i), TargetPort: intstr.FromInt32(appPort)})
	}
	for _, w := range guard.Ways(in) {
		if w.Name == in.Services[0].Name && !strings.Contains(w.Message, "And 6 more ways by the same object.") {
			t.Errorf("nine ports are all told: %s", w.Message)
		}
	}
}

func TestPortOf(t *testing.T) {
	cases := map[string]struct {
		pod  corev1.Pod
		want int32
	}{
		"the pod's own port of the name":          {bare("a"), appPort},
		"the app's port behind a name taken over": {ported("a"), appPort},
		"no such name":                              {with(bare("a"), func(p *corev1.Pod) { p.Spec.Containers[0].Ports = nil }), 0},
		"a name of UDP is another's":                {with(bare("a"), func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].Protocol = corev1.ProtocolUDP }), 0},
		"arguments that say nothing":                {with(ported("a"), func(p *corev1.Pod) { p.Spec.InitContainers[0].Args = []string{"--app"} }), 0},
		"arguments that are no address":             {with(ported("a"), func(p *corev1.Pod) { p.Spec.InitContainers[0].Args = []string{"--app=::"} }), 0},
		"arguments with a port that is none at all": {with(ported("a"), func(p *corev1.Pod) { p.Spec.InitContainers[0].Args = []string{"--app=http://x:99999"} }), 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := guard.PortOf(&tc.pod, "http"); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}
