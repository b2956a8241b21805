package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// keyBytes is the length of every key: 256 bits.
const keyBytes = 32

// maxDocument bounds a key file; a thousand keys stay far below it.
const maxDocument = 1 << 20

// status says what a key may do.
type status string

const (
	// statusPrimary seals and opens.
	statusPrimary status = "primary"
	// statusActive opens what was sealed while it was primary, and is what a new
	// key starts as, until every process knows it.
	statusActive status = "active"
	// statusRetired does nothing. The entry keeps the id from being used again.
	statusRetired status = "retired"
)

// errMaterial is the one fault of a key's text; more would quote it.
var errMaterial = errors.New("a key of the key file is not a base64 string")

// document is the key file.
type document struct {
	Index material `json:"index"`
	Keys  []entry  `json:"keys"`
}

type entry struct {
	ID      uint32    `json:"id"`
	Status  status    `json:"status"`
	Created time.Time `json:"created"`
	// Key may be empty on a retired key: its material can be destroyed.
	Key material `json:"key,omitempty"`
}

// material is a key that encodes to base64 and prints as nothing.
type material []byte

// Format keeps key material out of every verb of package fmt.
func (material) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "redacted") }

// UnmarshalJSON reads padded base64. The errors of encoding/json would quote the
// input, which here is a key.
func (m *material) UnmarshalJSON(b []byte) error {
	s, ok := bytes.CutPrefix(b, []byte(`"`))
	if ok {
		s, ok = bytes.CutSuffix(s, []byte(`"`))
	}
	if !ok {
		return errMaterial
	}
	key := make([]byte, base64.StdEncoding.DecodedLen(len(s)))
	n, err := base64.StdEncoding.Strict().Decode(key, s)
	if err != nil {
		return errMaterial
	}
	*m = key[:n]
	return nil
}

// Generate returns the document of a fresh key ring with one primary key.
func Generate(random io.Reader, now time.Time) ([]byte, error) {
	keys := make([]byte, 2*keyBytes)
	if _, err := io.ReadFull(random, keys); err != nil {
		return nil, fmt.Errorf("make keys: %w", err)
	}
	doc, err := json.MarshalIndent(document{
		Index: keys[:keyBytes],
		Keys: []entry{{
			ID:      1,
			Status:  statusPrimary,
			Created: now.UTC().Truncate(time.Second),
			Key:     keys[keyBytes:],
		}},
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode keys: %w", err)
	}
	return append(doc, '\n'), nil
}

// decode reads and checks a key file. No error of it quotes the file.
func decode(doc []byte) (*document, error) {
	if len(doc) > maxDocument {
		return nil, errors.New("the key file is too large")
	}
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields()
	var out document
	if err := d.Decode(&out); err != nil {
		return nil, plain(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the key file goes on after its end")
	}
	if err := out.check(); err != nil {
		return nil, err
	}
	return &out, nil
}

// plain strips what the decoder quotes from its input down to the kind and the
// place of the fault.
func plain(err error) error {
	if errors.Is(err, errMaterial) {
		return errMaterial
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("the key file is not JSON at byte %d", syntax.Offset)
	}
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("field %q of the key file has the wrong type", kind.Field)
	}
	return errors.New("the key file has an unknown field or a malformed time, or is cut short")
}

func (d *document) check() error {
	if err := checkMaterial(d.Index); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	ids := make(map[uint32]bool, len(d.Keys))
	seen := map[string]bool{string(d.Index): true}
	primaries := 0
	for i, k := range d.Keys {
		if k.ID == 0 || ids[k.ID] {
			return fmt.Errorf("keys[%d]: id %d is zero or used twice", i, k.ID)
		}
		ids[k.ID] = true
		switch k.Status {
		case statusPrimary:
			primaries++
		case statusActive:
		case statusRetired:
			if len(k.Key) == 0 {
				continue
			}
		default:
			return fmt.Errorf("keys[%d]: the status is none of primary, active, retired", i)
		}
		if err := checkMaterial(k.Key); err != nil {
			return fmt.Errorf("keys[%d]: %w", i, err)
		}
		if seen[string(k.Key)] {
			return fmt.Errorf("keys[%d]: the same key stands twice in the file", i)
		}
		seen[string(k.Key)] = true
	}
	if primaries != 1 {
		return fmt.Errorf("the key file has %d primary keys and must have one", primaries)
	}
	return nil
}

func checkMaterial(key material) error {
	if len(key) != keyBytes {
		return fmt.Errorf("the key has %d bytes and must have %d", len(key), keyBytes)
	}
	if bytes.Equal(key, make([]byte, keyBytes)) {
		return errors.New("the key is all zeros")
	}
	return nil
}
