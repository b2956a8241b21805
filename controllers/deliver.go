package controllers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/keys"
	"github.com/sallyport/sallyport/sidecar/control"
	"github.com/sallyport/sallyport/sidecar/redisstore"
)

// namespaceLocks keeps two policies of a namespace from writing its one Secret at
// the same time: each would lose what the other has just added.
type namespaceLocks struct{ held sync.Map }

func (l *namespaceLocks) lock(namespace string) (unlock func()) {
	m, _ := l.held.LoadOrStore(namespace, new(sync.Mutex))
	mutex := m.(*sync.Mutex)
	mutex.Lock()
	return mutex.Unlock
}

// loadKeys derives the namespace's keys from the master key ring. It sets KeysReady
// where they cannot be had.
func (r *MFAPolicyReconciler) loadKeys(ctx context.Context, p *pass) error {
	namespaceKeys, err := r.Keys.Of(ctx, p.policy.Namespace)
	if err != nil {
		p.fails(mfav1alpha1.ConditionKeysReady, mfav1alpha1.ReasonKeysMissing, "%v", err)
		return err
	}
	p.keys = namespaceKeys
	p.policy.Status.Keys = r.Keys.Status(p.realm())
	return nil
}

// deliver hands the namespace's keys, its Redis credentials and the memory of its
// stores to one Secret, which sidecars mount. It sets KeysReady.
func (r *MFAPolicyReconciler) deliver(ctx context.Context, p *pass) error {
	if p.keys == nil || p.leaving() || p.refused {
		return nil
	}
	const t = mfav1alpha1.ConditionKeysReady
	if err := r.ensureRedisUser(ctx, p); err != nil {
		p.fails(t, mfav1alpha1.ReasonKeysUnreadable,
			"The namespace's Redis user could not be kept; allow the operator's user ACL SETUSER and ACL DELUSER, or run without --redis-users: %v", err)
		return err
	}
	defer r.secrets.lock(p.policy.Namespace)()
	if err := r.writeSecret(ctx, p); err != nil {
		p.fails(t, mfav1alpha1.ReasonKeysUnreadable, "The keys could not be delivered to Secret %s: %v", mfav1alpha1.SidecarSecret, err)
		return err
	}
	if p.redis == nil {
		p.unknown(t, mfav1alpha1.ReasonNotChecked,
			"Secret %s holds the namespace's keys; how the sidecars reach Redis is not known, see the condition StoreReady", mfav1alpha1.SidecarSecret)
		return nil
	}
	p.holds(t, mfav1alpha1.ReasonKeysDelivered, "Secret %s holds the namespace's keys", mfav1alpha1.SidecarSecret)
	return nil
}

// ensureRedisUser keeps a Redis user that reaches the namespace's keys alone. It is
// repeated at every pass: a Redis that restarts without an ACL file forgets its users.
func (r *MFAPolicyReconciler) ensureRedisUser(ctx context.Context, p *pass) error {
	if !r.RedisUsers || p.policy.Spec.Redis != nil || p.channel == nil {
		return nil
	}
	return keys.EnsureUser(ctx, p.store.Client, r.KeyPrefix, p.policy.Namespace,
		control.ACL(r.KeyPrefix, p.policy.Namespace), p.keys.RedisPasswords)
}

func (r *MFAPolicyReconciler) writeSecret(ctx context.Context, p *pass) error {
	cached, err := r.sidecarSecret(ctx, r.Client, p.policy.Namespace)
	if err != nil {
		return err
	}
	content, err := r.content(p, cached)
	if err != nil {
		return err
	}
	if cached != nil && maps.EqualFunc(cached.Data, content, bytes.Equal) {
		return nil
	}
	// The cache may be behind, and an epoch that is not read here would be lost.
	live, err := r.sidecarSecret(ctx, r.Live, p.policy.Namespace)
	if err != nil {
		return err
	}
	if content, err = r.content(p, live); err != nil {
		return err
	}
	version := ""
	if live != nil {
		version = live.ResourceVersion
	}
	secret := keys.SidecarSecret(p.policy.Namespace, version, content)
	if err := r.Client.Apply(ctx, secret, client.FieldOwner(mfav1alpha1.FieldManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("apply Secret %s: %w", mfav1alpha1.SidecarSecret, err)
	}
	return nil
}

// content of the namespace's Secret as this pass knows it. What it does not know of
// the namespace's other policies stays as it is.
func (r *MFAPolicyReconciler) content(p *pass, present *corev1.Secret) (map[string][]byte, error) {
	content := map[string][]byte{mfav1alpha1.KeysKey: p.keys.Document}
	epochs, err := epochsIn(present)
	if err != nil {
		return nil, err
	}
	switch {
	case p.purged:
		delete(epochs, p.realm())
	case p.epoch != "" && epochs[p.realm()] == p.remembered:
		// Else another policy of the workspace has accepted a loss meanwhile.
		epochs[p.realm()] = p.epoch
	}
	if content[mfav1alpha1.EpochsKey], err = json.Marshal(epochs); err != nil {
		return nil, fmt.Errorf("encode the epochs: %w", err)
	}
	for i := range p.siblings {
		key := redisKeyOf(&p.siblings[i])
		if present != nil && present.Data[key] != nil {
			content[key] = present.Data[key]
		}
	}
	if p.redis == nil {
		return content, nil
	}
	document := r.forSidecars(p)
	//nolint:gosec // G117: this Secret is what the password is for
	if content[redisKeyOf(p.policy)], err = json.Marshal(document); err != nil {
		return nil, fmt.Errorf("encode how to reach Redis: %w", err)
	}
	return content, nil
}

// forSidecars is how the namespace's sidecars reach Redis: as a user of their own
// where the operator keeps such users, else as the operator does.
func (r *MFAPolicyReconciler) forSidecars(p *pass) *redisstore.Document {
	document := *p.redis
	if r.RedisUsers && p.policy.Spec.Redis == nil {
		document.Username, document.Password = p.keys.RedisUser, p.keys.RedisPasswords[0]
	}
	return &document
}

// redisKeyOf is the key of the Secret that says how a policy's sidecars reach Redis.
func redisKeyOf(p *mfav1alpha1.MFAPolicy) string {
	if p.Spec.Redis == nil {
		return mfav1alpha1.RedisKey
	}
	return mfav1alpha1.RedisKeyOf(p.Name)
}

// sidecarSecret reads the namespace's Secret, nil where there is none.
func (r *MFAPolicyReconciler) sidecarSecret(ctx context.Context, from client.Reader, namespace string) (*corev1.Secret, error) {
	secret := new(corev1.Secret)
	err := from.Get(ctx, client.ObjectKey{Namespace: namespace, Name: mfav1alpha1.SidecarSecret}, secret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Secret %s: %w", mfav1alpha1.SidecarSecret, err)
	}
	return secret, nil
}
