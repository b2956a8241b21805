package control_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/control"
	"github.com/sallyport/sallyport/sidecar/redisstore/redistest"
)

func TestHeartbeatSaysWhatTheSidecarObeys(t *testing.T) {
	t.Parallel()
	client := redistest.Server(t).Client()
	c := channel(t, client, "3 active", "1 active", "2 primary")
	publish(t, c, record("portal"))
	s := follow(t, c, "portal", "pod", func(f *control.FollowerConfig) {
		f.Fault = func() string { return "the keys\nare " + strings.Repeat("x", 1000) }
	})
	s.next(t)
	got := awaitBeat(t, c, "portal", "of generation 5", func(b control.Heartbeat) bool { return b.Generation == 5 })
	if age := time.Since(got.At).Abs(); age > 5*time.Second {
		t.Errorf("it was said at %s", got.At)
	}
	got.At = time.Time{}
	want := control.Heartbeat{
		Pod: "pod", PodUID: "uid-of-pod", PolicyUID: "uid-1", Generation: 5, Version: "v1",
		Keys: control.KeyState{Primary: 2, Known: []uint32{1, 2, 3}}, Fault: ("the keys are " + strings.Repeat("x", 1000))[:500],
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if ttl := client.PTTL(t.Context(), beatsKey).Val(); ttl < time.Minute || ttl > time.Hour {
		t.Errorf("heartbeats are kept for %s", ttl)
	}
	s.stop()
	if left := client.HLen(t.Context(), beatsKey).Val(); left != 0 {
		t.Errorf("%d heartbeats are left of a sidecar that ended", left)
	}
}

// The time of a heartbeat is that of Redis, whatever a node's clock says.
func TestHeartbeatOfASlowClockCounts(t *testing.T) {
	t.Parallel()
	client := redistest.Server(t).Client()
	late := control.New(control.Config{
		Client: client, Prefix: prefix, Namespace: namespace, Ring: ring(t, namespace, "1 primary"),
		Clock: func() time.Time { return time.Now().Add(-time.Hour) },
	})
	follow(t, late, "portal", "pod")
	awaitBeat(t, channel(t, client), "portal", "of the pod", func(b control.Heartbeat) bool { return b.Pod == "pod" })
}

func TestHeartbeatsThatDoNotCount(t *testing.T) {
	t.Parallel()
	client := redistest.Server(t).Client()
	c := channel(t, client)
	own := ring(t, namespace, "1 primary")
	now := time.Now()
	const pod, stays = "uid", true
	at := func(age time.Duration) []byte {
		return control.Encode(t, own, "portal", control.Heartbeat{Pod: "pod", PodUID: pod, At: now.Add(-age)})
	}
	flipped := at(0)
	flipped[8] ^= 1
	for name, tc := range map[string]struct {
		blob          []byte
		counts, stays bool
	}{
		"a fresh one":           {at(0), true, stays},
		"one of 8 seconds ago":  {at(8 * time.Second), true, stays},
		"one of 20 seconds ago": {at(20 * time.Second), false, stays},
		"one to come":           {at(-20 * time.Second), false, stays},
		"one of 2 minutes ago":  {at(2 * time.Minute), false, !stays},
		"one to come later":     {at(-2 * time.Minute), false, !stays},
		"garbage":               {[]byte("garbage"), false, !stays},
		"nothing":               {nil, false, !stays},
		"a flipped bit":         {flipped, false, !stays},
		"one cut short":         {at(0)[:40], false, !stays},
		"one too long":          {bytes.Repeat([]byte{1}, 9<<10), false, !stays},
		"another pod's":         {control.Encode(t, own, "portal", control.Heartbeat{PodUID: "other", At: now}), false, !stays},
		"another policy's":      {control.Encode(t, own, "other", control.Heartbeat{PodUID: pod, At: now}), false, !stays},
		"another namespace's":   {control.Encode(t, ring(t, "acme-b", "1 primary"), "portal", control.Heartbeat{PodUID: pod, At: now}), false, !stays},
		"an unknown key's":      {control.Encode(t, ring(t, namespace, "9 primary"), "portal", control.Heartbeat{PodUID: pod, At: now}), false, !stays},
	} {
		t.Run(name, func(t *testing.T) {
			client.Del(t.Context(), beatsKey)
			client.HSet(t.Context(), beatsKey, pod, tc.blob)
			beats, err := c.Heartbeats(t.Context(), "portal")
			if err != nil || (len(beats) == 1) != tc.counts {
				t.Errorf("Heartbeats = %+v, %v; counts: %t", beats, err, tc.counts)
			}
			if left := client.HExists(t.Context(), beatsKey, pod).Val(); left != tc.stays {
				t.Errorf("it stays: %t", left)
			}
		})
	}
}

// More entries than one batch of the scan has.
func TestHeartbeatsOfManyPods(t *testing.T) {
	t.Parallel()
	client := redistest.Server(t).Client()
	own := ring(t, namespace, "1 primary")
	pipe := client.Pipeline()
	for i := range 1500 {
		uid := strings.Repeat("x", 30) + time.Duration(i).String()
		pipe.HSet(t.Context(), beatsKey, uid,
			control.Encode(t, own, "portal", control.Heartbeat{PodUID: uid, At: time.Now()}), "dead-"+uid, "garbage")
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	beats, err := channel(t, client).Heartbeats(t.Context(), "portal")
	if err != nil || len(beats) != 1500 {
		t.Errorf("%d heartbeats, %v", len(beats), err)
	}
	if left := client.HLen(t.Context(), beatsKey).Val(); left != 1500 {
		t.Errorf("%d entries are left, want 1500", left)
	}
}
