package rollout_test

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/rollout"
)

func oneAfterTheOther(s *stage) {
	web, db, edge := s.deployment("web"), s.statefulSet("db"), s.daemonSet("edge")
	pods := s.pods(web, db, edge)
	for _, i := range []int{0, 2} { // the pod of db alone has no sidecar at all
		pods[i].Annotations = map[string]string{mfav1alpha1.PolicyAnnotation: "portal"}
	}
	before := web.DeepCopy()
	for range 2 { // a step without news changes nothing
		s.expect(s.step(pods), nil, []string{"statefulset/db"}, []string{"daemonset/edge", "deployment/web"})
	}
	s.finish(db)
	pods = s.pods(web, edge)
	s.expect(s.step(pods), []string{"statefulset/db"}, []string{"daemonset/edge"}, []string{"deployment/web"})
	// Its old pods are gone, and its new ones not available yet.
	pods = s.pods(web)
	s.expect(s.step(pods), []string{"statefulset/db"}, []string{"daemonset/edge"}, []string{"deployment/web"})
	s.finish(edge)
	s.expect(s.step(pods), []string{"daemonset/edge", "statefulset/db"}, []string{"deployment/web"}, nil)
	s.finish(web)
	for range 2 {
		s.expect(s.step(nil), []string{"daemonset/edge", "deployment/web", "statefulset/db"}, nil, nil)
	}
	for _, w := range []client.Object{web, db, edge} {
		if got := s.restartedFor(w); got != want {
			s.Errorf("%s was restarted for %q", w.GetName(), got)
		}
	}
	delete(web.Spec.Template.Annotations, mfav1alpha1.RestartedAnnotation)
	if diff := cmp.Diff(before.Spec, web.Spec, cmpopts.EquateEmpty()); diff != "" {
		s.Errorf("more than the annotation was changed:\n%s", diff)
	}
	for _, f := range web.ManagedFields {
		if f.Manager != mfav1alpha1.FieldManager {
			continue
		}
		if owned := f.FieldsV1.GetRawString(); strings.Count(owned, "f:") != 5 || !strings.Contains(owned, mfav1alpha1.RestartedAnnotation) {
			s.Errorf("more than the annotation is owned: %s", owned)
		}
	}
	s.restarter.Forget(s.policy.UID)
	s.expect(s.step(nil), nil, nil, nil)
}

func severalAtOnce(s *stage) {
	pods := s.pods(s.deployment("a"), s.deployment("b"), s.deployment("c"))
	s.expect(s.step(pods, func(p *rollout.Plan) { p.MaxAtOnce = 2 }), nil, []string{"deployment/a", "deployment/b"}, []string{"deployment/c"})
}

func nothingByHand(s *stage) {
	web := s.deployment("web")
	s.policy.Spec.Rollout = mfav1alpha1.RolloutManual
	s.expect(s.step(s.pods(web)), nil, nil, []string{"deployment/web"}, "kubectl -n "+s.namespace+" rollout restart deployment/web")
	if got := s.restartedFor(web); got != "" {
		s.Errorf("it was restarted for %q", got)
	}
	if _, err := s.restarter.Step(s.Context(), rollout.Plan{Policy: s.policy}); err == nil {
		s.Error("a plan without a revision was carried out")
	}
}

func leftToPeople(s *stage) {
	workloads := map[string]client.Object{
		"paused": s.deployment("paused", func(d *appsv1.Deployment) { d.Spec.Paused = true }),
		"ondelete": s.statefulSet("ondelete", func(o *appsv1.StatefulSet) {
			o.Spec.UpdateStrategy.Type = appsv1.OnDeleteStatefulSetStrategyType
		}),
		"partition": s.statefulSet("partition", func(o *appsv1.StatefulSet) {
			o.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: new(int32(1))}
		}),
		"foreign":  s.deployment("foreign", func(d *appsv1.Deployment) { d.Spec.Template.Labels["app"] = "shop" }),
		"victim":   s.deployment("victim"),
		"replaced": s.statefulSet("replaced"),
	}
	ns := "kubectl -n " + s.namespace
	for name, tc := range map[string]struct {
		pod     corev1.Pod
		waiting string
		says    []string
	}{
		"paused":           {s.pods(workloads["paused"])[0], "deployment/paused", []string{"is paused", ns + " rollout resume deployment/paused"}},
		"on delete":        {s.pods(workloads["ondelete"])[0], "statefulset/ondelete", []string{"only when they are deleted", ns + " delete pod ondelete-0"}},
		"partitioned":      {s.pods(workloads["partition"])[0], "statefulset/partition", []string{"partition to 0"}},
		"another template": {s.pods(workloads["foreign"])[0], "deployment/foreign", []string{"does not make pods that the policy covers"}},
		// Whoever may create a pod names any ReplicaSet as its owner.
		"a pod that only claims the Deployment": {ofDeployment("liar", "victim"), "deployment/victim", []string{"does not make pods"}},
		"a ReplicaSet without a Deployment":     {podOf("a", "apps/v1 ReplicaSet web"), "replicaset/web", []string{ns + " delete pod a"}},
		"a Deployment that is gone":             {ofDeployment("a", "gone"), "deployment/gone", []string{ns + " rollout restart deployment/gone"}},
		"a bare pod":                            {podOf("a", ""), "pod/a", []string{ns + " delete pod a"}},
		"a Job":                                 {podOf("a", "batch/v1 Job j"), "job/j", []string{"wait for job/j"}},
		"an unknown owner":                      {podOf("a", "argoproj.io/v1alpha1 Rollout r"), "rollout.argoproj.io/r", []string{"by its own tool"}},
		"an owner that was made anew":           {podOf("a", "apps/v1 StatefulSet replaced", "name", "replaced"), "statefulset/replaced", nil},
	} {
		s.Log(name)
		s.expect(s.step([]corev1.Pod{tc.pod}), nil, nil, []string{tc.waiting}, tc.says...)
	}
	for name, w := range workloads {
		if got := s.restartedFor(w); got != "" {
			s.Errorf("%s was restarted", name)
		}
	}
}

func stuckBlocks(s *stage) {
	a, b := s.deployment("a"), s.statefulSet("b")
	pods := s.pods(a, b)
	s.step(pods)
	s.restartedFor(a) // reads it anew
	a.Status.ObservedGeneration = a.Generation
	a.Status.UpdatedReplicas = 1
	a.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: "ProgressDeadlineExceeded"}}
	s.must(s.client.Status().Update(s.Context(), a))
	s.expect(s.step(pods), nil, []string{"deployment/a"}, []string{"statefulset/b"},
		"deployment/a does not get on", "progress deadline", "rollout status deployment/a")
	s.finish(a)
	pods = s.pods(b)
	s.expect(s.step(pods), []string{"deployment/a"}, []string{"statefulset/b"}, nil)
	s.now = s.now.Add(11 * time.Minute) // a StatefulSet knows no deadline
	s.expect(s.step(pods), []string{"deployment/a"}, []string{"statefulset/b"}, nil, "statefulset/b does not get on", "after 11 minutes")
}

func unfinished(s *stage) {
	web, db, edge := s.deployment("web"), s.statefulSet("db"), s.daemonSet("edge")
	for name, lack := range map[string]struct {
		workload client.Object
		status   func()
	}{
		"a Deployment with old pods": {web, func() { web.Status.Replicas = 3 }},
		"a Deployment with too few new pods": {web, func() {
			web.Status.UpdatedReplicas, web.Status.Replicas, web.Status.ReadyReplicas, web.Status.AvailableReplicas = 1, 1, 1, 1
		}},
		"a Deployment with unavailable pods":    {web, func() { web.Status.ReadyReplicas, web.Status.AvailableReplicas = 1, 1 }},
		"a Deployment nobody has looked at yet": {web, func() { web.Status.ObservedGeneration-- }},
		"a StatefulSet with old pods":           {db, func() { db.Status.UpdatedReplicas = 1 }},
		"a StatefulSet with unavailable pods":   {db, func() { db.Status.AvailableReplicas = 1 }},
		"a DaemonSet with old pods":             {edge, func() { edge.Status.UpdatedNumberScheduled = 0 }},
		"a DaemonSet with unavailable pods":     {edge, func() { edge.Status.NumberReady, edge.Status.NumberAvailable = 0, 0 }},
	} {
		s.Log(name)
		s.annotate(lack.workload, want)
		s.finish(lack.workload)
		if got := s.step(s.pods(lack.workload)); len(got.InProgress) != 0 {
			s.Errorf("complete, and yet in progress: %v", got)
		}
		lack.status()
		s.must(s.client.Status().Update(s.Context(), lack.workload))
		if got := s.step(s.pods(lack.workload)); len(got.InProgress) != 1 {
			s.Errorf("it counts as complete: %v", got)
		}
		s.finish(lack.workload)
	}
}

func strangersBlock(s *stage) {
	a, b, c := s.deployment("a"), s.deployment("b"), s.deployment("c")
	for _, earlier := range []string{want, "revision-1"} {
		s.annotate(a, earlier) // now its generation is not observed
		s.restarter = s.fresh(s.client)
		s.expect(s.step(s.pods(b, c)), nil, []string{"deployment/a"}, []string{"deployment/b", "deployment/c"})
	}
	s.finish(a)
	// What was not restarted for this revision is not done for it either.
	s.expect(s.step(s.pods(b, c)), nil, []string{"deployment/b"}, []string{"deployment/c"})
}

func newRevisionCures(s *stage) {
	a, b := s.deployment("a"), s.deployment("b")
	pods := s.pods(b, a)
	s.step(s.pods(b), func(p *rollout.Plan) { p.Want = "revision-1" }) // b hangs
	s.expect(s.step(pods), nil, []string{"deployment/b"}, []string{"deployment/a"})
	if got := s.restartedFor(b); got != want {
		s.Errorf("b was restarted for %q", got)
	}
	if got := s.restartedFor(a); got != "" {
		s.Errorf("a was restarted for %q", got)
	}
}

func othersRollouts(s *stage) {
	a, b := s.deployment("a"), s.deployment("b")
	a.Status.AvailableReplicas = 0
	s.must(s.client.Status().Update(s.Context(), a))
	s.expect(s.step(s.pods(a, b)), nil, []string{"deployment/b"}, []string{"deployment/a"}, "deployment/a is being rolled out for another reason")
	if got := s.restartedFor(a); got != "" {
		s.Errorf("a was restarted for %q", got)
	}
}

func neverTwice(s *stage) {
	a := s.deployment("a")
	pods := s.pods(a)
	s.step(pods)
	s.finish(a)
	generation := a.Generation
	s.expect(s.step(pods), []string{"deployment/a"}, nil, nil) // the pods may be what a cache still shows
	for _, r := range []*rollout.Restarter{s.restarter, s.fresh(s.client)} {
		s.restarter = r
		s.step(pods)
		s.now = s.now.Add(time.Minute)
		s.expect(s.step(pods), nil, nil, []string{"deployment/a"}, "its pods still lack them", "rollout restart deployment/a")
	}
	s.restartedFor(a)
	if a.Generation != generation {
		s.Error("it was restarted again")
	}
}

func takenOff(s *stage) {
	a, b := s.deployment("a"), s.deployment("b")
	pods := s.pods(a, b)
	for range 2 {
		s.expect(s.step(pods), nil, []string{"deployment/a"}, []string{"deployment/b"})
		s.annotate(a, "")
		s.finish(a)
	}
	s.expect(s.step(pods), nil, []string{"deployment/b"}, []string{"deployment/a"},
		"takes the annotation "+mfav1alpha1.RestartedAnnotation+" off deployment/a", "rollout restart deployment/a")
	if got := s.restartedFor(a); got != "" {
		s.Errorf("it was restarted for %q", got)
	}
	// Another revision is another matter.
	s.finish(b)
	s.expect(s.step(s.pods(a), func(p *rollout.Plan) { p.Want = "revision-3" }), nil, []string{"deployment/a"}, nil)
}

func ownedByOthers(s *stage) {
	a, b := s.deployment("a"), s.deployment("b")
	s.annotate(a, "theirs")
	s.finish(a)
	s.expect(s.step(s.pods(a, b)), nil, []string{"deployment/b"}, []string{"deployment/a"},
		"Somebody else owns the annotation", "rollout restart deployment/a")
	if got := s.restartedFor(a); got != "theirs" {
		s.Errorf("it was forced to %q", got)
	}
}

func neverCreated(s *stage) {
	for name, meanwhile := range map[string]func(client.Object){
		"deleted":   func(o client.Object) { s.must(s.client.Delete(s.Context(), o)) },
		"made anew": func(o client.Object) { s.must(s.client.Delete(s.Context(), o)); s.deployment("a") },
	} {
		s.Log(name)
		a := s.deployment("a")
		s.restarter = s.fresh(interceptor.NewClient(s.client, interceptor.Funcs{
			Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
				meanwhile(a)
				return c.Apply(ctx, o, opts...)
			},
		}))
		s.expect(s.step(s.pods(a)), nil, nil, []string{"deployment/a"})
		got := new(appsv1.Deployment)
		err := s.client.Get(s.Context(), client.ObjectKeyFromObject(a), got)
		if name == "deleted" && !apierrors.IsNotFound(err) {
			s.Errorf("it is there again: %v", err)
		}
		if err == nil && got.Spec.Template.Annotations != nil {
			s.Errorf("another one of its name was restarted: %v", got.Spec.Template.Annotations)
		}
		s.must(client.IgnoreNotFound(s.client.Delete(s.Context(), a)))
	}
}

func failures(s *stage) {
	pods := s.pods(s.deployment("a"))
	broken := errors.New("broken")
	for name, f := range map[string]interceptor.Funcs{
		"read": {Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return broken
		}},
		"list": {List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return broken }},
		"restart": {Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
			return broken
		}},
	} {
		_, err := s.fresh(interceptor.NewClient(s.client, f)).Step(s.Context(), rollout.Plan{Policy: s.policy, Want: want, Outdated: pods})
		if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), name+" ") {
			s.Errorf("%s: %v", name, err)
		}
	}
}
