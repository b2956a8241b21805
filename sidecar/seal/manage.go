package seal

import (
	"cmp"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// useNamespace derives the keys of a namespace's ring; no use of a ring shares a
// key with it.
const useNamespace = "namespace"

// Status says what a version of a key ring may do.
type Status string

// The statuses of a version.
const (
	// Primary seals and opens.
	Primary = Status(statusPrimary)
	// Active opens.
	Active = Status(statusActive)
	// Retired does nothing.
	Retired = Status(statusRetired)
)

// Version is what may be told of a key.
type Version struct {
	ID      uint32
	Status  Status
	Created time.Time
}

// Versions returns the versions of a key file by ascending id, without the keys.
func Versions(doc []byte) ([]Version, error) {
	d, err := read(doc)
	if err != nil {
		return nil, err
	}
	versions := make([]Version, 0, len(d.Keys))
	for _, k := range d.Keys {
		versions = append(versions, Version{ID: k.ID, Status: Status(k.Status), Created: k.Created})
	}
	slices.SortFunc(versions, func(a, b Version) int { return cmp.Compare(a.ID, b.ID) })
	return versions, nil
}

// Derive returns the key file of a namespace: the versions of the master file, with
// keys that are derived for the namespace alone and from which neither the master's
// nor another namespace's can be found. Equal input gives equal bytes. Retired
// versions stay, without a key, so that their ids are not used again.
func Derive(master []byte, namespace string) ([]byte, error) {
	// A slash is a realm's: realms are derived from a ring, rings for namespaces.
	if namespace == "" || strings.Contains(namespace, "/") {
		return nil, fmt.Errorf("derive the keys of a namespace: %q is not the name of one", namespace)
	}
	d, err := read(master)
	if err != nil {
		return nil, err
	}
	if d.Index, err = forNamespace(d.Index, namespace, 0); err != nil {
		return nil, err
	}
	for i := range d.Keys {
		k := &d.Keys[i]
		if k.Status == statusRetired {
			k.Key = nil
			continue
		}
		if k.Key, err = forNamespace(k.Key, namespace, k.ID); err != nil {
			return nil, err
		}
	}
	return d.encode()
}

// forNamespace derives one key; the index counts as id 0, which no version has.
func forNamespace(root material, namespace string, id uint32) (material, error) {
	var info []byte
	for _, part := range []string{"sallyport/v1", useNamespace, namespace} {
		info = appendSized(info, part)
	}
	info = appendSized(info, binary.BigEndian.AppendUint32(nil, id))
	key, err := hkdf.Key(sha256.New, root, nil, string(info), keyBytes)
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	return key, nil
}

// Add returns the key file with one more version, active, whose id is above every
// other. It seals nothing until Promote, for which every process must know it.
func Add(doc []byte, random io.Reader, now time.Time) ([]byte, error) {
	d, err := read(doc)
	if err != nil {
		return nil, err
	}
	var last uint32
	for _, k := range d.Keys {
		last = max(last, k.ID)
	}
	if last == math.MaxUint32 {
		return nil, errors.New("add a key: the ids are used up")
	}
	key := make(material, keyBytes)
	if _, err := io.ReadFull(random, key); err != nil {
		return nil, fmt.Errorf("add a key: %w", err)
	}
	d.Keys = append(d.Keys, entry{
		ID: last + 1, Status: statusActive, Created: now.UTC().Truncate(time.Second), Key: key,
	})
	return d.encode()
}

// Promote returns the key file with the version as its primary; the primary before
// it stays active. Promoting the primary changes nothing. A version never gives way
// to an older one: what is sealed moves to newer keys only.
func Promote(doc []byte, id uint32) ([]byte, error) {
	d, err := read(doc)
	if err != nil {
		return nil, err
	}
	next := d.find(id)
	was := slices.IndexFunc(d.Keys, func(k entry) bool { return k.Status == statusPrimary })
	switch {
	case next < 0:
		return nil, fmt.Errorf("promote key %d: %w", id, ErrUnknownKey)
	case d.Keys[next].Status == statusRetired:
		return nil, fmt.Errorf("promote key %d: it is retired", id)
	case id < d.Keys[was].ID:
		return nil, fmt.Errorf("promote key %d: the primary key %d is newer", id, d.Keys[was].ID)
	}
	d.Keys[was].Status = statusActive
	d.Keys[next].Status = statusPrimary
	return d.encode()
}

// Retire returns the key file without the key of a version, whose entry stays.
// What is still sealed or peppered with it is lost: see Use. Retiring a retired
// version drops a key that it may still have. The primary cannot be retired.
func Retire(doc []byte, id uint32) ([]byte, error) {
	d, err := read(doc)
	if err != nil {
		return nil, err
	}
	i := d.find(id)
	switch {
	case i < 0:
		return nil, fmt.Errorf("retire key %d: %w", id, ErrUnknownKey)
	case d.Keys[i].Status == statusPrimary:
		return nil, fmt.Errorf("retire key %d: it is the primary", id)
	}
	d.Keys[i].Status = statusRetired
	d.Keys[i].Key = nil
	return d.encode()
}

// KeyID returns the id of the key that a sealed value names, without opening it,
// and false for what cannot be one. It proves nothing of the value.
func KeyID(blob []byte) (uint32, bool) {
	if len(blob) < overhead || blob[0] != version {
		return 0, false
	}
	return binary.BigEndian.Uint32(blob[1:header]), true
}

func (d *document) find(id uint32) int {
	return slices.IndexFunc(d.Keys, func(k entry) bool { return k.ID == id })
}

func read(doc []byte) (*document, error) {
	d, err := decode(doc)
	if err != nil {
		return nil, fmt.Errorf("read the key file: %w", err)
	}
	return d, nil
}

// encode writes a key file that decode reads.
func (d *document) encode() ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("write the key file: %w", err)
	}
	doc, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, errors.New("write the key file: a time is out of bounds")
	}
	doc = append(doc, '\n')
	if len(doc) > maxDocument {
		return nil, errors.New("write the key file: it has too many keys")
	}
	return doc, nil
}
