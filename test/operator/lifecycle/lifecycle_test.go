// Package lifecycle_test follows policies from their creation to their end on a real
// API server, with the operator and the sidecars as processes.
//
// It may import the test helpers. It must never reach into the operator.
package lifecycle_test

import (
	"os"
	"testing"

	"github.com/sallyport/sallyport/test/operator"
)

func TestMain(m *testing.M) { os.Exit(operator.Main(m)) }
