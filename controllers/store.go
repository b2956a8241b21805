package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/keys"
	"github.com/sallyport/sallyport/sidecar/control"
	"github.com/sallyport/sallyport/sidecar/redisstore"
)

// storeRetry is how soon a Redis that did not answer is asked again.
const storeRetry = 5 * time.Second

// unreliable is what StoreReady says of a Redis that is known, but of no use now, and
// what to do about that.
func (p *pass) unreliable(err error) string {
	settings := "the operator's Redis settings"
	if own := p.policy.Spec.Redis; own != nil {
		settings = "Secret " + own.SecretRef.Name
	}
	advice := ""
	_, refused := errors.AsType[redis.Error](err)
	_, unreached := errors.AsType[net.Error](err)
	switch {
	case redis.HasErrorPrefix(err, "WRONGPASS"), redis.HasErrorPrefix(err, "NOAUTH"):
		advice = "Correct username and password in " + settings + ". "
	case !refused && unreached:
		advice = "See that it runs, and that url in " + settings + " leads to it. "
	}
	return fmt.Sprintf("Redis cannot be relied upon: %s. %sUntil it can, nobody passes who has or needs a second factor",
		strings.TrimRight(err.Error(), "."), advice)
}

// checkStore reaches the policy's Redis and makes sure that it is the one that held
// the enrolments. It sets StoreReady. A store that lost them is never taken for an
// empty one: its epoch is not made again until an administrator accepts the loss.
func (r *MFAPolicyReconciler) checkStore(ctx context.Context, p *pass) error {
	const t = mfav1alpha1.ConditionStoreReady
	if p.refused {
		p.unknown(t, mfav1alpha1.ReasonNotChecked, "The store is of no use until the condition Accepted is True")
		return nil
	}
	document, problem, err := r.redisOf(ctx, p)
	if err != nil || problem != "" {
		if problem == "" {
			problem = fmt.Sprintf("How to reach Redis could not be read: %v", err)
		}
		p.fails(t, mfav1alpha1.ReasonSecretUnreadable, "%s", problem)
		return err
	}
	p.redis = document
	if p.store, err = r.Stores.Open(document); err != nil {
		p.fails(t, mfav1alpha1.ReasonStoreMisconfigured, "The Redis settings are wrong: %v", err)
		return nil
	}
	if p.keys == nil {
		p.unknown(t, mfav1alpha1.ReasonNotChecked, "The store can be checked once the condition KeysReady is True")
		return nil
	}
	err = r.checkEpoch(ctx, p)
	switch {
	case err == nil:
	case errors.Is(err, redisstore.ErrLost):
		p.fails(t, mfav1alpha1.ReasonStoreLost,
			"Redis has lost the enrolments of %s (store %s), and nobody can pass. Restore Redis from a backup; or accept that everyone "+
				"must enrol anew: kubectl -n %s annotate mfapolicy %s --overwrite %s=%s",
			p.realm(), p.knownStore(), p.policy.Namespace, p.policy.Name, mfav1alpha1.AcceptStoreLossAnnotation, p.knownStore())
	case errors.Is(err, redisstore.ErrOtherKeys):
		p.fails(t, mfav1alpha1.ReasonStoreMisconfigured,
			"Redis holds the enrolments of %s under other keys than the operator's: restore Secret %s/%s that belongs to this Redis, "+
				"or point the operator to its own", p.realm(), r.Namespace, mfav1alpha1.MasterSecret)
		return nil
	default:
		p.fails(t, mfav1alpha1.ReasonStoreUnreachable, "%s", p.unreliable(err))
		p.soon(storeRetry)
		return nil
	}
	p.channel = control.New(control.Config{
		Client: p.store.Client, Prefix: r.KeyPrefix, Namespace: p.policy.Namespace, Ring: p.keys.Ring, Clock: r.Clock,
	})
	r.channels.remember(client.ObjectKeyFromObject(p.policy), reached{p.channel, p.store, p.realm(), p.epoch})
	if err == nil {
		r.checkHealth(ctx, p)
	}
	return nil
}

// redisOf says how the policy's Redis is reached: its own, or the operator's.
func (r *MFAPolicyReconciler) redisOf(ctx context.Context, p *pass) (document *redisstore.Document, problem string, err error) {
	own := p.policy.Spec.Redis
	if own == nil {
		document, err = r.Redis(ctx)
		return document, "", err
	}
	data, problem, err := r.readSecret(ctx, p.policy.Namespace, own.SecretRef.Name)
	if err != nil || problem != "" {
		return nil, problem, err
	}
	if document, err = keys.FromSecret(data); err != nil {
		return nil, fmt.Sprintf("Secret %s: %v", own.SecretRef.Name, err), nil
	}
	return document, "", nil
}

// checkEpoch sets the epoch that the realm's store must have, and reports whether
// the store has it. The cluster's memory of it is the namespace's Secret, and the
// fingerprint in the status should that be gone.
func (r *MFAPolicyReconciler) checkEpoch(ctx context.Context, p *pass) error {
	ring, err := p.keys.Realm(p.realm())
	if err != nil {
		return err
	}
	stamp := func(value string) string { return ring.Name("epoch", value) }
	ensure := func(expected string) (string, error) {
		return redisstore.EnsureEpoch(ctx, p.store.Client, r.KeyPrefix, p.realm(), expected, r.Random, stamp)
	}
	if p.remembered, err = r.rememberedEpoch(ctx, p); err != nil {
		return err
	}
	p.epoch = p.remembered
	known := p.knownStore()
	accepted := known != "" && p.policy.Annotations[mfav1alpha1.AcceptStoreLossAnnotation] == known
	if p.epoch == "" && known != "" && !accepted {
		found, err := redisstore.Epoch(ctx, p.store.Client, r.KeyPrefix, p.realm())
		if err != nil {
			return err
		}
		if found == "" || fingerprint(found) != known {
			return redisstore.ErrLost
		}
	}
	epoch, err := ensure(p.epoch)
	if errors.Is(err, redisstore.ErrLost) && accepted {
		epoch, err = ensure("")
	}
	if err != nil {
		return err
	}
	p.epoch = epoch
	p.policy.Status.Store = &mfav1alpha1.StoreStatus{Fingerprint: fingerprint(epoch)}
	return nil
}

// knownStore is the fingerprint of the store that held the enrolments, "" where
// there was none yet.
func (p *pass) knownStore() string {
	if p.epoch != "" {
		return fingerprint(p.epoch)
	}
	if p.policy.Status.Store != nil {
		return p.policy.Status.Store.Fingerprint
	}
	return ""
}

// fingerprint names an epoch without telling it.
func fingerprint(epoch string) string {
	sum := sha256.Sum256([]byte("sallyport/epoch\x00" + epoch))
	return hex.EncodeToString(sum[:8])
}

// rememberedEpoch is the epoch in the namespace's Secret, "" where there is none.
func (r *MFAPolicyReconciler) rememberedEpoch(ctx context.Context, p *pass) (string, error) {
	secret, err := r.sidecarSecret(ctx, r.Client, p.policy.Namespace)
	if err != nil {
		return "", err
	}
	epochs, err := epochsIn(secret)
	if err != nil {
		return "", err
	}
	return epochs[p.realm()], nil
}

func epochsIn(secret *corev1.Secret) (map[string]string, error) {
	epochs := make(map[string]string)
	if secret == nil || len(secret.Data[mfav1alpha1.EpochsKey]) == 0 {
		return epochs, nil
	}
	if err := json.Unmarshal(secret.Data[mfav1alpha1.EpochsKey], &epochs); err != nil {
		return nil, fmt.Errorf("%s of Secret %s is not a JSON object; restore it: %w", mfav1alpha1.EpochsKey, secret.Name, err)
	}
	return maps.Clone(epochs), nil
}

// checkHealth looks at what would make the store lose enrolments later.
func (r *MFAPolicyReconciler) checkHealth(ctx context.Context, p *pass) {
	const t = mfav1alpha1.ConditionStoreReady
	store, err := redisstore.New(p.store.Client, redisstore.Config{
		Prefix: r.KeyPrefix, Realm: p.realm(), Epoch: p.epoch, Clock: r.Clock,
	})
	if err != nil {
		p.fails(t, mfav1alpha1.ReasonStoreMisconfigured, "The store could not be set up: %v", err)
		return
	}
	switch health := store.Check(ctx); {
	case errors.Is(health.Err, redisstore.ErrEvicts), errors.Is(health.Err, redisstore.ErrReadOnly):
		p.fails(t, mfav1alpha1.ReasonStoreMisconfigured, "%s", p.unreliable(health.Err))
	case health.Err != nil:
		p.fails(t, mfav1alpha1.ReasonStoreUnreachable, "%s", p.unreliable(health.Err))
		p.soon(storeRetry)
	default:
		p.holds(t, mfav1alpha1.ReasonStoreReady, "Redis answers, and is the store %s that holds the enrolments", fingerprint(p.epoch))
	}
}
