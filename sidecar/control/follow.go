package control

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/seal"
)

const (
	// defaultPause makes a follower look every one to two seconds: one round trip,
	// whose cost depends neither on the size of the policy nor on the number of
	// sidecars.
	defaultPause = time.Second
	// judgeEvery is how often what was refused is read once more.
	judgeEvery = 5 * time.Second
	// beatsKept is how long heartbeats of a policy without a controller stay.
	beatsKept = time.Hour
	tailSize  = sha256.Size
)

// say writes a heartbeat and returns the server's time.
const say = `redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return redis.call('TIME')`

// FollowerConfig is what a Follower needs.
type FollowerConfig struct {
	// Channel to follow.
	Channel *Channel
	// Policy to follow, by name.
	Policy string
	// Pod, PodUID and Version go into the heartbeats.
	Pod, PodUID, Version string
	// Adopt puts an authentic record in force. Where it fails, the one before stays.
	Adopt func(context.Context, *policy.Record) error
	// Report learns why what is published is not in force, once for each reason, and
	// nil once it is again.
	Report func(context.Context, error)
	// Fault is what else is wrong with the sidecar, "" for nothing. Optional.
	Fault func() string
	// Pause between two looks is this, and at most as much again by chance, so that
	// followers that started together do not stay together. 0 is a second.
	Pause time.Duration
}

// Follower keeps a sidecar obeying one policy. Its calls come from one goroutine.
type Follower struct {
	FollowerConfig

	jitter *rand.Rand
	// current is in force; tail is the end of its sealed form, its MAC.
	current *policy.Record
	tail    string
	// judged is the tail of what was refused, and by which ring. Somebody may have
	// put the tail of a good record behind something else: it is judged again later.
	judged     string
	judgedBy   *seal.Ring
	judgeAgain time.Time
	// fault is what heartbeats say of the policy; away is that Redis fails.
	fault string
	away  bool
	// ahead is how far the clock of Redis is ahead of ours.
	ahead time.Duration
}

// NewFollower returns a Follower, which does nothing before Run.
func NewFollower(c FollowerConfig) (*Follower, error) {
	if err := c.Channel.check(c.Policy); err != nil {
		return nil, fmt.Errorf("follow a policy: %w", err)
	}
	if c.PodUID == "" || len(c.PodUID) > maxName {
		return nil, errors.New("follow a policy: the pod has no UID, or one that is none")
	}
	if c.Pause <= 0 {
		c.Pause = defaultPause
	}
	seed := fnv.New64a()
	_, _ = seed.Write([]byte(c.PodUID))
	//nolint:gosec // only spreads the load; nothing depends on it being unforeseeable
	return &Follower{FollowerConfig: c, jitter: rand.New(rand.NewPCG(seed.Sum64(), 0))}, nil
}

// Run follows until the context ends, and then takes its heartbeat back.
func (f *Follower) Run(ctx context.Context) {
	defer f.leave(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		wait := f.Pause + time.Duration(f.jitter.Int64N(int64(f.Pause)))
		if f.look(ctx) {
			wait = 0 // the next heartbeat tells of it
		}
		timer.Reset(wait)
	}
}

// look says a heartbeat, sees whether something else is published than before, and
// reports whether that changed what is in force.
func (f *Follower) look(ctx context.Context) (changed bool) {
	tail, err := f.beat(ctx)
	switch {
	case errors.Is(err, errGarbage):
		f.report(ctx, err)
	case ctx.Err() != nil:
	case err != nil:
		f.reportAway(ctx, err)
	case tail == "":
		f.report(ctx, ErrNotPublished)
	case f.current != nil && tail == f.tail:
		f.report(ctx, nil)
	case tail == f.judged && f.judgedBy == f.Channel.ring.Load() && f.Channel.clock().Before(f.judgeAgain):
		// It was refused a moment ago.
	default:
		return f.take(ctx)
	}
	return false
}

// beat says a heartbeat and reads the end of what is published, in one round trip.
// That the heartbeat cannot be written is no reason not to follow.
func (f *Follower) beat(ctx context.Context) (tail string, err error) {
	c := f.Channel
	ring := c.ring.Load()
	h := Heartbeat{
		Pod: f.Pod, PodUID: f.PodUID, Version: f.Version, Fault: f.faults(), At: c.clock().Add(f.ahead),
		Keys: KeyState{Primary: ring.Primary(), Known: slices.Sorted(slices.Values(ring.Usable()))},
	}
	if f.current != nil {
		h.PolicyUID, h.Generation = f.current.UID, f.current.Generation
	}
	blob, err := h.encode(ring, f.Policy)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	begin := c.clock()
	pipe := c.client.Pipeline()
	said := pipe.Eval(ctx, say, []string{c.beatsKey(f.Policy)}, f.PodUID, blob, beatsKept.Milliseconds())
	end := pipe.GetRange(ctx, c.recordKey(f.Policy), -tailSize, -1)
	_, _ = pipe.Exec(ctx) // the commands carry their own errors
	if now, err := said.Int64Slice(); err == nil && len(now) == 2 {
		middle := begin.Add(c.clock().Sub(begin) / 2)
		f.ahead = time.Unix(now[0], now[1]*int64(time.Microsecond)).Sub(middle)
	}
	tail, err = end.Result()
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		return "", errGarbage
	}
	return tail, err
}

func (f *Follower) faults() string {
	also := ""
	if f.Fault != nil {
		also = f.Fault()
	}
	if f.fault != "" && also != "" {
		return f.fault + "; " + also
	}
	return f.fault + also
}

// take reads what is published and puts it in force.
func (f *Follower) take(ctx context.Context) bool {
	ring := f.Channel.ring.Load()
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	sealed, err := f.Channel.fetch(bounded, f.Channel.client, f.Policy)
	if err != nil || len(sealed) == 0 {
		return false // the next look tells what became of it
	}
	tail := string(sealed[max(0, len(sealed)-tailSize):])
	r, err := f.Channel.open(ring, sealed, f.Policy)
	if err == nil {
		err = r.Supersedes(f.current)
	}
	if err == nil {
		err = f.Adopt(ctx, r)
	}
	if err != nil {
		f.judged, f.judgedBy, f.judgeAgain = tail, ring, f.Channel.clock().Add(judgeEvery)
		f.report(ctx, err)
		return false
	}
	f.current, f.tail = r, tail
	f.judged, f.judgedBy = "", nil
	f.report(ctx, nil)
	return true
}

// report notes what is wrong with what is published, and tells it where that is news.
func (f *Follower) report(ctx context.Context, err error) {
	fault := ""
	if err != nil {
		fault = err.Error()
	}
	if fault != f.fault || f.away {
		f.fault, f.away = fault, false
		f.Report(ctx, err)
	}
}

// reportAway tells once that Redis does not let itself be asked. Heartbeats say
// nothing of it: nobody could read them.
func (f *Follower) reportAway(ctx context.Context, err error) {
	if !f.away {
		f.away = true
		f.Report(ctx, fmt.Errorf("redis cannot be asked: %w", err))
	}
}

// leave takes the heartbeat back: a pod that ends is not one that hangs.
func (f *Follower) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	// Where this fails, the entry ends by its age.
	_ = f.Channel.client.HDel(ctx, f.Channel.beatsKey(f.Policy), f.PodUID).Err()
}
