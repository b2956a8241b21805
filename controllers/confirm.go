package controllers

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// confirmAfter is how long after a webhook configuration was written it is written
// once more.
const confirmAfter = 3 * time.Second

// confirm writes a webhook configuration once more, some seconds after it was changed,
// with nothing new but an annotation.
//
// An API server keeps what it has compiled of each configuration, and drops that when
// it hears of a change. If it is compiling all of them at that very moment, from what
// it knew before, it puts the old one back and hears of nothing more: it goes on with
// the old selector, or trusts the old certificate, for as long as the configuration
// stays as it is. Many policies that change at once, as they do when the certificate's
// authority is renewed, make that likely. The second change has it compiled anew.
func (r *MFAPolicyReconciler) confirm(ctx context.Context, p *pass, rule ensured) error {
	was, ok := r.applied.as(rule)
	if !ok {
		return nil
	}
	confirmed := hex.EncodeToString(was.hash[:8])
	if rule.object.GetAnnotations()[mfav1alpha1.ConfirmedAnnotation] == confirmed {
		return nil
	}
	if wait := was.at.Add(confirmAfter).Sub(r.Clock()); wait > 0 {
		p.soon(wait)
		return nil
	}
	object, ok := rule.object.DeepCopyObject().(client.Object)
	if !ok {
		return nil
	}
	object.SetName(rule.key.Name)
	before, _ := object.DeepCopyObject().(client.Object)
	annotations := map[string]string{mfav1alpha1.ConfirmedAnnotation: confirmed}
	for key, value := range object.GetAnnotations() {
		if key != mfav1alpha1.ConfirmedAnnotation {
			annotations[key] = value
		}
	}
	object.SetAnnotations(annotations)
	if err := r.Client.Patch(ctx, object, client.MergeFrom(before), client.FieldOwner(mfav1alpha1.FieldManager)); err != nil {
		return fmt.Errorf("confirm %s: %w", rule.key, err)
	}
	r.applied.now(rule, object.GetResourceVersion())
	return nil
}

// as returns what is remembered of an object.
func (a *applied) as(e ensured) (appliedAs, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	was, ok := a.seen[keyOf(e.object, e.key)]
	return was, ok
}

// now remembers that an object says the same in another version.
func (a *applied) now(e ensured, version string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.seen[keyOf(e.object, e.key)]
	was.version = version
	a.seen[keyOf(e.object, e.key)] = was
}
