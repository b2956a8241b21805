package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// ensured is an object as it should be: an empty object of its kind to read it
// into, its key, and what to apply.
type ensured struct {
	object  client.Object
	key     client.ObjectKey
	desired runtime.ApplyConfiguration
	// sole means that nobody else may add to the object, but labels and annotations.
	sole bool
}

// applied remembers what was applied, so that a pass that changes nothing writes
// nothing. It is safe for concurrent use; its zero value is ready.
type applied struct {
	mu   sync.Mutex
	seen map[string]appliedAs
}

type appliedAs struct {
	hash [sha256.Size]byte
	// version of the object that the hash stands for.
	version string
	// at is when it was applied.
	at time.Time
}

// ensure applies an object, unless it was applied as it should be and
// is unchanged since.
func (a *applied) ensure(ctx context.Context, c client.Client, e ensured, now time.Time) error {
	encoded, err := json.Marshal(e.desired)
	if err != nil {
		return fmt.Errorf("encode %s: %w", e.key, err)
	}
	hash := sha256.Sum256(encoded)
	err = c.Get(ctx, e.key, e.object)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read %s: %w", e.key, err)
	}
	if err == nil && a.stands(e, hash) {
		return nil
	}
	write := apply
	if found := err == nil; found && e.sole {
		write = replace
	}
	version, err := write(ctx, c, e, encoded)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen == nil {
		a.seen = make(map[string]appliedAs)
	}
	a.seen[keyOf(e.object, e.key)] = appliedAs{hash: hash, version: version, at: now}
	return nil
}

// apply takes the object's fields for ours, and leaves alone what others added. It
// returns the version that came of it.
func apply(ctx context.Context, c client.Client, e ensured, _ []byte) (version string, err error) {
	if err := c.Apply(ctx, e.desired, client.FieldOwner(mfav1alpha1.FieldManager), client.ForceOwnership); err != nil {
		return "", fmt.Errorf("apply %s: %w", e.key, err)
	}
	if version, err = versionOf(e.desired); err != nil {
		return "", fmt.Errorf("read what was applied as %s: %w", e.key, err)
	}
	return version, nil
}

// replace makes the object what is desired and nothing else, but for labels and
// annotations: in an admission rule, a condition that somebody added would switch the
// rule off.
func replace(ctx context.Context, c client.Client, e ensured, desired []byte) (version string, err error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(e.object)
	if err != nil {
		return "", fmt.Errorf("convert %s: %w", e.key, err)
	}
	kind, err := c.GroupVersionKindFor(e.object)
	if err != nil {
		return "", fmt.Errorf("convert %s: %w", e.key, err)
	}
	is, wanted := &unstructured.Unstructured{Object: fields}, new(unstructured.Unstructured)
	is.SetGroupVersionKind(kind)
	if err := json.Unmarshal(desired, &wanted.Object); err != nil {
		return "", fmt.Errorf("convert %s: %w", e.key, err)
	}
	labels := is.GetLabels()
	if labels == nil {
		labels = make(map[string]string)
	}
	maps.Copy(labels, wanted.GetLabels())
	for _, others := range []string{"metadata", "status"} {
		if value, found := is.DeepCopy().Object[others]; found {
			wanted.Object[others] = value
		}
	}
	wanted.SetLabels(labels)
	patch := client.MergeFrom(is)
	if difference, err := patch.Data(wanted); err == nil && string(difference) == "{}" {
		return is.GetResourceVersion(), nil // as it is after a restart, as a rule
	}
	if err := c.Patch(ctx, wanted, patch, client.FieldOwner(mfav1alpha1.FieldManager)); err != nil {
		return "", fmt.Errorf("replace %s: %w", e.key, err)
	}
	return wanted.GetResourceVersion(), nil
}

// versionOf returns the resource version of an apply configuration into which the
// client has read the API server's answer.
func versionOf(answer runtime.ApplyConfiguration) (string, error) {
	encoded, err := json.Marshal(answer)
	if err != nil {
		return "", err
	}
	var object struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(encoded, &object); err != nil {
		return "", err
	}
	return object.Metadata.ResourceVersion, nil
}

// stands reports whether the object is as it was after it was last applied.
func (a *applied) stands(e ensured, hash [sha256.Size]byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.seen[keyOf(e.object, e.key)]
	return was.hash == hash && was.version == e.object.GetResourceVersion()
}

func (a *applied) forget(object client.Object) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.seen, keyOf(object, client.ObjectKeyFromObject(object)))
}

func keyOf(object client.Object, key client.ObjectKey) string {
	return fmt.Sprintf("%T %s", object, key)
}
