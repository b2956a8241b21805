package policyfile_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/policyfile"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

type change struct {
	manifest *policy.Manifest
	err      error
}

type watched struct {
	t       *testing.T
	changes chan change
}

// watch runs w until the test ends.
func watch(t *testing.T, w *policyfile.Watcher) *watched {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	seen := &watched{t: t, changes: make(chan change, 64)}
	var done sync.WaitGroup
	done.Go(func() {
		w.Run(ctx, func(m *policy.Manifest, err error) { seen.changes <- change{m, err} })
	})
	t.Cleanup(func() {
		cancel()
		done.Wait()
	})
	return seen
}

// loaded writes the manifest of issuer One, and watches it after a Load.
func loaded(t *testing.T, path string) *watched {
	t.Helper()
	write(t, path, manifest("One"))
	return followed(t, path)
}

// followed watches the manifest of issuer One that is there already.
func followed(t *testing.T, path string) *watched {
	t.Helper()
	w := policyfile.NewWatcher(path, slog.New(slog.DiscardHandler))
	if m, err := w.Load(); err != nil || m.Rules.Issuer != "One" {
		t.Fatalf("Load gives %+v, %v", m, err)
	}
	return watch(t, w)
}

func (w *watched) next() change {
	w.t.Helper()
	select {
	case c := <-w.changes:
		return c
	case <-time.After(patience):
		w.t.Fatal("no change was told")
		return change{}
	}
}

func (w *watched) wantIssuer(issuer string) {
	w.t.Helper()
	if c := w.next(); c.err != nil || c.manifest == nil || c.manifest.Rules.Issuer != issuer {
		w.t.Fatalf("told %+v, want issuer %q", c, issuer)
	}
}

func (w *watched) wantError(is error) {
	w.t.Helper()
	c := w.next()
	if c.err == nil || c.manifest != nil {
		w.t.Fatalf("told %+v, want an error alone", c)
	}
	if is != nil && !errors.Is(c.err, is) {
		w.t.Fatalf("told %v, want %v", c.err, is)
	}
}

// wantNothing waits a good while beyond what a change takes to settle.
func (w *watched) wantNothing() {
	w.t.Helper()
	select {
	case c := <-w.changes:
		w.t.Fatalf("told %+v, want nothing", c)
	case <-time.After(600 * time.Millisecond):
	}
}

// replace renames a new file over path, as most editors do.
func replace(t *testing.T, path, content string) {
	t.Helper()
	write(t, path+".new", content)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestWatchTellsOfWritesInPlace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	w := loaded(t, path)
	write(t, path, manifest("Two"))
	w.wantIssuer("Two")
	write(t, path, manifest("Three"))
	w.wantIssuer("Three")
}

func TestWatchTellsOfRenames(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	w := loaded(t, path)
	replace(t, path, manifest("Two"))
	w.wantIssuer("Two")
	replace(t, path, manifest("Three"))
	w.wantIssuer("Three")
}

func TestWatchWithoutLoadTellsOfTheFileAsItIs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, path, manifest("One"))
	w := watch(t, policyfile.NewWatcher(path, slog.New(slog.DiscardHandler)))
	w.wantIssuer("One")
}

// What happens between Load and Run must not be lost.
func TestWatchTellsOfChangesSinceLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, path, manifest("One"))
	w := policyfile.NewWatcher(path, slog.New(slog.DiscardHandler))
	if _, err := w.Load(); err != nil {
		t.Fatal(err)
	}
	write(t, path, manifest("Two"))
	watch(t, w).wantIssuer("Two")
}

func TestWatchTellsOfFaultsAndOfTheirMending(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	w := loaded(t, path)
	replace(t, path, "kind: [MFAPolicy\n")
	w.wantError(nil)
	replace(t, path, manifest("'a:b'"))
	c := w.next()
	if faults, ok := errors.AsType[policy.Faults](c.err); !ok || len(faults) != 1 {
		t.Fatalf("told %v, want one fault", c.err)
	}
	replace(t, path, "")
	w.wantError(nil)
	// The receiver was told of a fault, and so hears of the old content again.
	replace(t, path, manifest("One"))
	w.wantIssuer("One")
}

func TestWatchTellsOfRemovalAndRestoration(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	w := loaded(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	w.wantError(fs.ErrNotExist)
	write(t, path, manifest("One"))
	w.wantIssuer("One")
}

func TestWatchKeepsQuietWhereNothingChanged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	w := loaded(t, path)
	w.wantNothing()
	write(t, path, manifest("One"))
	replace(t, path, manifest("One"))
	write(t, filepath.Join(filepath.Dir(path), "other.yaml"), manifest("Other"))
	w.wantNothing()
	write(t, path, manifest("Two"))
	w.wantIssuer("Two")
	w.wantNothing()
}

// A burst of writes is one change: the last of them.
func TestWatchWaitsForTheFileToSettle(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	w := loaded(t, path)
	full := manifest("Last")
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	f, err := root.Create(filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(f.Close(), root.Close()); err != nil {
			t.Error(err)
		}
	})
	for i := range full {
		if _, err := f.WriteString(full[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	w.wantIssuer("Last")
}

// configMap lays files out as a kubelet does: path is a link to ..data/policy.yaml,
// and ..data a link to a directory of one moment.
type configMap struct {
	t   *testing.T
	dir string
}

func (c configMap) publish(moment, content string) {
	c.t.Helper()
	old, _ := os.Readlink(filepath.Join(c.dir, "..data")) // none at first
	if err := os.Mkdir(filepath.Join(c.dir, moment), 0o700); err != nil {
		c.t.Fatal(err)
	}
	write(c.t, filepath.Join(c.dir, moment, "policy.yaml"), content)
	if err := os.Symlink(moment, filepath.Join(c.dir, "..data_tmp")); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(c.dir, "..data_tmp"), filepath.Join(c.dir, "..data")); err != nil {
		c.t.Fatal(err)
	}
	if old == "" {
		return
	}
	if err := os.RemoveAll(filepath.Join(c.dir, old)); err != nil {
		c.t.Fatal(err)
	}
}

func TestWatchTellsOfConfigMapSwaps(t *testing.T) {
	t.Parallel()
	cm := configMap{t, t.TempDir()}
	cm.publish("..2026_10_01", manifest("One"))
	path := filepath.Join(cm.dir, "policy.yaml")
	if err := os.Symlink(filepath.Join("..data", "policy.yaml"), path); err != nil {
		t.Fatal(err)
	}
	w := followed(t, path)
	cm.publish("..2026_10_02", manifest("Two"))
	w.wantIssuer("Two")
	cm.publish("..2026_10_03", "kind: MFAPolicy\n")
	w.wantError(nil)
	cm.publish("..2026_10_04", manifest("Four"))
	w.wantIssuer("Four")
}

// Without a directory there is nothing to get events from.
func TestWatchPollsWhereNoEventComes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(dir, "policy.yaml")
	w := watch(t, policyfile.NewWatcher(path, slog.New(slog.DiscardHandler)))
	w.wantError(fs.ErrNotExist)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, path, manifest("One"))
	w.wantIssuer("One")
}

// A link into another directory yields no event when its target is written.
func TestWatchPollsTheTargetOfALink(t *testing.T) {
	t.Parallel()
	target := filepath.Join(t.TempDir(), "target.yaml")
	write(t, target, manifest("One"))
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	w := followed(t, path)
	write(t, target, manifest("Two"))
	w.wantIssuer("Two")
}

func TestWatchFollowsADirectoryMadeAnew(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "config")
	path := filepath.Join(dir, "policy.yaml")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w := loaded(t, path)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	w.wantError(fs.ErrNotExist)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, path, manifest("Two"))
	w.wantIssuer("Two")
	write(t, path, manifest("Three"))
	w.wantIssuer("Three")
}

func TestWatchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, path, manifest("One"))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		policyfile.NewWatcher(path, slog.New(slog.DiscardHandler)).Run(ctx, func(*policy.Manifest, error) { cancel() })
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("Run goes on after its context ended")
	}
}
