package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/keys"
	"github.com/sallyport/sallyport/sidecar/control"
	"github.com/sallyport/sallyport/sidecar/redisstore"
)

// release lets a deleted policy go once no running pod carries its sidecar: until
// then its sidecars need their keys and their record. Enrolments stay, unless the
// policy says to purge them: a manifest that was deleted by mistake must not wipe
// people's second factors.
func (r *MFAPolicyReconciler) release(ctx context.Context, p *pass) error {
	if len(p.pods) > 0 && !p.leaving() {
		p.soon(10 * time.Second)
		p.fails(mfav1alpha1.ConditionPodsProtected, mfav1alpha1.ReasonDeleting,
			"%d pods still carry the sidecar, such as %s, and the policy stays until they are restarted: %s",
			len(p.pods), p.pods[0].pod.Name, p.policy.Status.Pods.Command)
		return nil
	}
	if !p.leaving() {
		if err := r.clearStore(ctx, p); err != nil {
			p.soon(storeRetry)
			p.fails(mfav1alpha1.ConditionPublished, mfav1alpha1.ReasonStoreUnreachable,
				"The policy stays until what it left in Redis can be removed, which is tried again: %v", err)
			return err
		}
		if err := r.clearNamespace(ctx, p); err != nil {
			return err
		}
	}
	if p.leaving() {
		// The namespace must not wait for Redis.
		if err := r.dropRedisUser(ctx, p); err != nil {
			log.FromContext(ctx).Info("The Redis user of a namespace that is gone was not removed", "namespace", p.policy.Namespace, "reason", err.Error())
		}
	}
	if !controllerutil.RemoveFinalizer(p.policy, mfav1alpha1.Finalizer) {
		return nil
	}
	released := p.before.DeepCopy()
	controllerutil.RemoveFinalizer(released, mfav1alpha1.Finalizer)
	if err := r.Client.Patch(ctx, released, client.MergeFrom(p.before)); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove the finalizer: %w", err)
	}
	p.gone = true
	r.Restarter.Forget(p.policy.UID)
	r.channels.forget(client.ObjectKeyFromObject(p.policy))
	return nil
}

// errStoreUnknown is what clearStore says where StoreReady tells the cause.
var errStoreUnknown = errors.New("how Redis is reached is not known, see the condition StoreReady")

// clearStore withdraws the policy's record, and purges enrolments where that was
// asked for by the workspace's name and no other policy shares it.
func (r *MFAPolicyReconciler) clearStore(ctx context.Context, p *pass) error {
	switch {
	case p.policy.Status.PublishedGeneration == 0 && p.channel == nil:
		return nil // a policy that never reached its store has left nothing there
	case p.store == nil:
		return errStoreUnknown
	}
	// It takes no keys to withdraw: where they are lost, the policy can still go.
	channel := control.New(control.Config{Client: p.store.Client, Prefix: r.KeyPrefix, Namespace: p.policy.Namespace, Clock: r.Clock})
	if err := channel.Withdraw(ctx, p.policy.Name); err != nil {
		return err
	}
	if err := r.dropRedisUser(ctx, p); err != nil {
		return err
	}
	_, workspace, _ := strings.Cut(p.realm(), "/")
	if p.policy.Annotations[mfav1alpha1.PurgeAnnotation] != workspace || p.shared() {
		return nil
	}
	purged, err := redisstore.Purge(ctx, p.store.Client, r.KeyPrefix, p.realm())
	if err != nil {
		return fmt.Errorf("purge the enrolments of %s: %w", p.realm(), err)
	}
	p.purged = true
	r.Events.Eventf(p.policy, nil, corev1.EventTypeNormal, "Purged", "Purge", "Deleted %d records of workspace %s", purged, workspace)
	return nil
}

// dropRedisUser removes the namespace's Redis user with its last policy.
func (r *MFAPolicyReconciler) dropRedisUser(ctx context.Context, p *pass) error {
	if !r.RedisUsers || p.store == nil || p.policy.Spec.Redis != nil || p.hasSiblings() {
		return nil
	}
	return keys.DropUser(ctx, p.store.Client, r.KeyPrefix, p.policy.Namespace)
}

func (p *pass) hasSiblings() bool {
	return slices.ContainsFunc(p.siblings, func(s mfav1alpha1.MFAPolicy) bool { return s.Name != p.policy.Name })
}

// shared reports whether another policy that stays has the same workspace.
func (p *pass) shared() bool {
	return slices.ContainsFunc(p.siblings, func(s mfav1alpha1.MFAPolicy) bool {
		other := pass{policy: &s}
		return s.Name != p.policy.Name && s.DeletionTimestamp == nil && other.realm() == p.realm()
	})
}

// clearNamespace forgets what was purged. Where nothing was, the Secret stays, with
// its memory of the stores: enrolments stay too, and without it a store that was
// lost in the meantime would look like a new one.
func (r *MFAPolicyReconciler) clearNamespace(ctx context.Context, p *pass) error {
	if !p.purged {
		return nil
	}
	defer r.secrets.lock(p.policy.Namespace)()
	if p.hasSiblings() {
		p.epoch = ""
		return r.writeSecret(ctx, p)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: p.policy.Namespace, Name: mfav1alpha1.SidecarSecret}}
	if err := r.Client.Delete(ctx, secret); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete Secret %s: %w", mfav1alpha1.SidecarSecret, err)
	}
	return nil
}
