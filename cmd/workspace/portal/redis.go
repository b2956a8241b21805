package portal

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// redisTimeout bounds one question to Redis, retries included.
	redisTimeout = 2 * time.Second
	redisPrefix  = "workspace:session:"
)

// RedisSessions are sessions that all replicas of the portal share, and that
// outlive each of them. Make them with NewRedisSessions.
type RedisSessions struct{ client *redis.Client }

// NewRedisSessions returns the sessions that lie at a URL such as
// redis://host:6379/1. It connects when it is first used. No error holds the
// URL, since there may be a password in it.
func NewRedisSessions(url string) (*RedisSessions, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("the URL is none of redis: redis://[user:password@]host:port/database") // the cause quotes the URL
	}
	options.DialTimeout, options.PoolTimeout = redisTimeout, redisTimeout
	options.ReadTimeout, options.WriteTimeout = redisTimeout, redisTimeout
	options.ContextTimeoutEnabled = true
	// A server that is not there is told at once, and not after many attempts.
	options.MaxRetries, options.DialerRetries = 1, 1
	// Neither is known to every server, and the portal needs neither.
	options.DisableIdentity = true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return &RedisSessions{client: redis.NewClient(options)}, nil
}

// Close closes the connections.
func (s *RedisSessions) Close() error { return s.client.Close() }

// Start leaves the expiry to Redis.
func (s *RedisSessions) Start(ctx context.Context, id, userID string) error {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	if err := s.client.Set(ctx, redisKey(id), userID, sessionLifetime).Err(); err != nil {
		return fmt.Errorf("start a session: %w: %w", errUnavailable, err)
	}
	return nil
}

// Find asks Redis every time, so that every replica obeys a sign-out at once.
func (s *RedisSessions) Find(ctx context.Context, id string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	userID, err := s.client.Get(ctx, redisKey(id)).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("find a session: %w: %w", errUnavailable, err)
	}
	return userID, nil
}

// End closes all of them or, where it fails, perhaps none.
func (s *RedisSessions) End(ctx context.Context, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = redisKey(id)
	}
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	if err := s.client.Del(ctx, keys...).Err(); err != nil {
		return fmt.Errorf("end a session: %w: %w", errUnavailable, err)
	}
	return nil
}

func redisKey(id string) string {
	sum := digest(id)
	return redisPrefix + base64.RawURLEncoding.EncodeToString(sum[:])
}
