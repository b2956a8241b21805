package keys

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

const (
	// passwordBytes is how much chance a password holds.
	passwordBytes = 32
	// passwordFor is how long a password is believed without being read again.
	passwordFor = 10 * time.Second
)

// The keys of the Secret of a RedisPassword.
const (
	passwordKey = "password"
	// configurationKey is the same as a line of redis.conf, to be included in one.
	configurationKey = "redis.conf"
)

// RedisPassword is the password of a Redis that was installed beside the operator. It
// lives in a Secret that both mount or read; it is made once, where there is none, and
// never overwritten. Nothing else in the cluster has to choose one, so that no tool
// which renders manifests anew makes another. It is safe for concurrent use.
type RedisPassword struct {
	// Client writes, Live reads from the API server: a cache that is behind must not
	// look like a missing Secret.
	Client client.Client
	Live   client.Reader
	// Secret that holds it.
	Secret types.NamespacedName
	Random io.Reader
	Clock  func() time.Time

	mu    sync.Mutex
	value string
	asOf  time.Time
}

// Get returns the password, and makes it where there is none.
func (p *RedisPassword) Get(ctx context.Context) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.value != "" && p.Clock().Sub(p.asOf) < passwordFor {
		return p.value, nil
	}
	value, err := p.read(ctx)
	if apierrors.IsNotFound(err) {
		if err = p.create(ctx); err == nil || apierrors.IsAlreadyExists(err) {
			// Whether this replica made it or another, what is stored is what counts.
			value, err = p.read(ctx)
		}
	}
	if err != nil {
		return "", fmt.Errorf("the password of Redis, Secret %s: %w", p.Secret, err)
	}
	p.value, p.asOf = value, p.Clock()
	return value, nil
}

func (p *RedisPassword) read(ctx context.Context) (string, error) {
	secret := new(corev1.Secret)
	if err := p.Live.Get(ctx, p.Secret, secret); err != nil {
		return "", err
	}
	value := strings.TrimRight(string(secret.Data[passwordKey]), "\r\n")
	if value == "" {
		return "", fmt.Errorf("it has no key %s; delete it, and the operator makes another, which Redis takes when its pod restarts", passwordKey)
	}
	return value, nil
}

func (p *RedisPassword) create(ctx context.Context) error {
	random := make([]byte, passwordBytes)
	if _, err := io.ReadFull(p.Random, random); err != nil {
		return fmt.Errorf("choose it: %w", err)
	}
	value := base64.RawURLEncoding.EncodeToString(random)
	return p.Client.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.Secret.Namespace, Name: p.Secret.Name,
			Labels: map[string]string{mfav1alpha1.ManagedByLabel: mfav1alpha1.ManagedBy},
		},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{passwordKey: []byte(value), configurationKey: []byte("requirepass " + value + "\n")},
	}, client.FieldOwner(mfav1alpha1.FieldManager))
}
