package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Use is how many stored values of one realm need each version of its key ring, as
// a sweep over the realm's records found them.
type Use struct {
	// AsOf is when the sweep began, by the clock of the store.
	AsOf time.Time `json:"asOf"`
	// Primary is the primary version of whoever swept.
	Primary uint32 `json:"primary"`
	// Seals counts sealed seeds by the version that the sweep found them under. One
	// that it moved counts under the old version, until the next sweep finds it under
	// the new one: a store may yet forget what it has only just been told.
	Seals map[uint32]int64 `json:"seals"`
	// Codes counts sets of recovery codes that have an unspent code, by version.
	Codes map[uint32]int64 `json:"codes"`
	// Moved is how many seeds the sweep sealed anew.
	Moved int64 `json:"moved,omitzero"`
	// Unreadable counts records of which nothing can be said. While there are any, no
	// version is known to be unused.
	Unreadable int64 `json:"unreadable,omitzero"`
}

// maxUse bounds the JSON of a Use.
const maxUse = 64 << 10

// ParseUse reads a Use from JSON. Whatever is missing or odd is an error and never
// a count of none.
func ParseUse(doc []byte) (Use, error) {
	if len(doc) > maxUse {
		return Use{}, errors.New("the count of key uses is too large")
	}
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields()
	var u Use
	if err := d.Decode(&u); err != nil {
		return Use{}, fmt.Errorf("the count of key uses is not readable: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Use{}, errors.New("the count of key uses goes on after its end")
	}
	if err := u.check(); err != nil {
		return Use{}, err
	}
	return u, nil
}

func (u *Use) check() error {
	if u.AsOf.IsZero() || u.Primary == 0 || u.Seals == nil || u.Codes == nil {
		return errors.New("the count of key uses lacks its time, its primary or its counts")
	}
	if u.Moved < 0 || u.Unreadable < 0 {
		return errors.New("the count of key uses is negative")
	}
	for _, counts := range []map[uint32]int64{u.Seals, u.Codes} {
		for _, n := range counts {
			if n < 0 {
				return errors.New("the count of key uses is negative")
			}
		}
	}
	return nil
}

// Needs reports whether anything is known or feared to need the version.
func (u *Use) Needs(id uint32) bool {
	return u.Unreadable > 0 || u.Seals[id] > 0 || u.Codes[id] > 0
}
