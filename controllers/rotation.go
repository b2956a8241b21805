package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/injection"
	"github.com/sallyport/sallyport/controllers/keys"
	"github.com/sallyport/sallyport/sidecar/control"
	"github.com/sallyport/sallyport/sidecar/redisstore"
	"github.com/sallyport/sallyport/sidecar/seal"
)

// Channels remembers how each policy's sidecars are reached, as its last pass found
// it. It is safe for concurrent use; its zero value is ready.
type Channels struct {
	mu    sync.Mutex
	known map[types.NamespacedName]reached
}

type reached struct {
	channel *control.Channel
	store   *Store
	realm   string
	// epoch that the store must have.
	epoch string
}

func (c *Channels) remember(policy types.NamespacedName, r reached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = make(map[types.NamespacedName]reached)
	}
	c.known[policy] = r
}

func (c *Channels) forget(policy types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, policy)
}

func (c *Channels) of(policy types.NamespacedName) (reached, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.known[policy]
	return r, ok
}

// Rotation takes rotations of the master keys on, a step at a time. It runs on the
// replica that reconciles.
type Rotation struct {
	// Reconciler whose policies the keys are for.
	Reconciler *MFAPolicyReconciler
	// Every is how often it looks.
	Every time.Duration
	// Changed is told when the keys, or how far a rotation is, have changed.
	Changed chan<- event.GenericEvent
}

// NeedLeaderElection says that one replica is enough.
func (*Rotation) NeedLeaderElection() bool { return true }

// Start runs until the context ends.
func (r *Rotation) Start(ctx context.Context) error {
	ticker := time.NewTicker(r.Every)
	defer ticker.Stop()
	for {
		changed, err := r.Reconciler.Keys.step(ctx, func(ring *keys.Ring) (*keys.State, error) { return r.state(ctx, ring) })
		if err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Info("Rotation of the keys waits", "reason", err.Error())
		}
		if changed {
			select {
			case r.Changed <- event.GenericEvent{Object: new(mfav1alpha1.MFAPolicy)}:
			case <-ctx.Done():
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// state gathers what the next step depends on. What cannot be listed in full is an
// error: a sidecar that was overlooked would be left without its key.
func (r *Rotation) state(ctx context.Context, ring *keys.Ring) (*keys.State, error) {
	s := &keys.State{Ring: ring, Realms: make(map[string]*seal.Use), Now: r.Reconciler.Clock()}
	versions, err := seal.Versions(ring.Document)
	if err != nil {
		return nil, err
	}
	policies := new(mfav1alpha1.MFAPolicyList)
	if err := r.Reconciler.Client.List(ctx, policies); err != nil {
		return nil, fmt.Errorf("list the policies: %w", err)
	}
	if len(versions) == 1 && (ring.Requested == "" || ring.Requested == ring.Served) {
		return s, nil // nothing rotates, and nothing needs to be known
	}
	for i := range policies.Items {
		if err := r.add(ctx, s, &policies.Items[i]); err != nil {
			return nil, err
		}
	}
	return s, r.addForgotten(ctx, s)
}

// add gathers what concerns one policy.
func (r *Rotation) add(ctx context.Context, s *keys.State, p *mfav1alpha1.MFAPolicy) error {
	name := client.ObjectKeyFromObject(p)
	way, ok := r.Reconciler.channels.of(name)
	if !ok {
		return fmt.Errorf("the sidecars of policy %s cannot be asked", name)
	}
	beats, err := heartbeats(ctx, way.channel, p.Name)
	if err != nil {
		return fmt.Errorf("ask the sidecars of policy %s: %w", name, err)
	}
	pods := new(corev1.PodList)
	if err := r.Reconciler.Client.List(ctx, pods, client.InNamespace(p.Namespace)); err != nil {
		return fmt.Errorf("list the pods of %s: %w", p.Namespace, err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		carried, _, ok := injection.Injected(pod)
		if !ok || carried != p.Name || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		beat := beats[pod.UID]
		s.Sidecars = append(s.Sidecars, keys.Sidecar{
			Name: pod.Namespace + "/" + pod.Name, Primary: beat.Keys.Primary, Known: beat.Keys.Known,
		})
	}
	rules := p.Spec.Rules.DeepCopy()
	rules.SetDefaults(p.Name)
	s.Linger = max(s.Linger, rules.Session.MaxAge.Duration)
	use, err := redisstore.KeyUse(ctx, way.store.Client, r.Reconciler.KeyPrefix, way.realm)
	switch {
	case errors.Is(err, redisstore.ErrNeverSwept):
		s.Realms[way.realm] = nil
	case err != nil:
		return fmt.Errorf("learn what needs which key in %s: %w", way.realm, err)
	default:
		s.Realms[way.realm] = &use
	}
	return nil
}

// addForgotten adds realms whose policy is gone and whose enrolments stay. Nobody
// sweeps those, so that they hold an old key back until their policy is there again
// or they are purged.
func (r *Rotation) addForgotten(ctx context.Context, s *keys.State) error {
	secrets := new(corev1.SecretList)
	if err := r.Reconciler.Client.List(ctx, secrets); err != nil {
		return fmt.Errorf("list the Secrets of sidecars: %w", err)
	}
	for i := range secrets.Items {
		epochs, err := epochsIn(&secrets.Items[i])
		if err != nil {
			return err
		}
		for realm := range epochs {
			if _, ok := s.Realms[realm]; !ok {
				s.Realms[realm] = nil
			}
		}
	}
	return nil
}
