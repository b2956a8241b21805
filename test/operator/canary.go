package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

// shortest secret that is looked for: shorter texts occur by chance.
const shortest = 12

// canary knows every secret that ever was in the cluster's Secrets, and every
// process that must not tell it.
type canary struct {
	mu      sync.Mutex
	secrets map[string]string // value → where it was
	logs    map[string]func() string
}

func newCanary() *canary {
	return &canary{secrets: make(map[string]string), logs: make(map[string]func() string)}
}

// Confide names a secret that no Secret holds, such as a user's seed.
func (c *Cluster) Confide(what, value string) { c.canary.learn(what, value) }

func (k *canary) learn(where, value string) {
	if len(value) < shortest {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.secrets[value] = where
}

func (k *canary) listen(name string, log func() string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.logs[fmt.Sprintf("%s %d", name, len(k.logs))] = log
}

// harmless are keys of the documents in Secrets whose values are no secrets, as are
// public certificates.
var harmless = map[string]bool{
	"url": true, "status": true, "created": true, "ca": true, "cert": true, "username": true, "serverName": true,
	"sentinelUsername": true, "ca.crt": true, "tls.crt": true, "jwks.json": true, "version": true, "format": true, "purpose": true,
}

func (k *canary) study(secret *corev1.Secret) {
	for key, value := range secret.Data {
		where := fmt.Sprintf("%s of Secret %s/%s", key, secret.Namespace, secret.Name)
		if harmless[key] {
			continue
		}
		var document any
		if json.Unmarshal(value, &document) == nil {
			k.dig(where, document)
			continue
		}
		k.learn(where, strings.TrimSpace(string(value)))
	}
}

// dig learns every text in a JSON document.
func (k *canary) dig(where string, value any) {
	switch v := value.(type) {
	case string:
		k.learn(where, v)
	case []any:
		for _, element := range v {
			k.dig(where, element)
		}
	case map[string]any:
		for key, element := range v {
			if !harmless[key] {
				k.dig(where, element)
			}
		}
	}
}

// watchSecrets learns every secret as it comes, until the test ends.
func (c *Cluster) watchSecrets() {
	c.t.Helper()
	reader, err := client.NewWithWatch(c.Config, client.Options{Scheme: c.Client.Scheme()})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx := c.t.Context()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			c.followSecrets(ctx, reader)
		}
	}()
	c.t.Cleanup(func() { <-done })
}

func (c *Cluster) followSecrets(ctx context.Context, reader client.WithWatch) {
	seen, err := reader.Watch(ctx, new(corev1.SecretList))
	if err != nil {
		return // the API server is away; it is tried again
	}
	defer seen.Stop()
	for e := range seen.ResultChan() {
		if secret, ok := e.Object.(*corev1.Secret); ok && e.Type != watch.Error {
			c.canary.study(secret)
		}
	}
}

// listenForLeaks fails the test if a secret occurs in anything that people who may
// not read Secrets can read: events, policies, admission rules and logs.
func (c *Cluster) listenForLeaks(ctx context.Context) {
	c.t.Helper()
	texts := make(map[string]string)
	policies, events := new(mfav1alpha1.MFAPolicyList), new(eventsv1.EventList)
	for _, list := range []client.ObjectList{policies, events} {
		if err := c.Client.List(ctx, list); err != nil {
			c.t.Errorf("list what could leak a secret: %v", err)
			return
		}
		encoded, err := json.Marshal(list)
		if err != nil {
			c.t.Fatal(err)
		}
		texts[fmt.Sprintf("%T", list)] = string(encoded)
	}
	c.canary.mu.Lock()
	defer c.canary.mu.Unlock()
	for name, log := range c.canary.logs {
		texts["the log of the "+name] = log()
	}
	for value, where := range c.canary.secrets {
		for name, text := range texts {
			if at := strings.Index(text, value); at >= 0 {
				c.t.Errorf("%s tells %s: …%s[secret]", name, where, text[max(0, at-200):at])
			}
		}
	}
}
