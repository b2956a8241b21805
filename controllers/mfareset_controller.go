package controllers

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/sidecar/redisstore"
)

// MFAResetReconciler carries MFAResets out, each once.
type MFAResetReconciler struct{ OneOff }

// +kubebuilder:rbac:groups=mfa.sallyport.dev,resources=mfaresets,verbs=get;list;watch
// +kubebuilder:rbac:groups=mfa.sallyport.dev,resources=mfaresets/status,verbs=patch

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
	found.audit(ctx, "admin.reset", reset.Namespace+"/"+reset.Spec.Policy, "reset", reset.Name)
	before := reset.DeepCopy()
	if found.status == metav1.ConditionTrue {
		reset.Status.CompletedAt = new(metav1.NewTime(r.Clock()))
	}
	return ctrl.Result{RequeueAfter: found.again}, r.save(ctx, reset, before, &reset.Status.Conditions, mfav1alpha1.ConditionComplete, found)
}

// carryOut ends the enrolment. What is not known for certain is tried again.
func (r *MFAResetReconciler) carryOut(ctx context.Context, reset *mfav1alpha1.MFAReset) outcome {
	policy := client.ObjectKey{Namespace: reset.Namespace, Name: reset.Spec.Policy}
	in, problem, ok := r.enrolmentsOf(ctx, policy, "MFAReset")
	if !ok {
		return problem
	}
	user := in.ring.Name("user", reset.Spec.User)
	ended, err := in.store.ResetConfirmedBy(ctx, user, reset.CreationTimestamp.Time)
	switch {
	case errors.Is(err, redisstore.ErrNewer):
		return done(user, mfav1alpha1.ReasonEnrolledSince,
			"The user has enrolled since this reset was asked for, and stays enrolled. To end that enrolment too, create another MFAReset")
	case err != nil:
		return noStore(policy, err)
	case !ended:
		return done(user, mfav1alpha1.ReasonNothingToReset,
			"No user with exactly this id is enrolled in workspace %s. Compare it with what the app gives as the id, upper and lower case too", in.realm)
	}
	return done(user, mfav1alpha1.ReasonReset, "The user's enrolment in workspace %s has ended: two-factor can be set up anew", in.realm)
}

// SetupWithManager has Reconcile run for each reset.
func (r *MFAResetReconciler) SetupWithManager(mgr ctrl.Manager, options controller.Options) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("mfareset").
		For(&mfav1alpha1.MFAReset{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(options).
		Complete(r)
}
