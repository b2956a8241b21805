package server_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sidecar/control"
	"github.com/sallyport/sallyport/sidecar/server"
	"github.com/sallyport/sallyport/test/stack"
)

// The mounted key ring rotates under open sign-ins, and breaks, and is mended.
func TestKeyRotationWhileFollowing(t *testing.T) {
	t.Parallel()
	w := prepareOffice(t, stack.Options{})
	path := filepath.Join(t.TempDir(), "keys.json")
	write := func(doc []byte) {
		t.Helper()
		if err := os.WriteFile(path+".new", doc, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	edited := func(edit func(*ring)) []byte {
		var r ring
		if err := json.Unmarshal(w.Keys(), &r); err != nil {
			t.Fatal(err)
		}
		edit(&r)
		doc, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	second := ringKey{ID: 2, Created: time.Now().UTC().Format(time.RFC3339), Key: anotherKey()}
	rotated := func(first, status string) []byte {
		return edited(func(r *ring) {
			r.Keys[0].Status, second.Status = first, status
			r.Keys = append(r.Keys, second)
		})
	}

	write(w.Keys())
	c := w.controller()
	c.found()
	c.publish(1, stack.Policy{})
	s := w.AddSidecar(follows("pod", func(o *server.Options) { o.KeysFile = path }))
	w.WaitReady(s)
	alice := w.enrolled("alice")
	has := func(primary uint32, known int) {
		t.Helper()
		c.await(1, fmt.Sprintf("primary %d of %d", primary, known), func(b control.Heartbeat) bool {
			return b.Keys.Primary == primary && len(b.Keys.Known) == known && b.Fault == ""
		})
		wantOK(t, s, "keys", "policy", "store")
		alice.wantPasses(true, fmt.Sprintf("with primary %d of %d", primary, known))
	}
	has(1, 1)
	write(rotated("primary", "active"))
	has(1, 2)
	write(rotated("active", "primary"))
	c.SetRing(w.ringOf(rotated("active", "primary"), "acme"))
	has(2, 2)
	moved := alice.again()
	moved.verify()
	moved.wantPasses(true, "verified under the new key")
	c.publish(2, stack.Policy{})
	c.obeyed(1, 2)

	for _, broken := range []struct {
		doc  []byte
		says string
	}{
		{w.Keys()[:40], "cut short"},
		{rotated("active", "active"), "0 primary keys"},
		{edited(func(r *ring) { r.Index = anotherKey() }), "index key is another"},
	} {
		write(broken.doc)
		c.await(1, broken.says, func(b control.Heartbeat) bool {
			return b.Keys.Primary == 2 && strings.Contains(b.Fault, "the key file cannot be taken") && strings.Contains(b.Fault, broken.says)
		})
		wantOK(t, s, "keys", "policy", "store")
		if _, report := s.Ready(); !strings.Contains(report, "the keys before stay in use") {
			t.Errorf("%s: /readyz says %s", broken.says, report)
		}
		alice.wantPasses(true, broken.says)
	}
	write(rotated("active", "primary"))
	has(2, 2)
	if strings.Contains(s.Log.String(), second.Key) {
		t.Error("the log holds a key")
	}
}

// A key file that is followed does so for a policy file, too.
func TestKeysFileGone(t *testing.T) {
	t.Parallel()
	w := prepareOffice(t, stack.Options{})
	s := w.AddSidecar(func(o *server.Options) { o.KeysFile = filepath.Join(t.TempDir(), "none") })
	w.WaitReady(s)
	w.Eventually("readiness says that it is gone", func() bool {
		ready, report := s.Ready()
		return ready && strings.Contains(report, "the key file cannot be taken")
	})
	w.enrolled("alice").wantPasses(true, "with the keys of the start")
}
