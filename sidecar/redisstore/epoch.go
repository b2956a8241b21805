package redisstore

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sidecar/mfa"
)

// epochBytes is the length of an epoch before encoding: 128 bits.
const epochBytes = 16

// EnsureEpoch returns the epoch of a realm's store, making it where neither the
// store has one nor the caller expects one. Whoever calls must remember it
// outside the store and expect it from then on. mfa.ErrStoreLost where the store
// has another epoch than the expected one, or none: it is never made again.
func EnsureEpoch(
	ctx context.Context, client redis.UniversalClient, prefix, realm, expected string, random io.Reader,
) (string, error) {
	if err := checkNames(prefix, realm); err != nil {
		return "", err
	}
	key := epochKey(prefix, realm)
	if expected != "" {
		if err := judge(client.Get(ctx, key), expected); err != nil {
			return "", fmt.Errorf("ensure the epoch: %w", err)
		}
		return expected, nil
	}
	fresh := make([]byte, epochBytes)
	if _, err := io.ReadFull(random, fresh); err != nil {
		return "", fmt.Errorf("make an epoch: %w", err)
	}
	if err := client.Do(ctx, "SET", key, base64.RawURLEncoding.EncodeToString(fresh), "NX").Err(); err != nil &&
		!errors.Is(err, redis.Nil) {
		return "", fmt.Errorf("make an epoch: %w", err)
	}
	// Whether this call or another made it, what the store says is what counts.
	epoch, err := client.Get(ctx, key).Result()
	if err == nil && epoch == "" {
		err = mfa.ErrStoreLost
	}
	if err != nil {
		return "", fmt.Errorf("read the epoch: %w", err)
	}
	return epoch, nil
}

// checkEpoch reports whether the store is the one it must be.
func (s *Store) checkEpoch(ctx context.Context) error {
	return s.judgeEpoch(s.client.Get(ctx, s.epochKey()))
}

// unless returns err, which says that something is absent, unless the whole
// store is lost.
func (s *Store) unless(ctx context.Context, err error) error {
	if lost := s.checkEpoch(ctx); lost != nil {
		return lost
	}
	return err
}

func (s *Store) judgeEpoch(cmd *redis.StringCmd) error { return judge(cmd, *s.epoch.Load()) }

func judge(cmd *redis.StringCmd, expected string) error {
	epoch, err := cmd.Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("read the epoch: %w", err)
	}
	if err != nil || expected == "" || subtle.ConstantTimeCompare([]byte(epoch), []byte(expected)) != 1 {
		return mfa.ErrStoreLost
	}
	return nil
}

func (s *Store) epochKey() string { return epochKey(s.config.Prefix, s.config.Realm) }

func epochKey(prefix, realm string) string { return prefix + ":{" + realm + "}:epoch" }
