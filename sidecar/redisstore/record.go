package redisstore

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/sidecar/mfa"
)

const (
	// format is the version of the enrolment's fields.
	format = "1"
	// fieldBytes is the longest value that Redis packs with its default settings.
	fieldBytes = 64
	// maxIndex is the last field a recovery code may have; its hash stays below
	// the 128 fields that Redis packs.
	maxIndex = 98
	// minDigest is the shortest digest of a recovery code: 128 bits.
	minDigest = 16
)

// errUnreadable means that a record is there and cannot be understood. It is
// never an absent one.
var errUnreadable = errors.New("the stored enrolment is unreadable")

// encodeRecord returns the fields and values of a record.
func encodeRecord(r mfa.Record) ([]any, error) {
	if len(r.Seed) == 0 || r.LastStep < 0 {
		return nil, errors.New("redisstore: an enrolment without a seed or a step")
	}
	codes, err := encodeCodes(r.Generation, r.Codes)
	if err != nil {
		return nil, err
	}
	return append([]any{
		"v", format,
		"s", r.Seed,
		"a", r.ConfirmedAt.Unix(),
		"t", r.LastStep,
		"g", r.Generation,
	}, codes...), nil
}

// encodeCodes returns the fields and values of a set of recovery codes.
func encodeCodes(generation string, c mfa.Codes) ([]any, error) {
	if generation == "" || len(generation) > fieldBytes || len(c.Salt) == 0 || len(c.Salt) > fieldBytes {
		return nil, errors.New("redisstore: recovery codes without a proper generation or salt")
	}
	fields := []any{"k", c.KeyID, "n", c.Salt}
	for i, digest := range c.Digests {
		if i < 0 || i > maxIndex || len(digest) < minDigest || len(digest) > fieldBytes {
			return nil, errors.New("redisstore: a recovery code without a proper index or digest")
		}
		fields = append(fields, strconv.Itoa(i), digest)
	}
	return fields, nil
}

// decodeRecord reads what a hash command returned for an enrolment, nil if it is
// empty. Every field must be there and none besides.
func decodeRecord(value any) (*mfa.Record, error) {
	flat, ok := value.([]any)
	if !ok || len(flat)%2 != 0 {
		return nil, errUnreadable
	}
	if len(flat) == 0 {
		return nil, nil
	}
	d := decoder{record: mfa.Record{Codes: mfa.Codes{Digests: map[int][]byte{}}}}
	seen := map[string]bool{}
	for i := 0; i < len(flat); i += 2 {
		field, isText := flat[i].(string)
		content, isBytes := flat[i+1].(string)
		if !isText || !isBytes || seen[field] {
			return nil, errUnreadable
		}
		seen[field] = true
		if err := d.field(field, content); err != nil {
			return nil, fmt.Errorf("%w: field %q", errUnreadable, field)
		}
	}
	for _, field := range []string{"v", "g", "s", "a", "t", "k", "n"} {
		if !seen[field] {
			return nil, fmt.Errorf("%w: no field %q", errUnreadable, field)
		}
	}
	return &d.record, nil
}

type decoder struct{ record mfa.Record }

func (d *decoder) field(name, value string) (err error) {
	r := &d.record
	var n int64
	switch name {
	case "v":
		if value != format {
			return errUnreadable
		}
	case "g":
		r.Generation = value
	case "s":
		r.Seed = []byte(value)
	case "n":
		r.Codes.Salt = []byte(value)
	case "a":
		n, err = strconv.ParseInt(value, 10, 64)
		r.ConfirmedAt = time.Unix(n, 0).UTC()
	case "t":
		r.LastStep, err = strconv.ParseInt(value, 10, 64)
	case "k":
		var kid uint64
		kid, err = strconv.ParseUint(value, 10, 32)
		r.Codes.KeyID = uint32(kid)
	default:
		return d.digest(name, value)
	}
	if value == "" {
		return errUnreadable
	}
	return err
}

func (d *decoder) digest(name, value string) error {
	i, err := strconv.Atoi(name)
	if err != nil {
		return err
	}
	if i < 0 || i > maxIndex || strconv.Itoa(i) != name || len(value) < minDigest {
		return errUnreadable
	}
	d.record.Codes.Digests[i] = []byte(value)
	return nil
}
