package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/seal"
)

// OneOff is what it takes to do once what an administrator asked for by an object of
// its own, an MFAReset or an MFATicket: to reach the enrolments of a policy, and to
// tell what came of it.
type OneOff struct {
	// Policies whose channels and keys lead to the enrolments.
	Policies *MFAPolicyReconciler
	// Client reads from the manager's cache and writes.
	Client client.Client
	// Events tells people of changes.
	Events events.EventRecorder
	// Clock of the process.
	Clock func() time.Time
}

// outcome is what a look at such an object found.
type outcome struct {
	status  metav1.ConditionStatus
	reason  mfav1alpha1.ConditionReason
	message string
	// user is the keyed hash of whom it is about, "" where that was not reached.
	user string
	// again is when to try once more, zero for never.
	again time.Duration
}

// fails is an outcome after which it is tried again.
func fails(reason mfav1alpha1.ConditionReason, format string, args ...any) outcome {
	return outcome{status: metav1.ConditionFalse, reason: reason, message: fmt.Sprintf(format, args...), again: storeRetry}
}

// never is one after which it is not.
func never(reason mfav1alpha1.ConditionReason, format string, args ...any) outcome {
	return outcome{status: metav1.ConditionFalse, reason: reason, message: fmt.Sprintf(format, args...)}
}

func done(user string, reason mfav1alpha1.ConditionReason, format string, args ...any) outcome {
	return outcome{status: metav1.ConditionTrue, reason: reason, message: fmt.Sprintf(format, args...), user: user}
}

// audit writes the only trace of it that names no user (docs/audit-events.md), where it
// was reached whom it is about. The object is named, under what kind says, and nothing of
// what is in it.
func (o outcome) audit(ctx context.Context, event, policy, kind, name string) {
	if o.user == "" {
		return
	}
	log.FromContext(ctx).Info("Security event", "audit", true, "event", event,
		"user", o.user, "policy", policy, kind, name, "result", string(o.reason))
}

// noStore is the outcome of a store that did not do what it was asked for.
func noStore(policy client.ObjectKey, err error) outcome {
	if errors.Is(err, redisstore.ErrLost) {
		return fails(mfav1alpha1.ReasonStoreLost, "The store is not the one that held the enrolments, see the condition StoreReady of MFAPolicy %s", policy.Name)
	}
	return fails(mfav1alpha1.ReasonStoreUnreachable, "Redis cannot be relied upon: %v. It is tried again", err)
}

// enrolments are those of one workspace, as the operator reaches them.
type enrolments struct {
	ring  *seal.Ring
	store *redisstore.Store
	realm string
}

// enrolmentsOf finds the store and the keys of a policy's enrolments, as the last pass
// over the policy has found them. Where ok is false, it is the problem that counts.
func (o *OneOff) enrolmentsOf(ctx context.Context, policy client.ObjectKey, kind string) (e enrolments, problem outcome, ok bool) {
	way, known := o.Policies.channels.of(policy)
	if !known {
		return enrolments{}, o.noWay(ctx, policy, kind), false
	}
	namespace, err := o.Policies.Keys.Of(ctx, policy.Namespace)
	if err != nil {
		return enrolments{}, fails(mfav1alpha1.ReasonKeysMissing, "The keys by which users are found cannot be had: %v", err), false
	}
	ring, err := namespace.Realm(way.realm)
	if err != nil {
		return enrolments{}, fails(mfav1alpha1.ReasonKeysMissing, "The keys by which users are found cannot be read: %v", err), false
	}
	store, err := redisstore.New(way.store.Client, redisstore.Config{
		Prefix: o.Policies.KeyPrefix, Realm: way.realm, Epoch: way.epoch, Clock: o.Clock,
	})
	if err != nil {
		return enrolments{}, fails(mfav1alpha1.ReasonStoreUnreachable, "The store could not be set up: %v", err), false
	}
	return enrolments{ring, store, way.realm}, outcome{}, true
}

// noWay says why the store of a policy is not known.
func (o *OneOff) noWay(ctx context.Context, policy client.ObjectKey, kind string) outcome {
	err := o.Client.Get(ctx, policy, new(mfav1alpha1.MFAPolicy))
	if apierrors.IsNotFound(err) {
		return fails(mfav1alpha1.ReasonPolicyNotFound, "There is no MFAPolicy %s in namespace %s. Create the %s beside the app's policy",
			policy.Name, policy.Namespace, kind)
	}
	return outcome{
		status: metav1.ConditionUnknown, reason: mfav1alpha1.ReasonNotChecked, again: storeRetry,
		message: fmt.Sprintf("The store of MFAPolicy %s was not reached yet; its conditions say why", policy.Name),
	}
}

// save writes what was found into a condition of the object, with whatever else of its
// status differs from before, and tells of it where it is news.
func (o *OneOff) save(
	ctx context.Context, object, before client.Object, conditions *[]metav1.Condition, of mfav1alpha1.ConditionType, found outcome,
) error {
	was := meta.FindStatusCondition(*conditions, string(of))
	news := was == nil || was.Status != found.status || was.Reason != string(found.reason)
	meta.SetStatusCondition(conditions, metav1.Condition{
		Type: string(of), Status: found.status, Reason: string(found.reason),
		Message: found.message, ObservedGeneration: object.GetGeneration(),
	})
	if apiequality.Semantic.DeepEqual(before, object) {
		return nil
	}
	if err := o.Client.Status().Patch(ctx, object, client.MergeFrom(before)); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("save what came of it: %w", err))
	}
	if news && found.status != metav1.ConditionUnknown {
		kind := corev1.EventTypeWarning
		if found.reason == mfav1alpha1.ReasonReset || found.reason == mfav1alpha1.ReasonIssued {
			kind = corev1.EventTypeNormal
		}
		o.Events.Eventf(object, nil, kind, string(found.reason), string(of), "%s", found.message)
	}
	return nil
}
