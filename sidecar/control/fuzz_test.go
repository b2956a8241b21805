package control_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sidecar/control"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
	"github.com/sallyport/sallyport/sidecar/seal"
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

// What stands where a policy is published is a record of this policy and namespace,
// sealed with the namespace's keys, or it is foreign.
func FuzzPublished(f *testing.F) {
	store := redistest.Mini(f)
	client := redis.NewClient(&redis.Options{Addr: store.Addr()})
	f.Cleanup(func() { _ = client.Close() })
	c := channel(f, client)
	own := ring(f, namespace, "1 primary")
	good := sealed(f, own, record("portal"))
	f.Add(good)
	f.Add(sealed(f, own, record("other")))
	f.Add(sealed(f, ring(f, "elsewhere", "1 primary"), record("portal")))
	f.Add(good[:len(good)-32])
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, blob := range [][]byte{in, resealed(own, in)} {
			if err := store.Set(recordKey("portal"), string(blob)); err != nil {
				t.Fatal(err)
			}
			r, _, err := c.Published(t.Context(), "portal")
			switch {
			case err != nil && r != nil:
				t.Fatalf("read %+v in spite of %v", r, err)
			case err != nil:
			case r.Policy != "portal" || !strings.HasPrefix(r.Realm, namespace+"/") || len(r.Rules.Validate()) > 0:
				t.Fatalf("read %+v", r)
			case bytes.Equal(blob, in) && !bytes.Equal(in, good):
				t.Fatalf("read without the keys: %+v", r)
			}
		}
	})
}

// resealed is a body under a right MAC, as only a holder of the keys makes it.
func resealed(r *seal.Ring, body []byte) []byte {
	mac := hmac.New(sha256.New, r.Secrets("control-record")[0])
	mac.Write(body)
	return mac.Sum(bytes.Clone(body))
}
