package rollout_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/rollout"
	"github.com/sallyport/sallyport/test/apiserver"
)

const want = "revision-2"

// stage is a namespace of a real API server, where the test plays the controllers.
type stage struct {
	*testing.T
	client    client.WithWatch
	namespace string
	policy    *mfav1alpha1.MFAPolicy
	restarter *rollout.Restarter
	now       time.Time
}

func newStage(t *testing.T, c client.WithWatch, namespace string) *stage {
	t.Helper()
	if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		t.Fatal(err)
	}
	s := &stage{T: t, client: c, namespace: namespace, now: time.Unix(1_800_000_000, 0)}
	s.policy = &mfav1alpha1.MFAPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "portal", UID: "portal-uid"}}
	s.policy.Spec.Selector.MatchLabels = map[string]string{"app": "portal"}
	s.policy.Spec.Rollout = mfav1alpha1.RolloutAutomatic
	s.restarter = s.fresh(c)
	return s
}

// fresh is a Restarter that remembers nothing.
func (s *stage) fresh(c client.Client) *rollout.Restarter {
	return &rollout.Restarter{Client: c, Clock: func() time.Time { return s.now }}
}

func (s *stage) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *stage) template(name string) (corev1.PodTemplateSpec, *metav1.LabelSelector) {
	labels := map[string]string{"app": "portal", "name": name}
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example.com/app:1"}}},
	}, &metav1.LabelSelector{MatchLabels: map[string]string{"name": name}}
}

func (s *stage) deployment(name string, change ...func(*appsv1.Deployment)) *appsv1.Deployment {
	s.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}}
	d.Spec.Template, d.Spec.Selector = s.template(name)
	d.Spec.Replicas = new(int32(2))
	for _, c := range change {
		c(d)
	}
	s.must(s.client.Create(s.Context(), d))
	s.finish(d)
	return d
}

func (s *stage) statefulSet(name string, change ...func(*appsv1.StatefulSet)) *appsv1.StatefulSet {
	s.Helper()
	o := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}}
	o.Spec.Template, o.Spec.Selector = s.template(name)
	o.Spec.Replicas = new(int32(2))
	for _, c := range change {
		c(o)
	}
	s.must(s.client.Create(s.Context(), o))
	s.finish(o)
	return o
}

func (s *stage) daemonSet(name string) *appsv1.DaemonSet {
	s.Helper()
	o := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}}
	o.Spec.Template, o.Spec.Selector = s.template(name)
	s.must(s.client.Create(s.Context(), o))
	s.finish(o)
	return o
}

// finish completes the workload's rollout, as its controller would.
func (s *stage) finish(o client.Object) {
	s.Helper()
	s.must(s.client.Get(s.Context(), client.ObjectKeyFromObject(o), o))
	switch o := o.(type) {
	case *appsv1.Deployment:
		o.Status = appsv1.DeploymentStatus{ObservedGeneration: o.Generation, Replicas: 2, UpdatedReplicas: 2, ReadyReplicas: 2, AvailableReplicas: 2}
	case *appsv1.StatefulSet:
		o.Status = appsv1.StatefulSetStatus{ObservedGeneration: o.Generation, Replicas: 2, UpdatedReplicas: 2, ReadyReplicas: 2, AvailableReplicas: 2}
	case *appsv1.DaemonSet:
		o.Status = appsv1.DaemonSetStatus{ObservedGeneration: o.Generation, DesiredNumberScheduled: 1, UpdatedNumberScheduled: 1, NumberReady: 1, NumberAvailable: 1}
	}
	s.must(s.client.Status().Update(s.Context(), o))
}

// pods are running pods of the workloads, without the present sidecar.
func (s *stage) pods(workloads ...client.Object) []corev1.Pod {
	var all []corev1.Pod
	for _, w := range workloads {
		var pod corev1.Pod
		switch w.(type) {
		case *appsv1.Deployment:
			pod = ofDeployment(w.GetName()+"-1", w.GetName())
		case *appsv1.StatefulSet:
			pod = podOf(w.GetName()+"-0", "apps/v1 StatefulSet "+w.GetName())
			pod.OwnerReferences[0].UID = w.GetUID()
		default:
			pod = podOf(w.GetName()+"-x", "apps/v1 DaemonSet "+w.GetName())
			pod.OwnerReferences[0].UID = w.GetUID()
		}
		pod.Namespace = s.namespace
		pod.Labels["name"] = w.GetName()
		all = append(all, pod)
	}
	return all
}

func (s *stage) step(outdated []corev1.Pod, change ...func(*rollout.Plan)) rollout.Progress {
	s.Helper()
	plan := rollout.Plan{Policy: s.policy, Want: want, Outdated: outdated}
	for _, c := range change {
		c(&plan)
	}
	p, err := s.restarter.Step(s.Context(), plan)
	s.must(err)
	return p
}

// restartedFor reads the revision that a workload was restarted for.
func (s *stage) restartedFor(o client.Object) string {
	s.Helper()
	s.must(s.client.Get(s.Context(), client.ObjectKeyFromObject(o), o))
	var template *corev1.PodTemplateSpec
	switch o := o.(type) {
	case *appsv1.Deployment:
		template = &o.Spec.Template
	case *appsv1.StatefulSet:
		template = &o.Spec.Template
	case *appsv1.DaemonSet:
		template = &o.Spec.Template
	}
	return template.Annotations[mfav1alpha1.RestartedAnnotation]
}

// annotate sets or, with "", removes the annotation, as somebody else.
func (s *stage) annotate(o client.Object, value string) {
	s.Helper()
	v := "null"
	if value != "" {
		v = `"` + value + `"`
	}
	patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{%q:%s}}}}}`, mfav1alpha1.RestartedAnnotation, v)
	s.must(s.client.Patch(s.Context(), o, client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("somebody")))
}

func (s *stage) expect(got rollout.Progress, done, inProgress, waiting []string, says ...string) {
	s.Helper()
	message := got.Message
	got.Message = ""
	if diff := cmp.Diff(rollout.Progress{Done: done, InProgress: inProgress, Waiting: waiting}, got); diff != "" {
		s.Fatalf("progress (-want +got):\n%s\n%s", diff, message)
	}
	for _, words := range says {
		if !strings.Contains(message, words) {
			s.Errorf("the message does not say %q:\n%s", words, message)
		}
	}
	if len(says) == 0 && message != "" {
		s.Errorf("an unexpected message: %s", message)
	}
}

func TestRestarter(t *testing.T) {
	server := apiserver.Start(t)
	c, err := client.NewWithWatch(server.Config, client.Options{Scheme: apiserver.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	for i, tc := range []struct {
		name string
		run  func(*stage)
	}{
		{"workloads are restarted one after the other, by one annotation", oneAfterTheOther},
		{"as many at once as the plan says", severalAtOnce},
		{"a policy whose rollout is manual restarts nothing", nothingByHand},
		{"held, foreign and unknown workloads are left to people", leftToPeople},
		{"a rollout that does not get on blocks others and is told", stuckBlocks},
		{"a rollout counts as complete only when nothing is missing", unfinished},
		{"a restart of an earlier process or revision blocks others", strangersBlock},
		{"a new revision goes first to what hangs in the old one", newRevisionCures},
		{"a workload that is not available for other reasons blocks nobody", othersRollouts},
		{"a restart that did not help is not repeated", neverTwice},
		{"an annotation that is taken off again is set twice at most", takenOff},
		{"a field that others own is not forced", ownedByOthers},
		{"a workload that is deleted meanwhile is not created", neverCreated},
		{"an error to read or write is an error", failures},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.run(newStage(t, c, fmt.Sprintf("stage-%d", i))) })
	}
}
