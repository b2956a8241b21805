package controllers

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/controllers/keys"
	"github.com/sallyport/sallyport/sidecar/seal"
)

// +kubebuilder:rbac:groups="",namespace=sallyport-system,resources=secrets,verbs=create
// +kubebuilder:rbac:groups="",namespace=sallyport-system,resources=secrets,resourceNames=sallyport-master-keys,verbs=get;update

// ringFor is how long the master key ring is believed without being read again.
const ringFor = 5 * time.Second

// Keys hands out what is derived from the master key ring. It is safe for
// concurrent use.
type Keys struct {
	master *keys.Master
	reader client.Reader
	prefix string
	clock  func() time.Time

	mu       sync.Mutex
	ring     *keys.Ring
	asOf     time.Time
	progress keys.Progress
	uses     map[string]*seal.Use
}

// NamespaceKeys are the keys of one namespace.
type NamespaceKeys struct {
	// Document is the key ring that its sidecars get.
	Document []byte
	// Ring is the same, for the channel to them.
	Ring *seal.Ring
	// RedisUser and RedisPasswords are for a Redis user of the namespace's own; the
	// first password is the one to hand out.
	RedisUser      string
	RedisPasswords []string
}

// Realm returns the key ring of one of the namespace's realms.
func (n *NamespaceKeys) Realm(realm string) (*seal.Ring, error) { return seal.Parse(n.Document, realm) }

// NewKeys returns Keys on a master key ring. What depends on that ring is looked for
// with reader.
func NewKeys(master *keys.Master, reader client.Reader, prefix string, clock func() time.Time) *Keys {
	return &Keys{master: master, reader: reader, prefix: prefix, clock: clock}
}

// Of derives the keys of a namespace.
func (k *Keys) Of(ctx context.Context, namespace string) (*NamespaceKeys, error) {
	ring, err := k.load(ctx)
	if err != nil {
		return nil, err
	}
	document, err := seal.Derive(ring.Document, namespace)
	if err != nil {
		return nil, fmt.Errorf("derive the keys of namespace %s: %w", namespace, err)
	}
	channel, err := seal.Parse(document, namespace)
	if err != nil {
		return nil, fmt.Errorf("read the keys of namespace %s: %w", namespace, err)
	}
	passwords, err := keys.Passwords(ring.Document, namespace)
	if err != nil {
		return nil, err
	}
	return &NamespaceKeys{
		Document: document, Ring: channel,
		RedisUser: keys.UserName(k.prefix, namespace), RedisPasswords: passwords,
	}, nil
}

// HookKey is the key that tokens of lifecycle hooks are made with. It is the same on
// every replica and never rotates, for the tokens stand in the pods.
func (k *Keys) HookKey(ctx context.Context) ([]byte, error) {
	ring, err := k.load(ctx)
	if err != nil {
		return nil, err
	}
	parsed, err := seal.Parse(ring.Document, "")
	if err != nil {
		return nil, fmt.Errorf("derive the key of lifecycle hooks: %w", err)
	}
	return []byte(parsed.Name("lifecycle-hook")), nil
}

func (k *Keys) load(ctx context.Context) (*keys.Ring, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ring != nil && k.clock().Sub(k.asOf) < ringFor {
		return k.ring, nil
	}
	return k.reload(ctx)
}

// reload reads the ring; the lock is held.
func (k *Keys) reload(ctx context.Context) (*keys.Ring, error) {
	ring, err := k.master.Load(ctx, k.dependents)
	if err != nil {
		return nil, err
	}
	k.ring, k.asOf = ring, k.clock()
	return ring, nil
}

// dependents names what was made with a master key ring that must have been there.
func (k *Keys) dependents(ctx context.Context) ([]string, error) {
	secrets := new(corev1.SecretList)
	if err := k.reader.List(ctx, secrets); err != nil {
		return nil, fmt.Errorf("list the Secrets of sidecars: %w", err)
	}
	policies := new(mfav1alpha1.MFAPolicyList)
	if err := k.reader.List(ctx, policies); err != nil {
		return nil, fmt.Errorf("list the policies: %w", err)
	}
	var named []string
	for _, s := range secrets.Items {
		named = append(named, fmt.Sprintf("Secret %s/%s", s.Namespace, s.Name))
	}
	for _, p := range policies.Items {
		if p.Status.Store != nil && p.Status.Store.Fingerprint != "" {
			named = append(named, fmt.Sprintf("MFAPolicy %s/%s", p.Namespace, p.Name))
		}
	}
	slices.Sort(named)
	return named, nil
}

// step takes a rotation one step on, and reports whether there is news. Nobody else
// may run it at the same time. The keys can be had while state asks every sidecar
// and every Redis, however long that takes.
func (k *Keys) step(ctx context.Context, state func(*keys.Ring) (*keys.State, error)) (changed bool, err error) {
	ring, err := k.fresh(ctx)
	if err != nil {
		return false, err
	}
	s, err := state(ring)
	if err != nil {
		stalled, why := keys.Stalled(ring, err.Error())
		if why != nil {
			return false, why
		}
		return k.progressed(nil, stalled, nil), err
	}
	next, progress, err := keys.Next(*s, k.master.Random)
	if err != nil {
		return false, err
	}
	if next != nil {
		if err := k.master.Save(ctx, next); err != nil {
			return false, err
		}
	}
	return k.progressed(next, progress, s.Realms), nil
}

// fresh reads the ring as it is now.
func (k *Keys) fresh(ctx context.Context) (*keys.Ring, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.reload(ctx)
}

// progressed takes up what a step found, and reports whether that is news.
func (k *Keys) progressed(next *keys.Ring, progress keys.Progress, uses map[string]*seal.Use) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	news := next != nil || progress.Phase != k.progress.Phase || progress.Waiting != k.progress.Waiting
	if next != nil {
		k.ring, k.asOf = next, k.clock()
	}
	k.progress, k.uses = progress, uses
	return news
}

// Status says how far a rotation is, and what of a realm still needs which key; nil
// while that is not known.
func (k *Keys) Status(realm string) *mfav1alpha1.KeyStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.progress.Phase == "" {
		return nil
	}
	status := &mfav1alpha1.KeyStatus{
		Primary: int64(k.progress.Primary), Phase: string(k.progress.Phase), Waiting: k.progress.Waiting,
	}
	use, versions := k.uses[realm], k.progress.Versions
	for _, v := range versions[max(0, len(versions)-mfav1alpha1.MaxKeyVersions):] {
		version := mfav1alpha1.KeyVersion{ID: int64(v.ID), Status: string(v.Status)}
		if use != nil {
			version.Seeds, version.RecoveryCodeSets = use.Seals[v.ID], use.Codes[v.ID]
		}
		status.Versions = append(status.Versions, version)
	}
	return status
}
