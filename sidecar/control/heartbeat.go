package control

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/sallyport/sallyport/sidecar/seal"
)

// Heartbeat is what one sidecar says of itself.
type Heartbeat struct {
	// Pod is the pod's name, PodUID what tells it from another of that name.
	Pod, PodUID string
	// PolicyUID and Generation are of the policy in force; "" and 0 for none.
	PolicyUID  string
	Generation int64
	// Version of the sidecar.
	Version string
	// Keys that the sidecar has.
	Keys KeyState
	// Fault is why the sidecar obeys something else than is published, or cannot
	// take its new keys; "" while all is well.
	Fault string
	// At is when it was said, by the clock of Redis.
	At time.Time
}

// KeyState is which versions of the key ring a sidecar has.
type KeyState struct {
	// Primary is what it seals with.
	Primary uint32
	// Known are what it can open, in ascending order.
	Known []uint32
}

const (
	// recent is how old a heartbeat may be to count.
	recent = 10 * time.Second
	// forgotten is how old one is that will not come back.
	forgotten = time.Minute

	// A heartbeat is a version, the id of the key of its MAC, JSON, and the MAC.
	beatVersion = 1
	beatHeader  = 1 + 4
	maxBeat     = 8 << 10
	maxFault    = 500
	maxName     = 253
	maxKnown    = 100

	beatPurpose = "control-heartbeat"
	scanCount   = 500
)

var errBeat = errors.New("the heartbeat is not one")

// beat is the JSON of a heartbeat.
type beat struct {
	Pod        string   `json:"pod"`
	PolicyUID  string   `json:"policyUID,omitempty"`
	Generation int64    `json:"generation"`
	Version    string   `json:"version"`
	Primary    uint32   `json:"primary"`
	Known      []uint32 `json:"known"`
	Fault      string   `json:"fault,omitempty"`
	At         int64    `json:"at"` // Unix milliseconds
}

// encode seals a heartbeat for the policy. Texts are cut to what they may have.
func (h *Heartbeat) encode(ring *seal.Ring, policyName string) ([]byte, error) {
	body, err := json.Marshal(beat{
		Pod: plain(h.Pod, maxName), PolicyUID: plain(h.PolicyUID, maxName), Generation: h.Generation,
		Version: plain(h.Version, maxName), Primary: h.Keys.Primary,
		Known: h.Keys.Known[:min(len(h.Keys.Known), maxKnown)], Fault: plain(h.Fault, maxFault), At: h.At.UnixMilli(),
	})
	if err != nil {
		return nil, fmt.Errorf("encode a heartbeat: %w", err)
	}
	kid := ring.Primary()
	mac, err := ring.MAC(beatPurpose, kid, []byte(policyName), []byte(h.PodUID), body)
	if err != nil {
		return nil, fmt.Errorf("sign a heartbeat: %w", err)
	}
	blob := binary.BigEndian.AppendUint32([]byte{beatVersion}, kid)
	return append(append(blob, body...), mac...), nil
}

// decodeHeartbeat reads what stands under a pod's UID. Nothing of it is read before
// its MAC is known to be right.
func decodeHeartbeat(ring *seal.Ring, policyName, podUID string, blob []byte) (*Heartbeat, error) {
	if len(blob) < beatHeader+sha256.Size || len(blob) > maxBeat || blob[0] != beatVersion {
		return nil, errBeat
	}
	kid := binary.BigEndian.Uint32(blob[1:beatHeader])
	body, mac := blob[beatHeader:len(blob)-sha256.Size], blob[len(blob)-sha256.Size:]
	if err := ring.Verify(beatPurpose, kid, mac, []byte(policyName), []byte(podUID), body); err != nil {
		return nil, err
	}
	var b beat
	if err := json.Unmarshal(body, &b); err != nil || b.Generation < 0 {
		return nil, errBeat
	}
	return &Heartbeat{
		Pod: b.Pod, PodUID: podUID, PolicyUID: b.PolicyUID, Generation: b.Generation, Version: b.Version,
		Keys: KeyState{Primary: b.Primary, Known: b.Known}, Fault: b.Fault, At: time.UnixMilli(b.At).UTC(),
	}, nil
}

// Heartbeats returns what the policy's sidecars said within the last 10 seconds,
// by the name of the pod. It removes what nobody will renew: entries older than a
// minute, and those that are not authentic.
func (c *Channel) Heartbeats(ctx context.Context, policyName string) ([]Heartbeat, error) {
	if err := c.check(policyName); err != nil {
		return nil, fmt.Errorf("read the heartbeats: %w", err)
	}
	now, err := c.client.Time(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("read the clock of redis: %w", err)
	}
	ring := c.ring.Load()
	alive := map[string]Heartbeat{}
	var dead []string
	for cursor := uint64(0); ; {
		var pairs []string
		if pairs, cursor, err = c.client.HScan(ctx, c.beatsKey(policyName), cursor, "", scanCount).Result(); err != nil {
			return nil, fmt.Errorf("read the heartbeats: %w", err)
		}
		for pair := range slices.Chunk(pairs, 2) {
			podUID := pair[0]
			h, err := decodeHeartbeat(ring, policyName, podUID, []byte(pair[1]))
			switch {
			case err != nil || now.Sub(h.At).Abs() > forgotten:
				dead = append(dead, podUID)
			case now.Sub(h.At).Abs() <= recent:
				alive[podUID] = *h
			}
		}
		if cursor == 0 {
			break
		}
	}
	for some := range slices.Chunk(dead, scanCount) {
		if err := c.client.HDel(ctx, c.beatsKey(policyName), some...).Err(); err != nil {
			return nil, fmt.Errorf("remove old heartbeats: %w", err)
		}
	}
	beats := make([]Heartbeat, 0, len(alive))
	for _, h := range alive {
		beats = append(beats, h)
	}
	slices.SortFunc(beats, func(a, b Heartbeat) int {
		return cmp.Or(cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.PodUID, b.PodUID))
	})
	return beats, nil
}

// plain cuts a text to its first characters and takes out what could forge lines.
func plain(s string, most int) string {
	if len(s) > most {
		s = s[:most]
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, ""))
}
