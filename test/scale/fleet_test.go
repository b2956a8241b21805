package scale_test

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport/sallyport/api/policy"
	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/sidecar/control"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/seal"
)

// fleet is the follower of every pod's sidecar, each with a Redis connection of its
// own, in this process.
type fleet struct {
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	obeyed map[types.NamespacedName]map[int64]*obeyed
}

// obeyed is how many followers obey a generation, and since when the last one does.
type obeyed struct {
	sidecars int
	last     time.Time
}

func newFleet(t *testing.T) *fleet {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fleet{ctx: ctx, obeyed: make(map[types.NamespacedName]map[int64]*obeyed)}
	f.stop = func() { cancel(); f.wg.Wait() }
	return f
}

// join starts a follower for each pod, with the keys and the way to Redis that the
// operator delivered to its namespace.
func (f *fleet) join(b *bench, made []*corev1.Pod) {
	b.Helper()
	rings := make(map[string]*seal.Ring)
	documents := make(map[string]*redisstore.Document)
	for _, pod := range made {
		if rings[pod.Namespace] == nil {
			secret := new(corev1.Secret)
			key := client.ObjectKey{Namespace: pod.Namespace, Name: mfav1alpha1.SidecarSecret}
			if err := b.Client.Get(b.Context(), key, secret); err != nil {
				b.Fatal(err)
			}
			ring, err := seal.Parse(secret.Data[mfav1alpha1.KeysKey], pod.Namespace)
			if err != nil {
				b.Fatal(err)
			}
			document, err := redisstore.ParseDocument(secret.Data[mfav1alpha1.RedisKey])
			if err != nil {
				b.Fatal(err)
			}
			rings[pod.Namespace], documents[pod.Namespace] = ring, document
		}
		f.follow(b, pod, rings[pod.Namespace], documents[pod.Namespace])
	}
}

func (f *fleet) follow(b *bench, pod *corev1.Pod, ring *seal.Ring, document *redisstore.Document) {
	redis, err := redisstore.Dial(redisstore.Options{
		Document: func() (*redisstore.Document, error) { return document, nil }, PoolSize: 1,
		DialTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
	})
	if err != nil {
		b.Fatal(err)
	}
	name := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Annotations[mfav1alpha1.PolicyAnnotation]}
	follower, err := control.NewFollower(control.FollowerConfig{
		Channel: control.New(control.Config{
			Client: redis, Prefix: "sallyport", Namespace: pod.Namespace, Ring: ring, Clock: time.Now,
		}),
		Policy: name.Name, Pod: pod.Name, PodUID: string(pod.UID), Version: "scale",
		Adopt: func(_ context.Context, r *policy.Record) error {
			f.adopted(name, r.Generation)
			return nil
		},
		Report: func(context.Context, error) {},
	})
	if err != nil {
		b.Fatal(err)
	}
	f.wg.Go(func() {
		defer func(c io.Closer) { _ = c.Close() }(redis)
		follower.Run(f.ctx)
	})
}

func (f *fleet) adopted(name types.NamespacedName, generation int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.obeyed[name] == nil {
		f.obeyed[name] = make(map[int64]*obeyed)
	}
	o := f.obeyed[name][generation]
	if o == nil {
		o = new(obeyed)
		f.obeyed[name][generation] = o
	}
	o.sidecars++
	o.last = time.Now()
}

// lastOf returns when the last follower of a policy took a generation, zero while
// not all have.
func (f *fleet) lastOf(name types.NamespacedName, generation int64) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o := f.obeyed[name][generation]; o != nil && o.sidecars >= podsPerPolicy {
		return o.last
	}
	return time.Time{}
}

// obey waits until every follower of the policies obeys the present generation, and
// returns when the last one did.
func (f *fleet) obey(b *bench, policies []*tracked) time.Time {
	b.Helper()
	deadline := time.Now().Add(patience)
	var last time.Time
	for _, p := range policies {
		for {
			at := f.lastOf(p.key, p.get().Generation)
			if !at.IsZero() {
				if at.After(last) {
					last = at
				}
				break
			}
			if time.Now().After(deadline) {
				b.Fatalf("not every sidecar of %s obeys generation %d", p.key, p.get().Generation)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return last
}
