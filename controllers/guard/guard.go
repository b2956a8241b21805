// Package guard finds the ways to an app that do not pass its sidecar, and closes
// those that a NetworkPolicy can close.
//
// Ways, NetworkPolicy and MayRestrict are pure: whoever asks brings the objects.
// Only Prober touches the network: it opens connections to the app's own port and
// sends nothing. The package may import api/v1alpha1 and the Kubernetes API
// machinery. It must never read or write a cluster, and never take what it cannot
// see for closed.
//
// What it cannot see: Services without a selector, whose endpoints somebody writes
// by hand, and policies of a network plugin's own kinds. The probe measures what
// these come to.
//
// +kubebuilder:rbac:groups="",resources=services,verbs=get;list;watch
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;patch;delete
package guard

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// The kinds of what opens a way around, in the order in which ways are listed: what
// is set up wrongly comes before pods that a restart brings up to date.
const (
	kindService   = "Service"
	kindNamespace = "Namespace"
	kindPod       = "Pod"
)

// maxWays is what status.waysAround holds.
const maxWays = 16

// Input is all that Ways looks at, of one policy and its namespace.
type Input struct {
	// Policy guards the app.
	Policy *mfav1alpha1.MFAPolicy
	// AppPort is the app's port by number, 0 where it is not known. A sidecar's own
	// arguments go before it: pods may be of two templates while a rollout lasts.
	AppPort int32
	// Capture is what new pods are injected with: Port or Redirect.
	Capture mfav1alpha1.Capture
	// Pods are the running pods that the policy governs.
	Pods []corev1.Pod
	// Others are the running pods of the namespace that no policy governs. A Service
	// that leads to them beside governed pods is a way around. May be left out.
	Others []corev1.Pod
	// Services and NetworkPolicies are those of the policy's namespace.
	Services        []corev1.Service
	NetworkPolicies []networkingv1.NetworkPolicy
	// Reached names pods whose app port answered a direct connection.
	Reached []string
}

// Ways lists how the app can be reached without its sidecar, and how to close each
// way. It lists one entry for each object, at most 16, always in the same order;
// where there are more, the last entry says how many.
func Ways(in Input) []mfav1alpha1.WayAround {
	f := findings{}
	in.unprotectedPods(f)
	in.openServices(f)
	if in.Capture != mfav1alpha1.CaptureRedirect {
		in.openPods(f)
		in.openNetworkPolicies(f)
	}
	return f.list(in.Policy.Namespace)
}

// unprotectedPods finds pods that no sidecar guards, or not as the policy asks.
func (in *Input) unprotectedPods(f findings) {
	for i := range in.Pods {
		pod := &in.Pods[i]
		port := in.appPort(pod)
		switch carried, ok := carriedPolicy(pod); {
		case !ok:
			f.add(kindPod, pod.Name, "It runs without the sidecar, so whoever reaches it reaches the app. %s", restart)
		case carried != in.Policy.Name:
			f.add(kindPod, pod.Name, "It carries the sidecar of policy %q, which obeys other rules. %s", carried, restart)
		case in.Capture == mfav1alpha1.CaptureRedirect && !redirected(pod):
			f.add(kindPod, pod.Name, "It was injected with capture Port, so %s answers beside the sidecar. %s", appPortText(port), restart)
		}
		if pod.Spec.HostNetwork {
			f.add(kindPod, pod.Name, "It uses its node's network, so %s is open at the node's address. Set hostNetwork: false.", appPortText(port))
		}
		powerfulContainers(f, pod)
	}
}

// openPods finds pods injected with capture Port whose app is open at an address of
// the pod's own or of its node.
func (in *Input) openPods(f findings) {
	for i := range in.Pods {
		pod := &in.Pods[i]
		if !in.besideSidecar(pod) {
			continue
		}
		port := in.appPort(pod)
		for _, c := range allContainers(pod) {
			for _, p := range c.Ports {
				if p.HostPort != 0 && p.ContainerPort == port && isTCP(p.Protocol) {
					f.add(kindPod, pod.Name, "Host port %d of its node leads to %s. Restart the pod, so that the sidecar takes the host port over, or remove it from container %s.", p.HostPort, appPortText(port), c.Name)
				}
			}
		}
		if slices.Contains(in.Reached, pod.Name) {
			f.add(kindPod, pod.Name, "%s", in.reachedText(port))
		}
	}
}

func (in *Input) reachedText(port int32) string {
	name := NetworkPolicyName(in.Policy.Name)
	if slices.ContainsFunc(in.NetworkPolicies, func(n networkingv1.NetworkPolicy) bool { return n.Name == name }) {
		return fmt.Sprintf("The app's port %d answers at the pod's own address although NetworkPolicy %s leaves it out: the cluster's network does not enforce NetworkPolicies, or does so only later. "+
			"Use capture: Redirect, or let the app listen on 127.0.0.1 only.", port, name)
	}
	return fmt.Sprintf("The app's port %d answers at the pod's own address. "+
		"Let the app listen on 127.0.0.1 only, use capture: Redirect, or admit port %d but not %d by a NetworkPolicy.", port, mfav1alpha1.TrafficPort, port)
}

// besideSidecar reports whether the pod carries the policy's sidecar in a form that
// leaves the app's own port as open as it was.
func (in *Input) besideSidecar(pod *corev1.Pod) bool {
	carried, ok := carriedPolicy(pod)
	return ok && carried == in.Policy.Name && !redirected(pod)
}

// findings collects sentences by the object that they speak of.
type findings map[finding][]string

type finding struct{ kind, name string }

func (f findings) add(kind, name, format string, args ...any) {
	key, sentence := finding{kind, name}, fmt.Sprintf(format, args...)
	if !slices.Contains(f[key], sentence) {
		f[key] = append(f[key], sentence)
	}
}

func (f findings) list(namespace string) []mfav1alpha1.WayAround {
	rank := map[string]int{kindService: 0, kindNamespace: 1, kindPod: 2}
	keys := slices.SortedFunc(maps.Keys(f), func(a, b finding) int {
		return cmp.Or(cmp.Compare(rank[a.kind], rank[b.kind]), strings.Compare(a.name, b.name))
	})
	var ways []mfav1alpha1.WayAround
	for i, k := range keys {
		if i == maxWays-1 && len(keys) > maxWays {
			return append(ways, mfav1alpha1.WayAround{
				Kind: kindNamespace, Name: namespace,
				Message: fmt.Sprintf("There are %d more ways around. Close those that are listed, and the others are listed in their place.", len(keys)-i),
			})
		}
		ways = append(ways, mfav1alpha1.WayAround{Kind: k.kind, Name: k.name, Message: message(f[k])})
	}
	return ways
}

// message joins what was found of one object, at most four sentences of it.
func message(sentences []string) string {
	const most = 4
	if len(sentences) <= most {
		return strings.Join(sentences, " ")
	}
	return fmt.Sprintf("%s And %d more ways by the same object.", strings.Join(sentences[:most], " "), len(sentences)-most)
}

const restart = "Restart it: status.pods.command says how."

func appPortText(port int32) string {
	if port == 0 {
		return "the app's port"
	}
	return fmt.Sprintf("the app's port %d", port)
}

// some names at most three of the objects, so that a message stays short.
func some(names []string) string {
	const most = 3
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
