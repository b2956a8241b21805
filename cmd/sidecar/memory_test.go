package main

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
)

// The collector's settings are the process's: the test is not parallel, and puts them
// back.
func TestMemoryStaysBelowTheContainersLimit(t *testing.T) {
	limit, percent := debug.SetMemoryLimit(-1), debug.SetGCPercent(100)
	t.Cleanup(func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
	})
	for _, tc := range []struct {
		name, file, gogc, gomemlimit string
		want                         int64
		wantPercent                  int
	}{
		{"a limit", "134217728\n", "", "", 120795948, garbagePercent},
		{"no limit", "max\n", "", "", math.MaxInt64, garbagePercent},
		{"no container", "", "", "", math.MaxInt64, garbagePercent},
		{"an odd file", "lots", "", "", math.MaxInt64, garbagePercent},
		{"as the environment says", "134217728\n", "50", "64MiB", math.MaxInt64, 100},
	} {
		t.Run(tc.name, func(t *testing.T) {
			debug.SetMemoryLimit(math.MaxInt64)
			debug.SetGCPercent(100)
			t.Setenv("GOGC", tc.gogc)
			t.Setenv("GOMEMLIMIT", tc.gomemlimit)
			file := filepath.Join(t.TempDir(), "memory.max")
			if tc.file != "" {
				if err := os.WriteFile(file, []byte(tc.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			settleMemory(file)
			if got := debug.SetMemoryLimit(-1); got != tc.want {
				t.Errorf("the limit is %d, want %d", got, tc.want)
			}
			if got := debug.SetGCPercent(100); got != tc.wantPercent {
				t.Errorf("garbage may grow by %d %%, want %d", got, tc.wantPercent)
			}
		})
	}
}
