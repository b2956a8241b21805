package guard_test

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

const (
	namespace = "acme"
	appPort   = int32(8080)
)

func portal() *mfav1alpha1.MFAPolicy {
	p := &mfav1alpha1.MFAPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "portal", UID: "portal-uid"}}
	p.Spec.Selector.MatchLabels = map[string]string{"app": "portal"}
	p.Spec.App.Port.Number = appPort
	return p
}

// bare is a pod of the app as its owner wrote it.
func bare(name string) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": "portal"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "app", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: appPort, Protocol: corev1.ProtocolTCP}},
		}}},
		Status: corev1.PodStatus{PodIP: "10.0.0.1", PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}}},
	}
}

// ported is a pod injected with capture Port: its port's name is the sidecar's.
func ported(name string) corev1.Pod {
	pod := bare(name)
	pod.Annotations = map[string]string{mfav1alpha1.PolicyAnnotation: "portal"}
	pod.Spec.Containers[0].Ports[0].Name = ""
	pod.Spec.InitContainers = []corev1.Container{{
		Name: mfav1alpha1.SidecarContainer, RestartPolicy: new(corev1.ContainerRestartPolicyAlways),
		Args:  []string{"--follow", "acme/portal", "--app", "http://127.0.0.1:" + strconv.Itoa(int(appPort))},
		Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: mfav1alpha1.TrafficPort, Protocol: corev1.ProtocolTCP}},
	}}
	return pod
}

// redirected is a pod injected with capture Redirect.
func redirected(name string) corev1.Pod {
	pod := ported(name)
	pod.Spec.Containers[0].Ports[0].Name = "http"
	pod.Spec.InitContainers[0].Ports = nil
	pod.Spec.InitContainers = append([]corev1.Container{{Name: mfav1alpha1.RedirectContainer}}, pod.Spec.InitContainers...)
	return pod
}

func with(pod corev1.Pod, change func(*corev1.Pod)) corev1.Pod {
	change(&pod)
	return pod
}

// service leads from its port 80 to the target.
func service(name string, target intstr.IntOrString, change ...func(*corev1.Service)) corev1.Service {
	s := corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.96.0.1", Selector: map[string]string{"app": "portal"},
			Ports: []corev1.ServicePort{{Port: 80, TargetPort: target, Protocol: corev1.ProtocolTCP}},
		},
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

// networkPolicy selects pods by the labels and has the given ingress rules.
func networkPolicy(name string, selector map[string]string, rules ...networkingv1.NetworkPolicyIngressRule) networkingv1.NetworkPolicy {
	return networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: selector},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}, Ingress: rules,
		},
	}
}

func tcpPort(n int32) networkingv1.NetworkPolicyPort {
	return networkingv1.NetworkPolicyPort{Protocol: new(corev1.ProtocolTCP), Port: new(intstr.FromInt32(n))}
}

func fromPods(labels map[string]string) []networkingv1.NetworkPolicyPeer {
	return []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: labels}}}
}
