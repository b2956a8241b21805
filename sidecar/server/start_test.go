package server_test

import (
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sidecar/seal"
	"github.com/sallyport/sallyport/sidecar/server"
)

const goodPolicy = `
apiVersion: mfa.sallyport.dev/v1alpha1
kind: MFAPolicy
metadata: {name: portal, namespace: acme}
spec:
  selector: {matchLabels: {app: portal}}
  app: {port: 8080}
  identity: {type: Endpoint, endpoint: {path: /api/me, cookies: [session]}}
`

// What is wrong before a sidecar runs is said then, by its place.
func TestServerRefusesToStart(t *testing.T) {
	t.Parallel()
	keys, err := seal.Generate(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = client.Close() })
	for _, tc := range []struct {
		name                string
		policy, keys, epoch string
		says                []string
	}{
		{name: "nothing is wrong", policy: goodPolicy, keys: string(keys)},
		{name: "no policy", keys: string(keys), says: []string{"policy.yaml"}},
		{
			name: "every fault of the policy", policy: strings.NewReplacer(
				"port: 8080", "port: 0", "/api/me", "api/me", "[session]", "[]").Replace(goodPolicy), keys: string(keys),
			says: []string{"spec.app.port", "spec.identity.endpoint.path"},
		},
		{
			name: "an unknown field", policy: goodPolicy + "  requireForEveryOne: true\n", keys: string(keys),
			says: []string{"spec.requireForEveryOne", "requireForEveryone"},
		},
		{
			name: "a port by name", policy: strings.Replace(goodPolicy, "8080", "http", 1), keys: string(keys),
			says: []string{"spec.app.port", "--app"},
		},
		{name: "keys that are none", policy: goodPolicy, keys: `{"index":"c2VjcmV0"}`, says: []string{"key"}},
		{name: "an epoch file that is none", policy: goodPolicy, keys: string(keys), epoch: "what", says: []string{"epoch.json", "remove it"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			at := func(name, content string) string {
				path := filepath.Join(dir, name)
				if content != "" {
					if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				return path
			}
			_, err := server.New(server.Options{
				PolicyFile: at("policy.yaml", tc.policy), Keys: []byte(tc.keys), EpochFile: at("epoch.json", tc.epoch),
				Redis: client, KeyPrefix: "sallyport", Recheck: time.Second, Drain: time.Second, Clock: time.Now,
				Random: rand.Reader, Log: slog.New(slog.DiscardHandler),
			})
			if (err != nil) != (len(tc.says) > 0) {
				t.Fatalf("the error is %v", err)
			}
			for _, text := range tc.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("the error does not say %q: %v", text, err)
				}
			}
			if err != nil && strings.Contains(err.Error(), "c2VjcmV0") {
				t.Errorf("the error quotes a key: %v", err)
			}
		})
	}
}
