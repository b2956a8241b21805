package operator

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/sallyport/sallyport/test/apiserver"
)

// shared is the API server that a package's tests use one after another. It starts
// with the first test that asks for it; Main stops it.
var shared struct {
	start  sync.Once
	server *apiserver.Server
	stop   func() error
	err    error
}

// Main runs a package's tests, takes away what they share, and returns the exit code.
func Main(m *testing.M) int {
	defer cleanup()
	code := m.Run()
	if shared.server == nil {
		return code
	}
	if err := shared.stop(); err != nil {
		fmt.Fprintf(os.Stderr, "stop the API server: %v\n", err)
		return 1
	}
	return code
}

// Shared is a Cluster on the API server of the whole package.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	assets := os.Getenv(apiserver.Assets)
	if assets == "" {
		t.Skip(apiserver.Missing)
	}
	shared.start.Do(func() { shared.server, shared.stop, shared.err = apiserver.Run(assets) })
	if shared.err != nil {
		t.Fatalf("start the API server of %s: %v", assets, shared.err)
	}
	return On(t, shared.server)
}
