package appconn_test

import (
	"net/http"
	"sync"
	"testing"
	"time"
)

func TestIdleConnectionsAreClosedInTime(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	c := newClient(a, true, func(s *http.Transport) { s.IdleConnTimeout = 40 * time.Millisecond })
	for conn := range 3 { // the clock of idle connections stops and starts again
		c.do(t, a, conn, ask{method: http.MethodGet})
		c.dialed.awaitClosed(t, conn)
	}
}

func TestNoMoreConnectionsAreKeptThanAllowed(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]int{"two": 2, "none": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all sync.WaitGroup
			reached := make(chan struct{}, 4)
			answered := make(chan struct{})
			together := []step{read, func(*peer) { reached <- struct{}{}; wait(answered) }, say(ok)}
			a := newApp(t, together, together, together, together)
			c := newClient(a, true, func(s *http.Transport) { s.MaxIdleConnsPerHost = limit })
			for i := range 4 {
				all.Go(func() { c.do(t, a, i, ask{method: http.MethodGet}) })
			}
			for range 4 {
				wait(reached)
			}
			close(answered)
			all.Wait()
			open := 0
			for _, conn := range c.dialed.conns {
				select {
				case <-conn.closed:
				default:
					open++
				}
			}
			if open != limit {
				t.Errorf("%d connections are kept", open)
			}
			c.close()
			c.dialed.awaitAllClosed(t)
		})
	}
}

// After Close, an exchange that was under way leaves no connection, and a later
// request finds its way all the same.
func TestCloseIdleConnectionsHoldsForThoseInUse(t *testing.T) {
	t.Parallel()
	inUse := make(chan struct{})
	closed := make(chan struct{})
	a := newApp(t, []step{read, func(*peer) { close(inUse); wait(closed) }, say(ok)})
	c := newClient(a, true)
	var done sync.WaitGroup
	done.Go(func() { c.do(t, a, 0, ask{method: http.MethodGet}) })
	wait(inUse)
	c.close()
	close(closed)
	done.Wait()
	c.dialed.awaitClosed(t, 0)
	for i := range 2 {
		if o := c.do(t, a, 1+i, ask{method: http.MethodGet}); o.Err != "" {
			t.Error(o.Err)
		}
	}
	if len(c.dialed.conns) != 2 {
		t.Errorf("%d connections were made", len(c.dialed.conns))
	}
	c.close()
}
