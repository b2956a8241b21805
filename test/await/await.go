// Package await waits in tests for what happens in its own time.
//
// It serves tests only, imports the standard library only, and must never be used to
// wait for a time.
package await

import (
	"context"
	"testing"
	"time"
)

// Until tries until the error is nil, and fails the test where that takes longer than
// the limit. what completes the sentence "waited in vain until".
func Until(t testing.TB, limit time.Duration, what string, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	var last error
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		if last == nil || ctx.Err() == nil { // what the end of the wait breaks off tells nothing
			last = err
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s: %v", what, last)
		case <-ticker.C:
		}
	}
}
