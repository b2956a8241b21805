package keys

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sidecar/seal"
)

// purposeRedis derives the password of a namespace's Redis user.
const purposeRedis = "redis-user"

// UserName is the Redis user of a namespace's sidecars.
func UserName(prefix, namespace string) string { return prefix + ":" + namespace }

// Passwords returns the passwords of a namespace's Redis user, one for each usable
// master key; the first, of the primary, is the one to hand out. Every replica of the
// operator finds the same, and all of them are valid while a rotation lasts. They
// derive from the master keys, not from the namespace's, which the sidecars have.
func Passwords(master []byte, namespace string) ([]string, error) {
	if namespace == "" || strings.Contains(namespace, "/") {
		return nil, fmt.Errorf("derive a Redis password: %q is not a namespace", namespace)
	}
	ring, err := seal.Parse(master, namespace)
	if err != nil {
		return nil, fmt.Errorf("derive a Redis password: %w", err)
	}
	secrets := ring.Secrets(purposeRedis)
	passwords := make([]string, 0, len(secrets))
	for _, secret := range secrets {
		passwords = append(passwords, base64.RawURLEncoding.EncodeToString(secret))
	}
	return passwords, nil
}

// EnsureUser makes the Redis user of a namespace exactly what the rules say, with
// these passwords and no others, on every server of a cluster and its replicas.
// Behind Sentinels it reaches the primary alone, and a server that restarts without an
// ACL file forgets the user: call it again now and then. Connections that are open
// stay open. Redis is told the passwords' hashes only.
func EnsureUser(
	ctx context.Context, client redis.UniversalClient, prefix, namespace string, rules, passwords []string,
) error {
	if len(passwords) == 0 || len(rules) == 0 {
		return errors.New("ensure a Redis user: it needs a password and rules")
	}
	command := []any{"ACL", "SETUSER", UserName(prefix, namespace), "reset"}
	for _, rule := range rules {
		if rule == "nopass" {
			return errors.New("ensure a Redis user: the rules let it in without a password")
		}
		command = append(command, rule)
	}
	for _, password := range passwords {
		sum := sha256.Sum256([]byte(password))
		command = append(command, "#"+hex.EncodeToString(sum[:]))
	}
	return everywhere(ctx, client, "ensure a Redis user", command)
}

// DropUser removes the Redis user of a namespace and closes its connections. A user
// who is not there is no error.
func DropUser(ctx context.Context, client redis.UniversalClient, prefix, namespace string) error {
	return everywhere(ctx, client, "drop a Redis user", []any{"ACL", "DELUSER", UserName(prefix, namespace)})
}

// everywhere runs a command on every server: each keeps users of its own.
func everywhere(ctx context.Context, client redis.UniversalClient, doing string, command []any) error {
	run := func(ctx context.Context, node redis.Cmdable) error {
		// A command that both kinds of client have, and Cmdable has not.
		doer, ok := node.(interface {
			Do(ctx context.Context, args ...any) *redis.Cmd
		})
		if !ok {
			return errors.New("the client runs no commands")
		}
		return doer.Do(ctx, command...).Err()
	}
	var err error
	if cluster, ok := client.(*redis.ClusterClient); ok {
		err = cluster.ForEachShard(ctx, func(ctx context.Context, node *redis.Client) error { return run(ctx, node) })
	} else {
		err = run(ctx, client)
	}
	if err != nil && strings.Contains(err.Error(), "#") {
		err = errors.New("redis refused the hash of a password") // it quotes the hash
	}
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}
