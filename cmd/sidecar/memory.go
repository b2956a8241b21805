package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	// garbagePercent lets twice as much garbage gather as is in use, where Go's default is
	// as much: what a sidecar has in use is a few MiB. Beyond that nothing was gained when
	// it was measured side by side.
	garbagePercent = 200
	// memoryLimit is where the kernel tells a container's limit (cgroup v2).
	memoryLimit = "/sys/fs/cgroup/memory.max"
)

// settleMemory sets how garbage is collected, unless the environment says it (GOGC,
// GOMEMLIMIT). Near the container's limit it is collected sooner, rather than that the
// kernel kills the sidecar and with it the way to the app.
func settleMemory(limitFile string) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	if limit, ok := readLimit(limitFile); ok && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit / 10 * 9) // the rest is for what is not Go's: the program itself, and the kernel's
	}
}

// readLimit returns a container's limit in bytes. It is not ok where there is none.
func readLimit(file string) (limit int64, ok bool) {
	text, err := os.ReadFile(file) //nolint:gosec // a path of the kernel's, or of a test
	if err != nil {
		return 0, false // no container, or none that tells
	}
	limit, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return limit, err == nil && limit > 0
}
