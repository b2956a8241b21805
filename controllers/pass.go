package controllers

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport/sallyport/api/policy"
	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/injection"
	"github.com/sallyport/sallyport/sidecar/control"
	"github.com/sallyport/sallyport/sidecar/redisstore"
)

// pass is one pass over one policy: what was read, what the steps have found so
// far, and the status that they build.
type pass struct {
	// policy is the object, with the status in the making; before is as it was read.
	policy, before *mfav1alpha1.MFAPolicy
	namespace      *corev1.Namespace
	// siblings are all policies of the namespace, this one among them.
	siblings []mfav1alpha1.MFAPolicy

	// rules are the resolved rules; nil where the spec was not accepted.
	rules *policy.Rules
	// settings of the injection; meaningful where rules are there.
	settings injection.Settings
	// keys of the namespace; nil where they could not be had.
	keys *NamespaceKeys
	// redis is how that is reached; nil where it is not known.
	redis *redisstore.Document
	// store is the connection to the policy's Redis; nil where there is none.
	store *Store
	// epoch that the realm's store must have; "" where it is not known. remembered is
	// what the namespace's Secret said of it when the pass began.
	epoch, remembered string
	// channel to the sidecars; nil without keys or store.
	channel *control.Channel
	// published is what the sidecars are told to obey; nil where that is not known.
	published *policy.Record
	// pods that the policy governs.
	pods []observedPod
	// others are the namespace's pods that no policy governs.
	others []corev1.Pod

	// purged means that the realm's enrolments were deleted in this pass.
	purged bool
	// refused means that nothing may be made in the namespace.
	refused bool
	// gone means that the object was let go in this pass.
	gone bool
	// again is when to look at the policy next.
	again time.Duration
}

func (p *pass) deleting() bool { return p.policy.DeletionTimestamp != nil }

// leaving reports whether the whole namespace is going: nothing can be made in it.
func (p *pass) leaving() bool { return p.namespace.DeletionTimestamp != nil }

// realm of the enrolments.
func (p *pass) realm() string { return realmOf(p.policy) }

func realmOf(policy *mfav1alpha1.MFAPolicy) string {
	workspace := policy.Spec.Workspace
	if workspace == "" {
		workspace = policy.Name
	}
	return policy.Namespace + "/" + workspace
}

// soon asks for another look after d, if none is due earlier.
func (p *pass) soon(d time.Duration) { p.again = min(p.again, d) }

// holds sets a condition to True.
func (p *pass) holds(t mfav1alpha1.ConditionType, reason mfav1alpha1.ConditionReason, format string, args ...any) {
	p.set(t, metav1.ConditionTrue, reason, format, args...)
}

// fails sets a condition to False.
func (p *pass) fails(t mfav1alpha1.ConditionType, reason mfav1alpha1.ConditionReason, format string, args ...any) {
	p.set(t, metav1.ConditionFalse, reason, format, args...)
}

// unknown sets a condition to Unknown.
func (p *pass) unknown(t mfav1alpha1.ConditionType, reason mfav1alpha1.ConditionReason, format string, args ...any) {
	p.set(t, metav1.ConditionUnknown, reason, format, args...)
}

// maxMessage bounds a condition's message, in characters; the API's own bound is
// 32768.
const maxMessage = 1024

func (p *pass) set(
	t mfav1alpha1.ConditionType, status metav1.ConditionStatus, reason mfav1alpha1.ConditionReason, format string, args ...any,
) {
	message := []rune(fmt.Sprintf(format, args...))
	if len(message) > maxMessage {
		message = append(message[:maxMessage-1], '…')
	}
	meta.SetStatusCondition(&p.policy.Status.Conditions, metav1.Condition{
		Type: string(t), Status: status, Reason: string(reason), Message: string(message),
		ObservedGeneration: p.policy.Generation,
	})
}

// is reports whether a condition was set to True.
func (p *pass) is(t mfav1alpha1.ConditionType) bool {
	return meta.IsStatusConditionTrue(p.policy.Status.Conditions, string(t))
}
