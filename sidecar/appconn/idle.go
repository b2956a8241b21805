package appconn

import (
	"sync"
	"time"
)

// ticksPerTimeout is how finely the idle time is measured.
const ticksPerTimeout = 4

// idle holds the connections that wait for a request. It counts ticks of a quarter
// of the timeout, rather than to look at the clock with every request: a connection
// stays for three to four of them.
type idle struct {
	limit   int
	timeout time.Duration

	mu      sync.Mutex
	conns   []*conn // the longest idle first
	ticks   uint
	timer   *time.Timer // runs while conns are idle; nil before the first
	ticking bool
	closing bool
}

// take returns the connection that was used last, or nil.
func (i *idle) take() *conn {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closing = false
	last := len(i.conns) - 1
	if last < 0 {
		return nil
	}
	c := i.conns[last]
	i.conns[last] = nil
	i.conns = i.conns[:last]
	return c
}

// put keeps c for the next request, or closes it where enough are kept.
func (i *idle) put(c *conn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closing || len(i.conns) >= i.limit || i.timeout <= 0 {
		_ = c.Close()
		return
	}
	c.used, c.retire = true, i.ticks+ticksPerTimeout
	i.conns = append(i.conns, c)
	if !i.ticking {
		i.ticking = true
		i.wait()
	}
}

func (i *idle) wait() {
	if i.timer == nil {
		i.timer = time.AfterFunc(i.timeout/ticksPerTimeout, i.tick)
		return
	}
	i.timer.Reset(i.timeout / ticksPerTimeout)
}

// tick closes the connections whose time is over.
func (i *idle) tick() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ticks++
	over := 0
	for over < len(i.conns) && i.conns[over].retire <= i.ticks {
		_ = i.conns[over].Close()
		over++
	}
	i.drop(over)
	if i.ticking = len(i.conns) > 0; i.ticking {
		i.wait()
	}
}

func (i *idle) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closing = true
	for _, c := range i.conns {
		_ = c.Close()
	}
	i.drop(len(i.conns))
}

// drop forgets the first n.
func (i *idle) drop(n int) {
	kept := copy(i.conns, i.conns[n:])
	clear(i.conns[kept:])
	i.conns = i.conns[:kept]
}
