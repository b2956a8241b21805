package redistest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clusterSlots is the number of hash slots of a cluster.
const clusterSlots = 16384

// Cluster starts a cluster of three primaries that hold all slots.
func Cluster(t testing.TB) []*Node {
	t.Helper()
	const size = 3
	nodes := make([]*Node, size)
	buses := make([]string, size)
	for i := range nodes {
		// A bus port of its own, so that no port needs room for another 10,000.
		nodes[i] = start(t, ready, func(port string) []string {
			buses[i] = freePort(t)
			return []string{
				"--port", port,
				"--cluster-enabled", "yes",
				"--cluster-port", buses[i],
				"--cluster-node-timeout", "5000",
			}
		})
	}
	for i, n := range nodes {
		n.Do("CLUSTER", "ADDSLOTSRANGE", i*clusterSlots/size, (i+1)*clusterSlots/size-1)
		n.Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
	}
	for i, n := range nodes[1:] {
		host, port, err := net.SplitHostPort(n.Addr)
		if err != nil {
			t.Fatal(err)
		}
		nodes[0].Do("CLUSTER", "MEET", host, port, buses[i+1])
	}
	for _, n := range nodes {
		n.Await("Cluster state changed: ok")
	}
	return nodes
}

// Replica starts a replica of a primary and waits until it has copied it.
func Replica(t testing.TB, of *Node, args ...string) *Node {
	t.Helper()
	host, port, err := net.SplitHostPort(of.Addr)
	if err != nil {
		t.Fatal(err)
	}
	n := Server(t, append([]string{"--replicaof", host + " " + port}, args...)...)
	n.Await("MASTER <-> REPLICA sync: Finished with success")
	return n
}

// Master is the name that Sentinel gives the primary it watches.
const Master = "doors"

// Sentinel starts a Sentinel that watches a primary and its replica. Both ask
// the default user for the password if it is not empty, and so does Sentinel.
func Sentinel(t testing.TB, password string) (sentinel, primary, replica *Node) {
	t.Helper()
	args := []string{"--repl-diskless-sync-delay", "0"}
	var auth string
	if password != "" {
		args = append(args, "--requirepass", password, "--masterauth", password)
		auth = "requirepass " + password + "\nsentinel auth-pass " + Master + " " + password
	}
	primary = Server(t, args...)
	replica = Replica(t, primary, args...)
	sentinel = watching(t, primary, 1, time.Second, auth)
	return sentinel, primary, replica
}

// watching starts a Sentinel that takes a primary for lost after so long, and promotes
// a replica where so many agree. It waits until the Sentinel knows of the replica.
func watching(t testing.TB, primary *Node, quorum int, lostAfter time.Duration, more string) *Node {
	t.Helper()
	return start(t, "+slave slave", func(port string) []string {
		dir := t.TempDir()
		config := filepath.Join(dir, "sentinel.conf")
		write(t, config, strings.Join([]string{
			"bind 127.0.0.1",
			"port " + port,
			"dir " + dir,
			fmt.Sprintf("sentinel monitor %s %s %d", Master, strings.Replace(primary.Addr, ":", " ", 1), quorum),
			fmt.Sprintf("sentinel down-after-milliseconds %s %d", Master, lostAfter.Milliseconds()),
			fmt.Sprintf("sentinel failover-timeout %s %d", Master, 3*lostAfter.Milliseconds()),
			more,
		}, "\n"))
		return []string{config, "--sentinel"}
	})
}

// Sentinels starts as many Sentinels, which watch a primary together and agree by
// majority, and waits until they know each other and its replica.
func Sentinels(t testing.TB, primary *Node, size int) []*Node {
	t.Helper()
	nodes := make([]*Node, size)
	for i := range nodes {
		nodes[i] = watching(t, primary, size/2+1, 2*time.Second, "")
	}
	for i, n := range nodes {
		for j, other := range nodes {
			if i != j {
				n.Await("+sentinel sentinel " + strings.TrimSpace(other.sentinelID()))
			}
		}
	}
	return nodes
}

// sentinelID is the name by which a Sentinel is known to the others.
func (n *Node) sentinelID() string {
	n.t.Helper()
	id, ok := n.Do("SENTINEL", "MYID").(string)
	if !ok {
		n.t.Fatalf("the Sentinel at %s has no id", n.Addr)
	}
	return id
}

// PrimaryOf asks a Sentinel for the address of the primary.
func (n *Node) PrimaryOf(name string) string {
	n.t.Helper()
	found, _ := n.Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name).([]any)
	if len(found) != 2 {
		n.t.Fatalf("the Sentinel at %s knows no primary %q", n.Addr, name)
	}
	return net.JoinHostPort(found[0].(string), found[1].(string))
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
