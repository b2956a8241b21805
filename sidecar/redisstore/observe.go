package redisstore

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// Observer learns of every command: its name, how long it took and how it ended.
// It never learns of keys, arguments or answers. A pipeline is observed as its
// first command, and a connection that is made as "dial".
type Observer interface {
	ObserveRedis(command string, d time.Duration, err error)
}

// Observe tells an Observer of every command of a client, for as long as the
// client lives. A client serves the stores of several policies one after another,
// so it is observed once and not by each of them.
func Observe(client redis.UniversalClient, observer Observer, clock func() time.Time) {
	client.AddHook(hook{observer: observer, clock: clock})
}

// hook tells an Observer.
type hook struct {
	observer Observer
	clock    func() time.Time
}

// DialHook observes connections.
func (h hook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		begin := h.clock()
		conn, err := next(ctx, network, addr)
		h.observe("dial", begin, err)
		return conn, err
	}
}

// ProcessHook observes single commands.
func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		begin := h.clock()
		err := next(ctx, cmd)
		h.observe(cmd.Name(), begin, err)
		return err
	}
}

// ProcessPipelineHook observes pipelines.
func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		begin := h.clock()
		err := next(ctx, cmds)
		if len(cmds) > 0 {
			h.observe(cmds[0].Name(), begin, cmds[0].Err())
		}
		return err
	}
}

// observe passes on what is a fault: absence is an answer, and so is a script
// that the server has not seen yet.
func (h hook) observe(command string, begin time.Time, err error) {
	if errors.Is(err, redis.Nil) || redis.HasErrorPrefix(err, "NOSCRIPT") {
		err = nil
	}
	h.observer.ObserveRedis(command, h.clock().Sub(begin), err)
}
