package redisstore

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sidecar/mfa"
)

// epochBytes is the length of an epoch before encoding: 128 bits.
const epochBytes = 16

// ErrOtherKeys means that the store was set up with another key ring. It names
// users by other names, so that all of them would look unenrolled.
var ErrOtherKeys = errors.New("redis holds the records of another key ring")

// ErrLost is mfa.ErrStoreLost, for those who only look after the store.
var ErrLost = mfa.ErrStoreLost

// Stamp names a value by a key that never rotates; seal.Ring.Name is one.
type Stamp func(value string) string

// EnsureEpoch returns the epoch of a realm's store, making it where neither the
// store has one nor the caller expects one. Whoever calls must remember it
// outside the store and expect it from then on. mfa.ErrStoreLost where the store
// has another epoch than the expected one, or none: it is never made again.
//
// An epoch is a random value and its stamp: ErrOtherKeys where that is not ours.
func EnsureEpoch(
	ctx context.Context, client redis.UniversalClient, prefix, realm, expected string, random io.Reader, stamp Stamp,
) (string, error) {
	if err := checkNames(prefix, realm); err != nil {
		return "", err
	}
	key := epochKey(prefix, realm)
	if expected != "" {
		if !stamped(expected, stamp) {
			return "", ErrOtherKeys
		}
		if err := judge(client.Get(ctx, key), expected); err != nil {
			return "", fmt.Errorf("ensure the epoch: %w", err)
		}
		return expected, nil
	}
	fresh := make([]byte, epochBytes)
	if _, err := io.ReadFull(random, fresh); err != nil {
		return "", fmt.Errorf("make an epoch: %w", err)
	}
	value := base64.RawURLEncoding.EncodeToString(fresh)
	err := client.Do(ctx, "SET", key, value+"."+stamp(value), "NX").Err()
	if err != nil && !errors.Is(err, redis.Nil) {
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
	if !stamped(epoch, stamp) {
		return "", ErrOtherKeys
	}
	return epoch, nil
}

func stamped(epoch string, stamp Stamp) bool {
	value, mark, _ := strings.Cut(epoch, ".")
	return subtle.ConstantTimeCompare([]byte(mark), []byte(stamp(value))) == 1
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

// Epoch returns the epoch that a realm's store has, "" where it has none.
func Epoch(ctx context.Context, client redis.UniversalClient, prefix, realm string) (string, error) {
	if err := checkNames(prefix, realm); err != nil {
		return "", err
	}
	epoch, err := client.Get(ctx, epochKey(prefix, realm)).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", fmt.Errorf("read the epoch: %w", err)
	}
	return epoch, nil
}
