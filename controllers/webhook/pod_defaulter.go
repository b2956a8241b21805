package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	ctrladmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/admission"
	"github.com/sallyport/sallyport/controllers/injection"
	"github.com/sallyport/sallyport/controllers/selection"
)

// PodDefaulter adds the sidecar to the pods that the API server sends.
type PodDefaulter struct {
	reader   client.Reader
	operator func(context.Context) injection.Operator
	clock    func() time.Time
	metrics  *metrics
}

// New is a PodDefaulter that reads policies and namespaces from reader, the manager's
// cache, and registers its metrics with registerer. operator is asked for each pod.
func New(
	reader client.Reader, operator func(context.Context) injection.Operator, clock func() time.Time, registerer prometheus.Registerer,
) (*PodDefaulter, error) {
	m, err := newMetrics(registerer)
	if err != nil {
		return nil, err
	}
	return &PodDefaulter{reader: reader, operator: operator, clock: clock, metrics: m}, nil
}

// SetupWithManager has the manager's webhook server send pods here.
func (d *PodDefaulter) SetupWithManager(mgr ctrl.Manager) error {
	err := ctrl.NewWebhookManagedBy(mgr, &corev1.Pod{}).
		WithDefaulter(d).
		WithDefaulterCustomPath(admission.Path).
		WithLogConstructor(logger).
		Complete()
	if err != nil {
		return fmt.Errorf("register the injector: %w", err)
	}
	return nil
}

// Default adds the sidecar of the policy that governs the pod, or says why it cannot.
func (d *PodDefaulter) Default(ctx context.Context, pod *corev1.Pod) error {
	start := d.clock()
	result, err := d.inject(ctx, pod)
	d.metrics.observe(result, d.clock().Sub(start))
	if err != nil {
		logf.FromContext(ctx).Info("Pod was refused", "result", string(result), "reason", err.Error())
	}
	return err
}

func (d *PodDefaulter) inject(ctx context.Context, pod *corev1.Pod) (result, error) {
	request, err := ctrladmission.RequestFromContext(ctx)
	if err != nil {
		return failed, apierrors.NewInternalError(err)
	}
	governing, err := d.governing(ctx, request.Namespace, pod.Labels)
	if err != nil {
		return resultOf(err), err
	}
	namespace := new(corev1.Namespace)
	if err := d.reader.Get(ctx, client.ObjectKey{Name: request.Namespace}, namespace); err != nil {
		return failed, apierrors.NewInternalError(fmt.Errorf("read namespace %s: %w", request.Namespace, err))
	}
	capture := injection.ResolveCapture(governing.Spec.Capture, namespace.Labels)
	before := pod.DeepCopy()
	if err := injection.Inject(pod, injection.For(governing, capture, d.operator(ctx))); err != nil {
		if _, refusal := errors.AsType[*injection.Refusal](err); refusal {
			return refused, apierrors.NewBadRequest(err.Error())
		}
		return failed, apierrors.NewInternalError(fmt.Errorf("inject the sidecar: %w", err))
	}
	if equality.Semantic.DeepEqual(before, pod) {
		return unchanged, nil
	}
	return injected, nil
}

// governing is the policy whose sidecar a pod with these labels gets. A policy that
// is being deleted still has its pods injected as long as its rule sends them: a pod
// with a sidecar too many waits, one too few is open.
func (d *PodDefaulter) governing(ctx context.Context, namespace string, pod labels.Set) (*mfav1alpha1.MFAPolicy, error) {
	policies := new(mfav1alpha1.MFAPolicyList)
	if err := d.reader.List(ctx, policies, client.InNamespace(namespace)); err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("list the policies of %s: %w", namespace, err))
	}
	covering := selection.Governing(policies.Items, pod)
	if len(covering) == 0 {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("an MFAPolicy of namespace %[1]s selects this pod, "+
			"but no MFAPolicy that selects this pod is known here yet; try again in a moment, and see kubectl get mfapolicies -n %[1]s", namespace))
	}
	p := covering[0]
	if err := usable(p); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return p, nil
}

// usable refuses a policy that never was in force: there are no good rules that a
// sidecar could follow. Where an earlier spec is in force, its rules are what the
// sidecar obeys, so the pod gets one.
func usable(p *mfav1alpha1.MFAPolicy) error {
	if p.Status.PublishedGeneration > 0 {
		return nil
	}
	name := p.Namespace + "/" + p.Name
	rules := p.Spec.Rules.DeepCopy()
	rules.SetDefaults(p.Name)
	if err := rules.Validate().Err(); err != nil {
		return fmt.Errorf("MFAPolicy %s selects this pod but is not valid; correct it: %w", name, err)
	}
	accepted := meta.FindStatusCondition(p.Status.Conditions, string(mfav1alpha1.ConditionAccepted))
	if accepted != nil && accepted.Status == metav1.ConditionFalse && accepted.ObservedGeneration == p.Generation {
		return fmt.Errorf("MFAPolicy %s selects this pod but was not accepted; correct it: %s", name, accepted.Message)
	}
	return nil
}

// logger names the pod and the request, and nothing that the pod holds.
func logger(base logr.Logger, request *ctrladmission.Request) logr.Logger {
	if request == nil {
		return base
	}
	return base.WithValues("namespace", request.Namespace, "pod", request.Name, "requestID", request.UID)
}
