package rollout

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// workload is the present state of a Deployment, StatefulSet or DaemonSet.
type workload struct {
	owner
	meta     *metav1.ObjectMeta
	template *corev1.PodTemplateSpec
	selector *metav1.LabelSelector
	// complete says that every pod is of the present template, and available.
	complete bool
	// stuck says why the rollout does not go on, where Kubernetes knows.
	stuck string
	// held says why a change of the template would not replace the pods.
	held hold
}

// hold is what keeps a rollout from replacing pods.
type hold int

const (
	free hold = iota
	paused
	onDelete
	partitioned
)

// restartedFor is the revision that the workload was last restarted for.
func (w *workload) restartedFor() string {
	return w.template.Annotations[mfav1alpha1.RestartedAnnotation]
}

// selects reports whether the workload's own selector covers the pod.
func (w *workload) selects(pod *corev1.Pod) bool {
	s, err := metav1.LabelSelectorAsSelector(w.selector)
	return err == nil && s.Matches(labels.Set(pod.Labels))
}

// coveredBy reports whether the policy's selector covers the pods that the workload
// makes.
func (w *workload) coveredBy(p *mfav1alpha1.MFAPolicy) bool {
	s, err := metav1.LabelSelectorAsSelector(&p.Spec.Selector)
	return err == nil && s.Matches(labels.Set(w.template.Labels))
}

// read gets one workload.
func read(ctx context.Context, c client.Reader, namespace string, o owner) (*workload, error) {
	key := client.ObjectKey{Namespace: namespace, Name: o.name}
	var w *workload
	var err error
	switch o.kind {
	case deployment:
		d := new(appsv1.Deployment)
		err = c.Get(ctx, key, d)
		w = ofDeployment(d)
	case statefulSet:
		s := new(appsv1.StatefulSet)
		err = c.Get(ctx, key, s)
		w = ofStatefulSet(s)
	case daemonSet:
		d := new(appsv1.DaemonSet)
		err = c.Get(ctx, key, d)
		w = ofDaemonSet(d)
	default:
		return nil, fmt.Errorf("read %s: nothing rolls it out", o)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", o, namespace, err)
	}
	return w, nil
}

// list gets the workloads of a namespace.
func list(ctx context.Context, c client.Reader, namespace string) ([]*workload, error) {
	deployments, statefulSets, daemonSets := new(appsv1.DeploymentList), new(appsv1.StatefulSetList), new(appsv1.DaemonSetList)
	for _, l := range []client.ObjectList{deployments, statefulSets, daemonSets} {
		if err := c.List(ctx, l, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("list the workloads of %s: %w", namespace, err)
		}
	}
	var all []*workload
	for i := range deployments.Items {
		all = append(all, ofDeployment(&deployments.Items[i]))
	}
	for i := range statefulSets.Items {
		all = append(all, ofStatefulSet(&statefulSets.Items[i]))
	}
	for i := range daemonSets.Items {
		all = append(all, ofDaemonSet(&daemonSets.Items[i]))
	}
	return all, nil
}

func ofDeployment(d *appsv1.Deployment) *workload {
	w := &workload{
		owner: owner{deployment, d.Name}, meta: &d.ObjectMeta,
		template: &d.Spec.Template, selector: d.Spec.Selector,
	}
	wanted, s := orOne(d.Spec.Replicas), &d.Status
	w.complete = s.ObservedGeneration >= d.Generation &&
		s.UpdatedReplicas >= wanted && s.Replicas <= s.UpdatedReplicas && s.AvailableReplicas >= s.UpdatedReplicas
	for _, c := range s.Conditions {
		if c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse && s.ObservedGeneration >= d.Generation {
			w.stuck = "it exceeded its progress deadline"
		}
	}
	if d.Spec.Paused {
		w.held = paused
	}
	return w
}

func ofStatefulSet(s *appsv1.StatefulSet) *workload {
	w := &workload{
		owner: owner{statefulSet, s.Name}, meta: &s.ObjectMeta,
		template: &s.Spec.Template, selector: s.Spec.Selector,
	}
	wanted := orOne(s.Spec.Replicas)
	updated := wanted
	if u := s.Spec.UpdateStrategy; u.Type == appsv1.OnDeleteStatefulSetStrategyType {
		w.held = onDelete
	} else if u.RollingUpdate != nil && u.RollingUpdate.Partition != nil && *u.RollingUpdate.Partition > 0 {
		w.held = partitioned
		updated = max(0, wanted-*u.RollingUpdate.Partition)
	}
	w.complete = s.Status.ObservedGeneration >= s.Generation &&
		s.Status.UpdatedReplicas >= updated && s.Status.AvailableReplicas >= wanted
	return w
}

func ofDaemonSet(d *appsv1.DaemonSet) *workload {
	w := &workload{
		owner: owner{daemonSet, d.Name}, meta: &d.ObjectMeta,
		template: &d.Spec.Template, selector: d.Spec.Selector,
	}
	s := &d.Status
	w.complete = s.ObservedGeneration >= d.Generation &&
		s.UpdatedNumberScheduled >= s.DesiredNumberScheduled && s.NumberAvailable >= s.DesiredNumberScheduled
	if d.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
		w.held = onDelete
	}
	return w
}

// restart is the change that makes Kubernetes replace the workload's pods: one
// annotation, and the UID, without which applying to a workload that was deleted
// meanwhile would mean to create it.
func (w *workload) restart(revision string) runtime.ApplyConfiguration {
	template := corev1ac.PodTemplateSpec().WithAnnotations(map[string]string{mfav1alpha1.RestartedAnnotation: revision})
	switch w.kind {
	case statefulSet:
		return appsv1ac.StatefulSet(w.name, w.meta.Namespace).WithUID(w.meta.UID).
			WithSpec(appsv1ac.StatefulSetSpec().WithTemplate(template))
	case daemonSet:
		return appsv1ac.DaemonSet(w.name, w.meta.Namespace).WithUID(w.meta.UID).
			WithSpec(appsv1ac.DaemonSetSpec().WithTemplate(template))
	default:
		return appsv1ac.Deployment(w.name, w.meta.Namespace).WithUID(w.meta.UID).
			WithSpec(appsv1ac.DeploymentSpec().WithTemplate(template))
	}
}

func orOne(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}
