// Package policyfile reads an MFAPolicy manifest from a file, in YAML or JSON,
// and follows the file as it changes: for the demo, for tests, and for whoever
// runs the sidecar without a cluster.
//
// It converts YAML to JSON and leaves every decision about the content to
// api/policy. It may import that, fsnotify and a YAML parser, and nothing else
// of ours. It must never hand out rules that api/policy has not accepted, never
// put the content of a file into an error beyond what api/policy quotes, and
// never write to the file or its directory.
package policyfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sallyport/sallyport/api/policy"
)

// Load reads the manifest in a file. Its error names the file, and holds
// policy.Faults where the content is at fault.
func Load(path string) (*policy.Manifest, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	return decodeFile(path, data)
}

func decodeFile(path string, data []byte) (*policy.Manifest, error) {
	m, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("policy file %s: %w", path, err)
	}
	return m, nil
}

// Decode reads a manifest in YAML or JSON: exactly one document.
func Decode(data []byte) (*policy.Manifest, error) {
	if len(data) <= policy.MaxManifest && !json.Valid(data) {
		converted, err := toJSON(data)
		if err != nil {
			return nil, err
		}
		data = converted
	}
	return policy.DecodeManifest(data)
}

var errNotRegular = errors.New("not a regular file")

// read returns a file's content, or one byte more than a manifest may have:
// that is for Decode to refuse.
func read(path string) ([]byte, error) {
	// Opening a named pipe would wait for somebody to write.
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the policy file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("reading the policy file %s: %w", path, errNotRegular)
	}
	f, err := os.Open(path) //nolint:gosec // G304: the operator of the sidecar names the file
	if err != nil {
		return nil, fmt.Errorf("reading the policy file: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, policy.MaxManifest+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("reading the policy file %s: %w", path, err)
	}
	return data, nil
}
