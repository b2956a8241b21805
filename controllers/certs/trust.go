package certs

import (
	"bytes"
	"context"
	"fmt"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// trust watches whether API servers have come to trust an authority.
type trust struct {
	reader client.Reader
	settle time.Duration

	authority []byte
	since     time.Time
}

// reached reports whether every webhook configuration of ours has held the authority
// for as long as API servers may take to notice.
func (t *trust) reached(ctx context.Context, authority []byte, now time.Time) (bool, error) {
	if !bytes.Equal(authority, t.authority) {
		t.authority, t.since = bytes.Clone(authority), time.Time{}
	}
	everywhere, err := t.everywhere(ctx)
	if err != nil || !everywhere {
		t.since = time.Time{}
		return false, err
	}
	if t.since.IsZero() {
		t.since = now
	}
	return now.Sub(t.since) >= t.settle, nil
}

func (t *trust) everywhere(ctx context.Context) (bool, error) {
	list := new(admissionregistrationv1.MutatingWebhookConfigurationList)
	err := t.reader.List(ctx, list, client.MatchingLabels{mfav1alpha1.ManagedByLabel: mfav1alpha1.ManagedBy})
	if err != nil {
		return false, fmt.Errorf("list the webhook configurations: %w", err)
	}
	for _, configuration := range list.Items {
		for _, hook := range configuration.Webhooks {
			if !holds(hook.ClientConfig.CABundle, t.authority) {
				return false, nil
			}
		}
	}
	return true, nil
}
