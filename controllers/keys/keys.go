// Package keys looks after the master key ring, its rotation, and the credentials
// that a namespace's sidecars are given.
//
// The master key ring lives in one Secret of the operator's namespace and never
// leaves it: a namespace gets keys that are derived for it alone. The ring is made
// once. A ring that is gone while anything in the cluster still depends on it is
// never made anew: every user would look unenrolled to a new one.
//
// It may import api/v1alpha1, and of the sidecar's side seal and redisstore. It must
// never put a key, a password or a Secret's content into a log, an error or an event,
// and never drop a key that a record may still need.
package keys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/sidecar/seal"
)

// SettledAnnotation on the Secret of the master keys says since when every sidecar
// has sealed with the primary key: "<id> <RFC 3339 time>".
const SettledAnnotation = mfav1alpha1.GroupName + "/rotation-settled"

// ErrRingMissing means that there is no usable master key ring and that one must not
// be made, for something depends on the one that was there.
var ErrRingMissing = errors.New("the master key ring is missing")

// Ring is the master key ring with what its Secret says of rotation.
type Ring struct {
	// Document is the key file. It is secret.
	Document []byte
	// Requested names the rotation that is asked for, Served the one that was served
	// last; "" for none.
	Requested, Served string
	// Settled is since when all sidecars have sealed with the primary key.
	Settled Settled

	secret *corev1.Secret
}

// Settled is a moment from which on nothing new has needed an older key.
type Settled struct {
	// Primary is the key that it is about, 0 for none.
	Primary uint32
	At      time.Time
}

// Format keeps the keys out of every verb of package fmt.
func (Ring) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "keys.Ring(redacted)") }

// MarshalLog keeps the keys out of structured logs.
func (Ring) MarshalLog() any { return "keys.Ring(redacted)" }

// MarshalJSON refuses: the ring is written to its Secret and nowhere else.
func (Ring) MarshalJSON() ([]byte, error) { return nil, errors.New("a key ring is never encoded") }

// Master reads and writes the Secret of the master key ring.
type Master struct {
	// Client writes, Live reads from the API server: a cache that is behind, or does
	// not see the Secret, must not look like a missing ring.
	Client client.Client
	Live   client.Reader
	// Namespace of the operator.
	Namespace string
	Random    io.Reader
	Clock     func() time.Time
}

// Load returns the master key ring, and makes it where there is none. Before that it
// asks dependents for what depends on a ring that must have been there: a delivered
// Secret, a published epoch. What dependents names, and any fault of it, keeps Load
// from making a ring: ErrRingMissing. A Secret that is there and unreadable is never
// replaced, whatever depends on it.
//
// The Secret has no finalizer. One would only put off a deletion, which cannot be
// taken back once it is asked for, and would keep a namespace from ever going away
// after the operator is gone. A backup is what helps.
func (m *Master) Load(ctx context.Context, dependents func(context.Context) ([]string, error)) (*Ring, error) {
	ring, err := m.get(ctx)
	if !apierrors.IsNotFound(err) {
		return ring, err
	}
	named, err := dependents(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w, and what depends on it is not known: %w", ErrRingMissing, err)
	}
	if len(named) > 0 {
		return nil, fmt.Errorf("%w: restore Secret %s/%s from a backup; it is needed for %s. A new ring would make "+
			"every user look unenrolled; to accept that, delete what needs it first",
			ErrRingMissing, m.Namespace, mfav1alpha1.MasterSecret, first(named))
	}
	if err := m.create(ctx); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("create Secret %s/%s: %w", m.Namespace, mfav1alpha1.MasterSecret, err)
	}
	// Whether this replica made it or another, what is stored is what counts.
	if ring, err = m.get(ctx); err != nil {
		return nil, fmt.Errorf("read the new key ring: %w", err)
	}
	return ring, nil
}

func (m *Master) get(ctx context.Context) (*Ring, error) {
	secret := new(corev1.Secret)
	key := client.ObjectKey{Namespace: m.Namespace, Name: mfav1alpha1.MasterSecret}
	if err := m.Live.Get(ctx, key, secret); err != nil {
		return nil, fmt.Errorf("read Secret %s: %w", key, err)
	}
	document := secret.Data[mfav1alpha1.KeysKey]
	if _, err := seal.Versions(document); err != nil {
		return nil, fmt.Errorf("the %[2]s of Secret %[1]s is unreadable; restore it from a backup: %[3]w",
			key, mfav1alpha1.KeysKey, err)
	}
	return &Ring{
		Document:  document,
		Requested: secret.Annotations[mfav1alpha1.RotateAnnotation],
		Served:    secret.Annotations[mfav1alpha1.RotatedAnnotation],
		Settled:   parseSettled(secret.Annotations[SettledAnnotation]),
		secret:    secret,
	}, nil
}

// create uses Create and not Apply: only the former fails where a Secret is there.
func (m *Master) create(ctx context.Context) error {
	document, err := seal.Generate(m.Random, m.Clock())
	if err != nil {
		return err
	}
	return m.Client.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: m.Namespace,
			Name:      mfav1alpha1.MasterSecret,
			Labels:    map[string]string{mfav1alpha1.ManagedByLabel: mfav1alpha1.ManagedBy},
		},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{mfav1alpha1.KeysKey: document},
	}, client.FieldOwner(mfav1alpha1.FieldManager))
}

// Save writes what Next made of a ring that Load returned. It is an update that fails
// with a conflict where the Secret was changed meanwhile: Apply would overwrite what
// another replica added.
func (m *Master) Save(ctx context.Context, ring *Ring) error {
	if ring.secret == nil {
		return errors.New("save the master key ring: it was not loaded")
	}
	if _, err := seal.Versions(ring.Document); err != nil {
		return fmt.Errorf("save the master key ring: %w", err)
	}
	secret := ring.secret.DeepCopy()
	secret.Data[mfav1alpha1.KeysKey] = ring.Document
	annotate(secret, mfav1alpha1.RotatedAnnotation, ring.Served)
	annotate(secret, SettledAnnotation, ring.Settled.String())
	if err := m.Client.Update(ctx, secret, client.FieldOwner(mfav1alpha1.FieldManager)); err != nil {
		return fmt.Errorf("save the master key ring: %w", err)
	}
	ring.secret = secret
	return nil
}

func annotate(secret *corev1.Secret, key, value string) {
	if value == "" {
		delete(secret.Annotations, key)
		return
	}
	metav1.SetMetaDataAnnotation(&secret.ObjectMeta, key, value)
}

// String is the annotation, "" for the zero value.
func (s Settled) String() string {
	if s.Primary == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(s.Primary), 10) + " " + s.At.UTC().Format(time.RFC3339)
}

// parseSettled takes what it cannot read for nothing: then everything waits longer.
func parseSettled(text string) Settled {
	id, at, _ := strings.Cut(text, " ")
	primary, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return Settled{}
	}
	moment, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return Settled{}
	}
	return Settled{Primary: uint32(primary), At: moment}
}

// first names the first few of a list.
func first(names []string) string {
	const few = 3
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}
