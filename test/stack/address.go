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

// FreePort is one on which nothing listens. It lies below those that a system gives
// to connections: one of these may be taken again before a program listens on it.
func FreePort(t testing.TB) string {
	t.Helper()
	const lowest, highest = 10000, 32000
	for range 100 {
		port := strconv.Itoa(lowest + rand.IntN(highest-lowest))
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		_ = listener.Close() // it was only a try
		return port
	}
	t.Fatal("no port is free")
	return ""
}
