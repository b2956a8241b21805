package rollout

import (
	"regexp"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

// kind says what to do about a pod of such an owner.
type kind string

const (
	// The three that Kubernetes rolls out, as kubectl calls them.
	deployment  kind = "deployment"
	statefulSet kind = "statefulset"
	daemonSet   kind = "daemonset"
	// job: its pods end by themselves, and restarting them is not ours to suggest.
	job kind = "job"
	// node: a static pod, which only its node can start again.
	node kind = "node"
	// replacing: a ReplicaSet of no Deployment, or the like, which replaces each pod
	// that is deleted.
	replacing kind = "replacing"
	// unknown: an owner of a kind that only its own tools restart.
	unknown kind = "unknown"
	// none: nothing makes the pod anew.
	none kind = "none"
)

// owner is what a pod belongs to, as far as the pod itself tells.
type owner struct {
	kind kind
	// name is the owner's; for an unknown one kind.group/name. It is safe to show in a
	// command line: no API server has checked an owner reference's name.
	name string
}

// String names the owner as kubectl does, as far as it is one of Kubernetes' own.
func (o owner) String() string {
	switch o.kind {
	case unknown:
		return o.name
	case replacing:
		return "replicaset/" + o.name
	case none:
		return "pod/" + o.name
	default:
		return string(o.kind) + "/" + o.name
	}
}

// restartable reports whether Kubernetes rolls the owner's pods out.
func (o owner) restartable() bool {
	return o.kind == deployment || o.kind == statefulSet || o.kind == daemonSet
}

// ownerOf resolves the pod's owner and, for those that the pod names directly, its
// UID. A Deployment is told from its ReplicaSet's name, which is the Deployment's and
// the pod-template-hash; whoever acts on it must look whether it is really there.
func ownerOf(pod *corev1.Pod) (owner, types.UID) {
	ref := metav1.GetControllerOf(pod)
	if ref == nil {
		return owner{kind: none, name: pod.Name}, ""
	}
	if len(validation.IsDNS1123Subdomain(ref.Name)) > 0 {
		return owner{kind: unknown, name: "owner"}, ref.UID
	}
	switch ref.APIVersion + " " + ref.Kind {
	case appsv1.SchemeGroupVersion.String() + " ReplicaSet":
		hash := pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
		if name, ok := strings.CutSuffix(ref.Name, "-"+hash); ok && hash != "" && len(validation.IsDNS1123Subdomain(name)) == 0 {
			return owner{kind: deployment, name: name}, ""
		}
		return owner{kind: replacing, name: ref.Name}, ref.UID
	case appsv1.SchemeGroupVersion.String() + " StatefulSet":
		return owner{kind: statefulSet, name: ref.Name}, ref.UID
	case appsv1.SchemeGroupVersion.String() + " DaemonSet":
		return owner{kind: daemonSet, name: ref.Name}, ref.UID
	case batchv1.SchemeGroupVersion.String() + " Job":
		return owner{kind: job, name: ref.Name}, ref.UID
	case corev1.SchemeGroupVersion.String() + " Node":
		return owner{kind: node, name: ref.Name}, ref.UID
	default:
		return owner{kind: unknown, name: foreignName(ref)}, ref.UID
	}
}

// foreignName is kind.group/name of an owner of a kind that is not Kubernetes' own.
func foreignName(ref *metav1.OwnerReference) string {
	group, _, grouped := strings.Cut(ref.APIVersion, "/")
	if !plain.MatchString(ref.Kind) || (grouped && len(validation.IsDNS1123Subdomain(group)) > 0) {
		return "owner/" + ref.Name
	}
	if !grouped {
		return strings.ToLower(ref.Kind) + "/" + ref.Name
	}
	return strings.ToLower(ref.Kind) + "." + group + "/" + ref.Name
}

var plain = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,62}$`)
