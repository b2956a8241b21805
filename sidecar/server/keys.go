package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/sallyport/sallyport/sidecar/seal"
)

const (
	// keysEvery is how often the key file is looked at. A mounted Secret changes
	// once a minute at most; events of it are not worth a watch.
	keysEvery = 2 * time.Second
	maxKeys   = 1 << 20
)

// errOtherIndex refuses a ring to which every user would look unenrolled.
var errOtherIndex = errors.New("its index key is another one, by which no user would be known; " +
	"restart the sidecar if that is meant")

// followKeys takes the key file as it changes. A broken one changes nothing but the
// log, the detail of readiness and what heartbeats say.
func (s *Server) followKeys(ctx context.Context) error {
	if s.KeysFile == "" {
		return nil
	}
	tick := time.NewTicker(keysEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		doc, err := readKeys(s.KeysFile)
		if err == nil {
			err = s.rekey(ctx, doc)
		}
		s.keysAre(ctx, err)
	}
}

// readKeys reads a file, or one byte more than a key ring may have.
func readKeys(path string) ([]byte, error) {
	file, err := os.Open(path) //nolint:gosec // the path is a flag
	if err != nil {
		return nil, err
	}
	doc, err := io.ReadAll(io.LimitReader(file, maxKeys+1))
	return doc, errors.Join(err, file.Close())
}

// rekey makes a door with new keys for the policy in force. What the old keys made
// stays good, as far as the new ring still has them.
func (s *Server) rekey(ctx context.Context, doc []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Equal(doc, s.keys) {
		return nil
	}
	ring, err := seal.Parse(doc, "")
	if err != nil {
		return err
	}
	before, err := seal.Parse(s.keys, "")
	if err != nil {
		return err
	}
	var d *door
	if s.decree != nil {
		const probe = "index"
		if ring.Name(probe) != before.Name(probe) {
			return errOtherIndex
		}
		if d, err = s.build(s.decree, doc); err != nil {
			return err
		}
	}
	if c, ok := s.source.(*channelSource); ok {
		control, err := seal.Parse(doc, s.Follow.Namespace)
		if err != nil {
			return err
		}
		c.channel.SetRing(control)
	}
	s.keys = doc
	if d != nil {
		s.swap(d)
	}
	s.Log.InfoContext(ctx, "Key ring in use", slog.Int("versions", len(ring.Usable())), slog.Uint64("primary", uint64(ring.Primary())))
	return nil
}

// keysAre notes whether the key file is what is in use, and logs it where that is news.
func (s *Server) keysAre(ctx context.Context, err error) {
	before := s.keysAtFault()
	if err == nil {
		if before != "" {
			s.keysFault.Store(nil)
			s.readiness.set(checkKeys, true, "")
			s.Log.InfoContext(ctx, "The key file is good again")
		}
		return
	}
	fault := fmt.Sprintf("the key file cannot be taken, the keys before stay in use: %v", err)
	if fault == before {
		return
	}
	s.keysFault.Store(&fault)
	s.readiness.set(checkKeys, true, fault)
	s.Log.ErrorContext(ctx, "Could not take the changed key file; the keys before stay in use", slog.Any("error", err))
}

func (s *Server) keysAtFault() string {
	if fault := s.keysFault.Load(); fault != nil {
		return *fault
	}
	return ""
}
