package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// epochs remembers, per realm, which store held the enrolments. A store that comes
// back empty or swapped is recognised by it, across restarts.
type epochs struct {
	path string

	mu     sync.Mutex
	values map[string]string
	// proven realms are those whose store was reached and had the epoch.
	proven map[string]bool
}

// readEpochs reads the file, if there is one. A file that cannot be understood is
// an error: taking it for "none" would forget what the store must prove.
func readEpochs(path string) (*epochs, error) {
	e := &epochs{path: path, values: map[string]string{}, proven: map[string]bool{}}
	if path == "" {
		return e, nil
	}
	doc, err := os.ReadFile(path) //nolint:gosec // the path is a flag
	if errors.Is(err, fs.ErrNotExist) {
		return e, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the epoch file: %w", err)
	}
	if err := json.Unmarshal(doc, &e.values); err != nil {
		return nil, fmt.Errorf("read the epoch file %s: it is not a JSON object of realms and epochs; "+
			"restore it, or remove it to accept whatever store is there now: %w", path, err)
	}
	return e, nil
}

func (e *epochs) of(realm string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.values[realm]
}

// isProven reports whether the realm's store was reached since the start, and had
// this epoch.
func (e *epochs) isProven(realm, epoch string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return epoch != "" && e.proven[realm] && e.values[realm] == epoch
}

// remember keeps the epoch that the realm's store has, and writes it down if there
// is a file.
func (e *epochs) remember(realm, epoch string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.proven[realm] = true
	if e.values[realm] == epoch {
		return nil
	}
	e.values[realm] = epoch
	if e.path == "" {
		return nil
	}
	doc, err := json.MarshalIndent(e.values, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the epochs: %w", err)
	}
	if err := replaceFile(e.path, append(doc, '\n')); err != nil {
		return fmt.Errorf("write the epoch file: %w", err)
	}
	return nil
}

// replaceFile writes a file so that a reader, or a crash, meets the old or the new
// content and nothing between.
func replaceFile(path string, content []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(content)
	if err == nil {
		err = temporary.Sync()
	}
	if closed := temporary.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}
