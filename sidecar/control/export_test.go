package control

import (
	"testing"

	"github.com/sallyport/sallyport/sidecar/seal"
)

// Encode seals a heartbeat as a sidecar does.
func Encode(t testing.TB, ring *seal.Ring, policyName string, h Heartbeat) []byte {
	t.Helper()
	blob, err := h.encode(ring, policyName)
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

// DecodeHeartbeat reads a heartbeat as a controller does.
var DecodeHeartbeat = decodeHeartbeat
