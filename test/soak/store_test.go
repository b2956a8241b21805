package soak_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
)

// store is one primary, one replica and three Sentinels.
type store struct {
	t         *testing.T
	nodes     []*redistest.Node
	sentinels []*redistest.Node
}

func newStore(t *testing.T) *store {
	t.Helper()
	args := func() []string {
		return []string{
			"--appendonly", "yes", "--appendfsync", "everysec", "--dir", t.TempDir(), "--repl-diskless-sync-delay", "0",
			"--min-replicas-to-write", "1", "--min-replicas-max-lag", "10",
		}
	}
	primary := redistest.Server(t, args()...)
	s := &store{t: t, nodes: []*redistest.Node{primary, redistest.Replica(t, primary, args()...)}}
	s.sentinels = redistest.Sentinels(t, primary, 3)
	return s
}

func (s *store) url() string {
	var hosts []string
	for _, n := range s.sentinels {
		hosts = append(hosts, n.Addr)
	}
	return "redis+sentinel://" + strings.Join(hosts, ",") + "/" + redistest.Master + "/0"
}

// primary is the node that the first Sentinel takes for the primary, and the other.
func (s *store) primary() (primary, other *redistest.Node) {
	s.t.Helper()
	if s.sentinels[0].PrimaryOf(redistest.Master) == s.nodes[0].Addr {
		return s.nodes[0], s.nodes[1]
	}
	return s.nodes[1], s.nodes[0]
}

// fault is something that happens to Redis.
type fault struct {
	name string
	do   func()
}

// once does it, and waits until the sidecars are all ready again.
func (r *run) once(f fault) {
	r.Helper()
	begin := time.Now()
	refused := r.figures.away.Load()
	r.say("Redis is %s", f.name)
	f.do()
	r.waitFor("the sidecars to be ready after Redis was "+f.name, 2*time.Minute, func() bool {
		for _, s := range r.sidecars {
			if !s.ready() {
				return false
			}
		}
		return true
	})
	took := time.Since(begin)
	r.say("all is well again after %.1f s", took.Seconds())
	r.figures.fault(f.name, took, r.figures.away.Load()-refused)
	r.retry()
}

// kill ends the primary, which is started again at once with what it had written.
func (r *run) kill() {
	primary, _ := r.redis.primary()
	primary.Kill()
	primary.Restart()
	r.settle()
}

// pause stops the primary until another has taken its place; then it wakes and
// takes itself for the primary, until a Sentinel tells it otherwise.
func (r *run) pause() {
	primary, other := r.redis.primary()
	primary.Freeze()
	r.promoted(other)
	primary.Thaw()
	r.settle()
}

// failOver loses the primary for good right after a recovery code was acknowledged
// as spent. It comes back as a replica.
func (r *run) failOver() {
	primary, other := r.redis.primary()
	spend := r.spendNow(primary.Kill)
	r.promoted(other)
	r.mu.Lock()
	r.urgent = append(r.urgent, spend...)
	r.mu.Unlock()
	primary.Restart()
	r.settle()
}

func (r *run) promoted(to *redistest.Node) {
	r.Helper()
	r.waitFor("the Sentinels to promote the replica", 90*time.Second, func() bool {
		for _, s := range r.redis.sentinels {
			if s.PrimaryOf(redistest.Master) != to.Addr {
				return false
			}
		}
		return true
	})
}

// settle waits until there is one primary, and one replica of it that keeps up. What
// was a primary before may have to be told: Sentinel does so, in its own time.
func (r *run) settle() {
	r.Helper()
	r.waitFor("a primary and its replica", 90*time.Second, func() bool {
		primary, other := r.redis.primary()
		host, port, err := net.SplitHostPort(primary.Addr)
		if err != nil {
			r.Fatal(err)
		}
		if strings.Contains(info(primary), "role:slave") {
			return false // in the middle of a failover
		}
		if strings.Contains(info(other), "role:master") {
			other.Do("REPLICAOF", host, port)
		}
		return strings.Contains(info(primary), "state=online") && strings.Contains(info(other), "master_link_status:up")
	})
}

func info(n *redistest.Node) string {
	text, _ := n.Do("INFO", "replication").(string)
	return text
}
