package policyfile

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/sallyport/sallyport/api/policy"
)

const (
	// settleTime is how long a file must hold still to count as written.
	settleTime = 100 * time.Millisecond
	// pollTime bounds how late a change is seen where no event tells of it:
	// network file systems, exhausted watches, a directory made anew.
	pollTime = 2 * time.Second
	// maxLooks bounds the wait for a file that never holds still.
	maxLooks = 20
)

// Watcher follows one policy file. Its methods are for one goroutine.
type Watcher struct {
	path string
	log  *slog.Logger
	// told is what the receiver knows of the file.
	told snapshot
}

// NewWatcher makes a watcher of the file at path, which need not exist yet.
func NewWatcher(path string, log *slog.Logger) *Watcher {
	return &Watcher{path: filepath.Clean(path), log: log}
}

// Load reads the file as it is now. Run then tells only of what changed since,
// so that no change between the two is lost.
func (w *Watcher) Load() (*policy.Manifest, error) {
	w.told = take(w.path)
	return w.told.decode(w.path)
}

// Run calls onChange after each change of the file's content that has settled,
// until ctx ends; without a Load before, it tells of the file as it is, too. The
// call has the new manifest, or nil and the error where the file is gone,
// unreadable or at fault; the receiver then keeps what it has. Calls come one at
// a time, from this goroutine.
//
// It follows writes in place, renames over the file, removal and restoration,
// and the symbolic links by which Kubernetes swaps a ConfigMap.
func (w *Watcher) Run(ctx context.Context, onChange func(*policy.Manifest, error)) {
	events := openEvents(ctx, w.log, filepath.Dir(w.path))
	defer events.close()
	poll := time.NewTicker(pollTime)
	defer poll.Stop()
	// The first look is for what changed before the events came.
	look := time.NewTimer(0)
	defer look.Stop()
	looking := true
	startLooking := func() {
		if !looking {
			looking = true
			look.Reset(settleTime)
		}
	}

	var before snapshot // at the last look
	for looks := 0; ; {
		select {
		case <-ctx.Done():
			return
		case e := <-events.changes:
			if concerns(e, w.path) {
				startLooking()
			}
		case err := <-events.errors:
			// Events may have been lost: look as if one had come.
			w.log.WarnContext(ctx, "Lost policy file events", slog.Any("error", err))
			startLooking()
		case <-poll.C:
			events.renew()
			if !take(w.path).same(w.told) {
				startLooking()
			}
		case <-look.C:
			now := take(w.path)
			looks++
			if !now.same(w.told) && !now.same(before) && looks < maxLooks {
				before = now
				look.Reset(settleTime)
				continue
			}
			looking, looks, before = false, 0, snapshot{}
			if !now.same(w.told) {
				w.told = now
				onChange(now.decode(w.path))
			}
		}
	}
}

// concerns says whether an event can mean another content at path. Names that
// begin with two dots are those of a ConfigMap's links.
func concerns(e fsnotify.Event, path string) bool {
	name := filepath.Base(e.Name)
	return name == filepath.Base(path) || strings.HasPrefix(name, "..") || filepath.Clean(e.Name) == filepath.Dir(path)
}

// snapshot is a file as it was at one moment. The zero value is no moment, and
// the same as no other.
type snapshot struct {
	taken   bool
	content []byte
	err     error
}

func take(path string) snapshot {
	content, err := read(path)
	return snapshot{taken: true, content: content, err: err}
}

// same compares failures by what they say: each read makes a new error.
func (s snapshot) same(other snapshot) bool {
	return s.taken && other.taken && bytes.Equal(s.content, other.content) && failure(s.err) == failure(other.err)
}

func failure(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (s snapshot) decode(path string) (*policy.Manifest, error) {
	if s.err != nil {
		return nil, s.err
	}
	return decodeFile(path, s.content)
}
