package control_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/control"
)

// Without the keys no heartbeat is one; with them, no content crashes, and what is
// read can be said again.
func FuzzDecodeHeartbeat(f *testing.F) {
	own, foreign := ring(f, namespace, "1 primary"), ring(f, namespace, "2 primary")
	good := control.Encode(f, own, "portal", control.Heartbeat{
		Pod: "pod", PodUID: "uid", Generation: 3, Fault: "<fault>", At: time.Unix(1, 0), Keys: control.KeyState{Primary: 1, Known: []uint32{1}},
	})
	f.Add(good)
	f.Add(good[5 : len(good)-32])
	f.Add([]byte(`{"pod":1}`))
	f.Add([]byte(`{"generation":-1,"known":[4294967296]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		if h, err := control.DecodeHeartbeat(own, "portal", "uid", in); err == nil && !bytes.Equal(in, good) {
			t.Fatalf("read without the keys: %+v", h)
		}
		if h, err := control.DecodeHeartbeat(foreign, "portal", "uid", in); err == nil {
			t.Fatalf("read without the keys: %+v", h)
		}
		mac, err := own.MAC("control-heartbeat", 1, []byte("portal"), []byte("uid"), in)
		if err != nil {
			t.Fatal(err)
		}
		blob := append(append(binary.BigEndian.AppendUint32([]byte{1}, 1), in...), mac...)
		h, err := control.DecodeHeartbeat(own, "portal", "uid", blob)
		if err != nil {
			return
		}
		if h.Generation < 0 || h.PodUID != "uid" {
			t.Errorf("read %+v", h)
		}
		again, err := control.DecodeHeartbeat(own, "portal", "uid", control.Encode(t, own, "portal", *h))
		if err != nil || again.Generation != h.Generation {
			t.Errorf("said again: %+v, %v", again, err)
		}
	})
}
