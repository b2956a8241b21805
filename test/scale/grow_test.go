package scale_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport/sallyport/api/policy"
	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/test/apiserver"
)

// patience is how long anything may take to come to rest.
const patience = 4 * time.Minute

// tracked is one policy, and what the API server last told of it.
type tracked struct {
	key types.NamespacedName

	mu  sync.Mutex
	now *mfav1alpha1.MFAPolicy
}

func (p *tracked) get() *mfav1alpha1.MFAPolicy {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// see takes what the API server tells, unless newer is known.
func (p *tracked) see(now *mfav1alpha1.MFAPolicy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil || now.Generation >= p.now.Generation {
		p.now = now
	}
}

// settled reports whether every condition speaks of this generation and, where
// protected is set, whether every pod obeys it.
func (p *tracked) settled(protected bool) bool {
	now := p.get()
	if now == nil || len(now.Status.Conditions) < 9 || now.Status.ObservedGeneration != now.Generation {
		return false
	}
	if slices.ContainsFunc(now.Status.Conditions, func(c metav1.Condition) bool { return c.ObservedGeneration != now.Generation }) {
		return false
	}
	return !protected || meta.IsStatusConditionTrue(now.Status.Conditions, string(mfav1alpha1.ConditionReady)) &&
		now.Status.Pods != nil && now.Status.Pods.Protected == podsPerPolicy
}

// watch keeps every tracked policy up to date.
func (b *bench) watch() {
	all, err := cache.New(b.Config, cache.Options{Scheme: apiserver.Scheme(), DefaultTransform: cache.TransformStripManagedFields()})
	if err != nil {
		b.Fatal(err)
	}
	informer, err := all.GetInformer(b.Context(), new(mfav1alpha1.MFAPolicy))
	if err != nil {
		b.Fatal(err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(now any) { b.saw(now) },
		UpdateFunc: func(_, now any) { b.saw(now) },
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = all.Start(ctx) // it ends with the context
	}()
	b.Cleanup(func() { cancel(); <-done })
}

func (b *bench) saw(now any) {
	p, ok := now.(*mfav1alpha1.MFAPolicy)
	if !ok {
		return
	}
	b.mu.Lock()
	t := b.known[client.ObjectKeyFromObject(p)]
	b.mu.Unlock()
	if t != nil {
		t.see(p)
	}
}

// settle waits until every policy is settled, and returns when the last one was.
func (b *bench) settle(what string, policies []*tracked, protected bool) time.Time {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	told := time.Now()
	for {
		at := slices.IndexFunc(policies, func(p *tracked) bool { return !p.settled(protected) })
		if at < 0 {
			return time.Now()
		}
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			b.say("  waiting: %s; %s is not settled", what, policies[at].key)
		}
		select {
		case <-ctx.Done():
			b.Fatalf("%s: %s does not settle: %+v\n%s", what, policies[at].key, policies[at].get().Status, b.process.Log())
		case <-ticker.C:
		}
	}
}

// each calls do for 0 to n-1, some at a time.
func (b *bench) each(n int, do func(i int) error) {
	b.Helper()
	const workers = 16
	var wg sync.WaitGroup
	errs := make(chan error, workers)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				if err := do(i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		b.Fatal(err)
	}
}

// grow brings the cluster to n pods, each with a follower.
func (b *bench) grow(n int) {
	have, want := len(b.policies), n/podsPerPolicy
	fresh := make([]*tracked, 0, want-have)
	for i := have; i < want; i++ {
		fresh = append(fresh, &tracked{key: types.NamespacedName{
			Namespace: fmt.Sprintf("team-%03d", i/policiesPerNamespace), Name: fmt.Sprintf("app-%d", i%policiesPerNamespace),
		}})
	}
	b.say("growing to %d policies and %d pods", want, n)
	b.each(len(fresh)/policiesPerNamespace, func(i int) error {
		return b.Client.Create(b.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fresh[i*policiesPerNamespace].key.Namespace}})
	})
	b.mu.Lock()
	b.policies = append(b.policies, fresh...)
	for _, t := range fresh {
		b.known[t.key] = t
	}
	b.mu.Unlock()
	begin := time.Now()
	b.each(len(fresh), func(i int) error { return b.Client.Create(b.Context(), policyFor(fresh[i].key)) })
	b.set("new policies to Ready, s", "%.1f (%d policies)", b.settle("new policies", fresh, false).Sub(begin).Seconds(), len(fresh))

	begin = time.Now()
	made := make([]*corev1.Pod, len(fresh)*podsPerPolicy)
	b.each(len(made), func(i int) error {
		pod := podFor(fresh[i/podsPerPolicy].key, i%podsPerPolicy)
		if err := b.Client.Create(b.Context(), pod); err != nil {
			return err
		}
		if i%1000 == 999 {
			b.say("  %d pods", i+1)
		}
		base := pod.DeepCopy()
		pod.Status.Phase = corev1.PodRunning
		pod.Status.PodIP, pod.Status.PodIPs = "127.0.0.1", []corev1.PodIP{{IP: "127.0.0.1"}}
		made[i] = pod
		return b.Client.Status().Patch(b.Context(), pod, client.MergeFrom(base))
	})
	b.set("new pods per second, injected and Running", "%.0f", float64(len(made))/time.Since(begin).Seconds())
	begin = time.Now()
	b.pods = append(b.pods, made...)
	b.sidecars = newFleet(b.T)
	b.sidecars.join(b, b.pods)
	b.set("first heartbeats to Ready, s", "%.1f", b.settle("pods are protected", b.policies, true).Sub(begin).Seconds())
}

func policyFor(key types.NamespacedName) *mfav1alpha1.MFAPolicy {
	return &mfav1alpha1.MFAPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
		Spec: mfav1alpha1.MFAPolicySpec{
			Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": key.Name}},
			Rules: policy.Rules{
				App:      policy.App{Port: policy.Port{Number: 8080}},
				Identity: policy.Identity{Type: policy.IdentityEndpoint, Endpoint: &policy.EndpointIdentity{}},
			},
		},
	}
}

// podFor is a pod of ordinary size.
func podFor(key types.NamespacedName, ordinal int) *corev1.Pod {
	env := make([]corev1.EnvVar, 10)
	for i := range env {
		env[i] = corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", i), Value: "some value of ordinary length"}
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: key.Namespace, Name: fmt.Sprintf("%s-%d", key.Name, ordinal),
			Labels: map[string]string{"app": key.Name, "pod-template-hash": "5d8f7c9b6"},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "app", Image: "registry.test/portal:1", Env: env,
			Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
		}}},
	}
}
