package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/sidecar/redisstore"
)

// MFAResetReconciler carries MFAResets out, each once.
type MFAResetReconciler struct {
	// Policies whose channels and keys lead to the enrolments.
	Policies *MFAPolicyReconciler
	// Client reads from the manager's cache and writes.
	Client client.Client
	// Events tells people of changes.
	Events events.EventRecorder
	// Clock of the process.
	Clock func() time.Time
}

// +kubebuilder:rbac:groups=mfa.sallyport.dev,resources=mfaresets,verbs=get;list;watch
// +kubebuilder:rbac:groups=mfa.sallyport.dev,resources=mfaresets/status,verbs=patch

// outcome is what a look at a reset found.
type outcome struct {
	status  metav1.ConditionStatus
	reason  mfav1alpha1.ConditionReason
	message string
	// user is the keyed hash of whom it is about, "" where that was not reached.
	user string
	// again is when to try once more, zero for never.
	again time.Duration
}

// Reconcile carries one reset out, unless it was.
func (r *MFAResetReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	reset := new(mfav1alpha1.MFAReset)
	if err := r.Client.Get(ctx, req.NamespacedName, reset); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if meta.IsStatusConditionTrue(reset.Status.Conditions, string(mfav1alpha1.ConditionComplete)) {
		return ctrl.Result{}, nil
	}
	found := r.carryOut(ctx, reset)
	if found.user != "" {
		// The only trace of it that names no user: docs/audit-events.md.
		log.FromContext(ctx).Info("Security event", "audit", true, "event", "admin.reset",
			"user", found.user, "policy", reset.Namespace+"/"+reset.Spec.Policy, "reset", reset.Name, "result", string(found.reason))
	}
	return ctrl.Result{RequeueAfter: found.again}, r.save(ctx, reset, found)
}

// carryOut ends the enrolment. What is not known for certain is tried again.
func (r *MFAResetReconciler) carryOut(ctx context.Context, reset *mfav1alpha1.MFAReset) outcome {
	key := client.ObjectKey{Namespace: reset.Namespace, Name: reset.Spec.Policy}
	way, ok := r.Policies.channels.of(key)
	if !ok {
		return r.noWay(ctx, key)
	}
	namespace, err := r.Policies.Keys.Of(ctx, key.Namespace)
	if err != nil {
		return fails(mfav1alpha1.ReasonKeysMissing, "The keys by which users are found cannot be had: %v", err)
	}
	ring, err := namespace.Realm(way.realm)
	if err != nil {
		return fails(mfav1alpha1.ReasonKeysMissing, "The keys by which users are found cannot be read: %v", err)
	}
	store, err := redisstore.New(way.store.Client, redisstore.Config{
		Prefix: r.Policies.KeyPrefix, Realm: way.realm, Epoch: way.epoch, Clock: r.Clock,
	})
	if err != nil {
		return fails(mfav1alpha1.ReasonStoreUnreachable, "The store could not be set up: %v", err)
	}
	user := ring.Name("user", reset.Spec.User)
	ended, err := store.ResetConfirmedBy(ctx, user, reset.CreationTimestamp.Time)
	switch {
	case errors.Is(err, redisstore.ErrNewer):
		return done(user, mfav1alpha1.ReasonEnrolledSince,
			"The user has enrolled since this reset was asked for, and stays enrolled. To end that enrolment too, create another MFAReset")
	case errors.Is(err, redisstore.ErrLost):
		return fails(mfav1alpha1.ReasonStoreLost, "The store is not the one that held the enrolments, see the condition StoreReady of MFAPolicy %s", key.Name)
	case err != nil:
		return fails(mfav1alpha1.ReasonStoreUnreachable, "Redis cannot be relied upon: %v. The reset is tried again", err)
	case !ended:
		return done(user, mfav1alpha1.ReasonNothingToReset,
			"No user with exactly this id is enrolled in workspace %s. Compare it with what the app gives as the id, upper and lower case too", way.realm)
	}
	return done(user, mfav1alpha1.ReasonReset, "The user's enrolment in workspace %s has ended: two-factor can be set up anew", way.realm)
}

// noWay says why the store of a policy is not known.
func (r *MFAResetReconciler) noWay(ctx context.Context, key client.ObjectKey) outcome {
	err := r.Client.Get(ctx, key, new(mfav1alpha1.MFAPolicy))
	if apierrors.IsNotFound(err) {
		return fails(mfav1alpha1.ReasonPolicyNotFound, "There is no MFAPolicy %s in namespace %s. Create the MFAReset beside the app's policy", key.Name, key.Namespace)
	}
	return outcome{
		status: metav1.ConditionUnknown, reason: mfav1alpha1.ReasonNotChecked, again: storeRetry,
		message: fmt.Sprintf("The store of MFAPolicy %s was not reached yet; its conditions say why", key.Name),
	}
}

func fails(reason mfav1alpha1.ConditionReason, format string, args ...any) outcome {
	return outcome{status: metav1.ConditionFalse, reason: reason, message: fmt.Sprintf(format, args...), again: storeRetry}
}

func done(user string, reason mfav1alpha1.ConditionReason, format string, args ...any) outcome {
	return outcome{status: metav1.ConditionTrue, reason: reason, message: fmt.Sprintf(format, args...), user: user}
}

// save writes what was found, and tells of it where it is news.
func (r *MFAResetReconciler) save(ctx context.Context, reset *mfav1alpha1.MFAReset, found outcome) error {
	before := reset.DeepCopy()
	was := meta.FindStatusCondition(before.Status.Conditions, string(mfav1alpha1.ConditionComplete))
	news := was == nil || was.Status != found.status || was.Reason != string(found.reason)
	if !meta.SetStatusCondition(&reset.Status.Conditions, metav1.Condition{
		Type: string(mfav1alpha1.ConditionComplete), Status: found.status, Reason: string(found.reason),
		Message: found.message, ObservedGeneration: reset.Generation,
	}) {
		return nil
	}
	if found.status == metav1.ConditionTrue {
		reset.Status.CompletedAt = new(metav1.NewTime(r.Clock()))
	}
	if err := r.Client.Status().Patch(ctx, reset, client.MergeFrom(before)); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("save the status of the reset: %w", err))
	}
	if news && found.status != metav1.ConditionUnknown {
		kind := corev1.EventTypeNormal
		if found.reason != mfav1alpha1.ReasonReset {
			kind = corev1.EventTypeWarning
		}
		r.Events.Eventf(reset, nil, kind, string(found.reason), string(mfav1alpha1.ConditionComplete), "%s", found.message)
	}
	return nil
}

// SetupWithManager has Reconcile run for each reset.
func (r *MFAResetReconciler) SetupWithManager(mgr ctrl.Manager, options controller.Options) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("mfareset").
		For(&mfav1alpha1.MFAReset{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(options).
		Complete(r)
}
