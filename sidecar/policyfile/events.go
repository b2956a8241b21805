package policyfile

import (
	"context"
	"log/slog"

	"github.com/fsnotify/fsnotify"
)

// eventSource tells of changes in one directory. It watches the directory and
// not the file, because a watch of a file ends where another one is renamed over
// it. Without events its channels are nil, which never yield: polling remains.
type eventSource struct {
	changes <-chan fsnotify.Event
	errors  <-chan error
	watcher *fsnotify.Watcher
	dir     string
}

// openEvents never fails: events only make a change known sooner.
func openEvents(ctx context.Context, log *slog.Logger, dir string) *eventSource {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		log.WarnContext(ctx, "Could not watch the policy file, polling it instead", slog.Any("error", err))
		return &eventSource{}
	}
	if err := w.Add(dir); err != nil {
		log.WarnContext(ctx, "Could not watch the policy file's directory, polling the file instead", slog.Any("error", err))
	}
	return &eventSource{changes: w.Events, errors: w.Errors, watcher: w, dir: dir}
}

// renew watches the directory that is now at the path, where it was made anew;
// otherwise it changes nothing.
func (s *eventSource) renew() {
	if s.watcher != nil {
		// Where there is no directory, polling finds that the file is gone.
		_ = s.watcher.Add(s.dir)
	}
}

func (s *eventSource) close() {
	if s.watcher != nil {
		_ = s.watcher.Close() // nothing is left to be told
	}
}
