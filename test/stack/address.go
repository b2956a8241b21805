package stack

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// FreeAddress is one of this machine on which nothing listens.
func FreeAddress(t testing.TB) string {
	t.Helper()
	return "127.0.0.1:" + FreePort(t)
}

// FreePort is one on which nothing listens.
func FreePort(t testing.TB) string {
	t.Helper()
	return FreePorts(t, 1)[0]
}

// FreePorts are n of them, no two the same. They lie below those that a system gives
// to connections: one of these may be taken again before a program listens on it.
func FreePorts(t testing.TB, n int) []string {
	t.Helper()
	const lowest, highest = 10000, 32000
	var ports []string
	for range 100 * n {
		port := strconv.Itoa(lowest + rand.IntN(highest-lowest))
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		defer listener.Close() // held until all are chosen, or one could be chosen twice
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	t.Fatal("no port is free")
	return nil
}
