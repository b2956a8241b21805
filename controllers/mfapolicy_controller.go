package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/admission"
	"github.com/sallyport/sallyport/controllers/guard"
	"github.com/sallyport/sallyport/controllers/injection"
	"github.com/sallyport/sallyport/controllers/rollout"
	"github.com/sallyport/sallyport/sidecar/redisstore"
)

// Options are what the operator runs with.
type Options struct {
	// Namespace of the operator itself. Policies in it are refused.
	Namespace string
	// ServiceAccount that the operator runs as, for messages.
	ServiceAccount string
	// Injected says what sidecars are injected with.
	Injected injection.Operator
	// Webhook is where the API server reaches the injector. Its CABundle is filled in
	// from Certificates.
	Webhook admission.Target
	// Redis says how the operator's Redis is reached.
	Redis func(context.Context) (*redisstore.Document, error)
	// KeyPrefix begins every Redis key.
	KeyPrefix string
	// RedisUsers gives each namespace a Redis user of its own, confined to it.
	RedisUsers bool
	// NetworkPolicies closes the app's own port where capture is Port.
	NetworkPolicies bool
	// Resync is how often a policy at rest is looked at again.
	Resync time.Duration
}

// Certificates tells which authorities the API server is to trust.
type Certificates interface {
	// Bundle is the PEM of the authorities, empty until there is one.
	Bundle() []byte
}

// MFAPolicyReconciler makes a cluster obey its MFAPolicies.
type MFAPolicyReconciler struct {
	Options

	// Client reads from the manager's cache and writes.
	Client client.Client
	// Live reads from the API server: Secrets that people name.
	Live client.Reader
	// Events tells people of changes.
	Events events.EventRecorder
	// Certificates of the webhook.
	Certificates Certificates
	// Keys is the master key ring.
	Keys *Keys
	// Stores holds the connections to Redis.
	Stores *Stores
	// Census counts enrolled users.
	Census *Census
	// Prober asks whether an app can be reached directly.
	Prober guard.Prober
	// Restarter restarts workloads.
	Restarter *rollout.Restarter
	applied   applied
	secrets   namespaceLocks
	channels  Channels

	// Clock and Random of the process.
	Clock  func() time.Time
	Random io.Reader
}

// +kubebuilder:rbac:groups=mfa.sallyport.dev,resources=mfapolicies,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=mfa.sallyport.dev,resources=mfapolicies/status,verbs=patch
// +kubebuilder:rbac:groups=mfa.sallyport.dev,resources=mfapolicies/finalizers,verbs=update
// +kubebuilder:rbac:groups="",resources=namespaces;pods;services,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,resourceNames=sallyport-sidecar,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// step does one duty of a pass over a policy and says in its conditions how it went.
type step func(context.Context, *pass) error

// Reconcile makes one policy so.
func (r *MFAPolicyReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	p, err := r.begin(ctx, req)
	if p == nil || err != nil {
		return ctrl.Result{}, err
	}
	steps := []step{
		r.accept,
		r.loadKeys,
		r.checkStore,
		r.deliver,
		r.publish,
		r.installRules,
		r.observePods,
		r.guardApp,
		r.countEnrolled,
		r.rollOut,
	}
	if p.deleting() {
		steps = []step{
			r.accept,
			r.loadKeys,
			r.checkStore,
			r.deliver,
			r.publishFinal,
			r.withdrawRules,
			r.observePods,
			r.release,
		}
	}
	var faults []error
	for _, step := range steps {
		if err := step(ctx, p); err != nil {
			faults = append(faults, err)
		}
	}
	if err := r.saveStatus(ctx, p); err != nil {
		faults = append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: p.again}, nil
}

// begin reads what a pass is about: nil where the policy is gone. Then nothing made
// for it may stay in force.
func (r *MFAPolicyReconciler) begin(ctx context.Context, req ctrl.Request) (*pass, error) {
	policy := new(mfav1alpha1.MFAPolicy)
	if err := r.Client.Get(ctx, req.NamespacedName, policy); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, r.sweepRules(ctx, req.NamespacedName)
		}
		return nil, err
	}
	p := &pass{policy: policy, before: policy.DeepCopy(), again: r.Resync}
	namespace := new(corev1.Namespace)
	if err := r.Client.Get(ctx, client.ObjectKey{Name: req.Namespace}, namespace); err != nil {
		return nil, fmt.Errorf("read namespace %s: %w", req.Namespace, err)
	}
	p.namespace = namespace
	siblings := new(mfav1alpha1.MFAPolicyList)
	if err := r.Client.List(ctx, siblings, client.InNamespace(req.Namespace)); err != nil {
		return nil, fmt.Errorf("list the policies of %s: %w", req.Namespace, err)
	}
	p.siblings = siblings.Items
	if !p.deleting() && controllerutil.AddFinalizer(policy, mfav1alpha1.Finalizer) {
		if err := r.Client.Patch(ctx, policy, client.MergeFrom(p.before)); err != nil {
			return nil, fmt.Errorf("add the finalizer: %w", err)
		}
		p.before = policy.DeepCopy()
	}
	return p, nil
}

// SetupWithManager has Reconcile run when a policy changes, when something that it
// looks at does, and when changed tells of other news: certificates and keys.
func (r *MFAPolicyReconciler) SetupWithManager(mgr ctrl.Manager, options controller.Options, changed ...source.Source) error {
	build := ctrl.NewControllerManagedBy(mgr).
		Named("mfapolicy").
		For(&mfav1alpha1.MFAPolicy{}, builder.WithPredicates(predicate.Or(
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.policiesOfPod), builder.WithPredicates(podChanged())).
		Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(r.policiesOfNamespace)).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.policiesOfNamespace)).
		Watches(&networkingv1.NetworkPolicy{}, handler.EnqueueRequestsFromMapFunc(r.policiesOfNamespace)).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.policiesIn),
			builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Watches(&admissionregistrationv1.MutatingWebhookConfiguration{}, handler.EnqueueRequestsFromMapFunc(r.policiesOfRule)).
		Watches(&admissionregistrationv1.ValidatingAdmissionPolicy{}, handler.EnqueueRequestsFromMapFunc(r.policiesOfRule)).
		Watches(&admissionregistrationv1.ValidatingAdmissionPolicyBinding{}, handler.EnqueueRequestsFromMapFunc(r.policiesOfRule)).
		WithOptions(options)
	for _, s := range changed {
		build = build.WatchesRawSource(s)
	}
	return build.Complete(r)
}
