package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	// garbagePercent lets six times as much garbage gather as is in use, where Go's default
	// is as much: what a sidecar has in use is a few MiB, and to collect more often would
	// cost more of a request than to decide on it. Many connections have more in use;
	// then the limit has garbage collected sooner.
	garbagePercent = 600
	// unlimitedPercent is for where there is no limit that would.
	unlimitedPercent = 300
	// memoryLimit is where the kernel tells a container's limit (cgroup v2).
	memoryLimit = "/sys/fs/cgroup/memory.max"
)

// settleMemory sets how garbage is collected, unless the environment says it (GOGC,
// GOMEMLIMIT). Near the container's limit it is collected sooner, rather than that the
// kernel kills the sidecar and with it the way to the app.
func settleMemory(limitFile string) {
	limited := os.Getenv("GOMEMLIMIT") != ""
	if limit, ok := readLimit(limitFile); ok && !limited {
		debug.SetMemoryLimit(limit / 10 * 9) // the rest is for what is not Go's: the program itself, and the kernel's
		limited = true
	}
	switch {
	case os.Getenv("GOGC") != "":
	case limited:
		debug.SetGCPercent(garbagePercent)
	default:
		debug.SetGCPercent(unlimitedPercent)
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
