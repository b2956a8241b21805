package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	// ErrReadOnly means that the store takes no changes: it is a replica, or a
	// primary that lacks replicas, memory or disk.
	ErrReadOnly = errors.New("redis takes no changes")
	// ErrEvicts means that the server may drop enrolments and counters to win
	// memory; maxmemory-policy must be noeviction.
	ErrEvicts = errors.New("redis may evict keys: set maxmemory-policy to noeviction")
)

// Health is what Check found.
type Health struct {
	// Err is why the store cannot be relied upon, nil if it can: mfa.ErrStoreLost,
	// ErrReadOnly, ErrEvicts (errors.Is tells), or that it cannot be reached.
	Err error
	// Drift is how far the server's clock is ahead of this process's, where they
	// could be Compared.
	Drift    time.Duration
	Compared bool
	// Policy is the server's maxmemory-policy, "" where it tells none.
	Policy string
}

// Check looks at everything that must hold before the store is relied upon. It
// writes one short-lived key.
func (s *Store) Check(ctx context.Context) Health {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	var h Health
	if err := s.client.Ping(ctx).Err(); err != nil {
		h.Err = fmt.Errorf("reach redis: %w", err)
		return h
	}
	var faults []error
	if err := s.checkEpoch(ctx); err != nil {
		faults = append(faults, err)
	}
	var err error
	if h.Drift, err = s.drift(ctx); err != nil {
		faults = append(faults, err)
	}
	h.Compared = err == nil
	if h.Policy, err = s.policy(ctx); err != nil {
		faults = append(faults, err)
	} else if h.Policy != "" && h.Policy != "noeviction" {
		faults = append(faults, ErrEvicts)
	}
	if err := s.probe(ctx); err != nil {
		faults = append(faults, err)
	}
	h.Err = errors.Join(faults...)
	return h
}

// drift compares the clocks at the middle of a round trip.
func (s *Store) drift(ctx context.Context) (time.Duration, error) {
	begin := s.config.Clock()
	theirs, err := s.client.Time(ctx).Result()
	if err != nil {
		return 0, fmt.Errorf("read the clock of redis: %w", err)
	}
	return theirs.Sub(begin.Add(s.config.Clock().Sub(begin) / 2)), nil
}

// policy returns the maxmemory-policy; of a cluster, one that evicts if any does.
func (s *Store) policy(ctx context.Context) (string, error) {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return policyOf(ctx, s.client)
	}
	var mu sync.Mutex
	worst := ""
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		policy, err := policyOf(ctx, node)
		mu.Lock()
		defer mu.Unlock()
		if worst == "" || worst == "noeviction" {
			worst = policy
		}
		return err
	})
	return worst, err
}

func policyOf(ctx context.Context, client redis.Cmdable) (string, error) {
	info, err := client.Info(ctx, "memory").Result()
	if err != nil {
		if redis.HasErrorPrefix(err, "section (memory)") {
			return "", nil // the embedded server, which never evicts
		}
		return "", fmt.Errorf("read the memory policy of redis: %w", err)
	}
	for line := range strings.Lines(info) {
		if policy, ok := strings.CutPrefix(line, "maxmemory_policy:"); ok {
			return strings.TrimSpace(policy), nil
		}
	}
	return "", nil
}

// probe tells by doing it whether the store takes changes.
func (s *Store) probe(ctx context.Context) error {
	key := s.config.Prefix + ":{" + s.config.Realm + "}:probe"
	err := s.client.Set(ctx, key, "", time.Minute).Err()
	for _, refusal := range []string{"READONLY", "NOREPLICAS", "OOM", "MISCONF"} {
		if redis.HasErrorPrefix(err, refusal) {
			return fmt.Errorf("%w: %w", ErrReadOnly, err)
		}
	}
	if err != nil {
		return fmt.Errorf("write to redis: %w", err)
	}
	return nil
}
