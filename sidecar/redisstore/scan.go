package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// pageKeys is how many keys Redis looks at in one step: some ten microseconds.
	pageKeys = 200
	// pagePause lets everyone else have their turn between two steps.
	pagePause = 10 * time.Millisecond
)

// errMoved means that keys may have been missed.
var errMoved = errors.New("the servers of redis changed during the walk over its keys")

// page is what one step of a walk found.
type page func(ctx context.Context, keys []string) error

// walk calls do for all keys that match, one page after another. Every key that is
// there throughout is seen at least once; one may be seen twice while Redis resizes
// its tables. Where a failover or a resharding may have hidden keys, it fails.
func walk(ctx context.Context, client redis.UniversalClient, match string, do page) error {
	nodes, before, err := primaries(ctx, client)
	if err != nil {
		return err
	}
	for _, node := range nodes {
		if err := walkNode(ctx, node, match, do); err != nil {
			return err
		}
	}
	_, after, err := primaries(ctx, client)
	if err != nil {
		return err
	}
	if before != after {
		return errMoved
	}
	return nil
}

func walkNode(ctx context.Context, node redis.Cmdable, match string, do page) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for cursor := uint64(0); ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pause.C:
		}
		keys, next, err := node.Scan(ctx, cursor, match, pageKeys).Result()
		if err != nil {
			return fmt.Errorf("walk over the keys of redis: %w", err)
		}
		if err := do(ctx, keys); err != nil {
			return err
		}
		if cursor = next; cursor == 0 {
			return nil
		}
		pause.Reset(pagePause)
	}
}

// primaries returns the servers that hold the keys, and a text that differs where
// they, or what each holds, differ. A cursor means nothing to another server.
func primaries(ctx context.Context, client redis.UniversalClient) ([]redis.Cmdable, string, error) {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		id, err := runID(ctx, client)
		return []redis.Cmdable{client}, id, err
	}
	slots, err := cluster.ClusterSlots(ctx).Result() //nolint:staticcheck // what ACL lets a user ask, as the client itself does
	if err != nil {
		return nil, "", fmt.Errorf("read the slots of the cluster: %w", err)
	}
	slices.SortFunc(slots, func(a, b redis.ClusterSlot) int { return cmp.Compare(a.Start, b.Start) })
	var state strings.Builder
	for _, s := range slots {
		if len(s.Nodes) == 0 {
			return nil, "", errors.New("read the slots of the cluster: slots without a server")
		}
		fmt.Fprintf(&state, "%d-%d %s\n", s.Start, s.End, s.Nodes[0].ID)
	}
	var mu sync.Mutex
	var nodes []redis.Cmdable
	var ids []string
	err = cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		id, err := runID(ctx, node)
		mu.Lock()
		defer mu.Unlock()
		nodes, ids = append(nodes, node), append(ids, id)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	slices.Sort(ids)
	return nodes, state.String() + strings.Join(ids, "\n"), nil
}

// runID names a server process.
func runID(ctx context.Context, client redis.Cmdable) (string, error) {
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		if redis.HasErrorPrefix(err, "section (server)") {
			return "", nil // the embedded server, which is the only one
		}
		return "", fmt.Errorf("ask redis who it is: %w", err)
	}
	for line := range strings.Lines(info) {
		if id, ok := strings.CutPrefix(line, "run_id:"); ok {
			return strings.TrimSpace(id), nil
		}
	}
	return "", nil
}

// realmOf returns realm and user of the key of an enrolment.
func realmOf(prefix, key string) (realm, user string, ok bool) {
	tag, ok := strings.CutPrefix(key, prefix+":{")
	if !ok {
		return "", "", false
	}
	if tag, ok = strings.CutSuffix(tag, "}:u"); !ok {
		return "", "", false
	}
	realm, user, ok = strings.Cut(tag, ":")
	return realm, user, ok && wellNamed(user) && checkNames(prefix, realm) == nil
}

// CountEnrolled returns how many users of each realm are enrolled, in one slow walk
// over all keys. Realms without any are absent.
func CountEnrolled(ctx context.Context, client redis.UniversalClient, prefix string) (map[string]int64, error) {
	if err := checkNames(prefix, "any"); err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	err := walk(ctx, client, prefix+":{*}:u", func(_ context.Context, keys []string) error {
		for _, key := range keys {
			if realm, _, ok := realmOf(prefix, key); ok {
				counts[realm]++
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count the enrolled: %w", err)
	}
	return counts, nil
}

// Purge deletes every key of a realm, for ever: enrolments, counters, sign-ins and
// the epoch. It returns how many it deleted. The epoch goes first: from then on every
// sidecar of the realm takes the store for lost and enrols nobody, so that no user is
// taken for unenrolled while the purge lasts, or if it ends half way. Run again, it
// goes on.
func Purge(ctx context.Context, client redis.UniversalClient, prefix, realm string) (int, error) {
	if err := checkNames(prefix, realm); err != nil {
		return 0, err
	}
	if strings.Count(realm, "/") != 1 {
		// The keys of a bare namespace are the control channel's.
		return 0, fmt.Errorf("purge a realm: %q is not <namespace>/<workspace>", realm)
	}
	n, err := client.Del(ctx, epochKey(prefix, realm)).Result()
	if err != nil {
		return 0, fmt.Errorf("purge a realm: %w", err)
	}
	deleted := int(n)
	// Names have none of the characters that mean something in a pattern.
	err = walk(ctx, client, prefix+":{"+realm+"[:}]*", func(ctx context.Context, keys []string) error {
		if len(keys) == 0 {
			return nil
		}
		pipe := client.Pipeline()
		gone := make([]*redis.IntCmd, len(keys))
		for i, key := range keys {
			gone[i] = pipe.Del(ctx, key)
		}
		_, err := pipe.Exec(ctx)
		for _, cmd := range gone {
			deleted += int(cmd.Val())
		}
		return err
	})
	if err != nil {
		return deleted, fmt.Errorf("purge a realm: %w", err)
	}
	return deleted, nil
}
