// Package seal keeps the key ring: it seals what must stay secret in the store,
// authenticates what must not be forged there, and names what must not be told
// there.
//
// One key file serves a realm. Every key that is used is derived from a key of
// the file for one use, one purpose and one realm, so that a value made for one
// of them means nothing to another. Sealing and authentication follow the
// versioned keys, which rotate; names follow the index key, which never does, so
// that a rotation logs nobody out.
//
// It may import the standard library only. It must never print, return or log a
// key, and no error of it quotes a key file.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"sync"
)

var (
	// ErrUnknownKey means that the ring holds no usable key of that id: it is
	// retired, or newer than the key file. It is a fault of the installation and
	// never a reason to take a user for unenrolled.
	ErrUnknownKey = errors.New("the key ring has no such key")
	// ErrCorrupt means that a sealed value or a MAC is not authentic for this
	// purpose and these associated data.
	ErrCorrupt = errors.New("the value is not authentic")
)

const (
	// version is the first byte of every sealed value.
	version = 1
	// header is the version and the key id.
	header = 1 + 4
	// overhead is what sealing adds: header, nonce of 12 bytes, tag of 16.
	overhead = header + 12 + 16
	// nameBytes is the length of a name: 144 bits, 24 characters.
	nameBytes = 18
)

// The uses that keys are derived for; a purpose means nothing across them.
const (
	useSeal = "seal"
	useMAC  = "mac"
	useName = "name"
)

// Ring holds the keys of one realm. It is safe for concurrent use.
type Ring struct {
	realm   string
	index   material
	primary uint32
	keys    map[uint32]material
	aeads   sync.Map // slot → cipher.AEAD
	macs    sync.Map // slot → *sync.Pool of *keyedHash
	names   sync.Map // kind → the same; a string is found in a quarter of the time of a slot
}

// slot names a derived key.
type slot struct {
	use, purpose string
	kid          uint32
}

// Parse reads a key file for the given realm. Retired keys are left out.
func Parse(doc []byte, realm string) (*Ring, error) {
	d, err := decode(doc)
	if err != nil {
		return nil, fmt.Errorf("read the key file: %w", err)
	}
	r := &Ring{realm: realm, index: d.Index, keys: make(map[uint32]material, len(d.Keys))}
	for _, k := range d.Keys {
		switch k.Status {
		case statusPrimary:
			r.primary = k.ID
			r.keys[k.ID] = k.Key
		case statusActive:
			r.keys[k.ID] = k.Key
		case statusRetired:
		}
	}
	return r, nil
}

// Primary returns the id of the key that seals.
func (r *Ring) Primary() uint32 { return r.primary }

// Name returns the keyed hash of parts, in 24 characters of the URL-safe base64
// alphabet. Equal parts of one kind and realm have equal names for ever.
func (r *Ring) Name(kind string, parts ...string) string {
	pool, ok := r.names.Load(kind)
	if !ok {
		key, err := r.derive(slot{use: useName, purpose: kind})
		if err != nil {
			// Only a kid can be unknown, and names have none.
			panic(err)
		}
		pool, _ = r.names.LoadOrStore(kind, keyedHashes(key))
	}
	sum := sumOf(pool.(*sync.Pool), parts)
	return base64.RawURLEncoding.EncodeToString(sum[:nameBytes])
}

// Seal encrypts plaintext under the primary key of the purpose, bound to aad.
func (r *Ring) Seal(purpose string, aad, plaintext []byte) ([]byte, error) {
	aead, err := r.aead(purpose, r.primary)
	if err != nil {
		return nil, err
	}
	blob := make([]byte, header, overhead+len(plaintext))
	blob[0] = version
	binary.BigEndian.PutUint32(blob[1:], r.primary)
	//nolint:gosec // no nonce is given because this AEAD draws and prepends its own
	return aead.Seal(blob, nil, plaintext, bind(blob[:header], aad)), nil
}

// Open returns what Seal was given for the same purpose and aad, and the id of
// the key that sealed it. ErrUnknownKey, ErrCorrupt.
func (r *Ring) Open(purpose string, aad, blob []byte) (plaintext []byte, kid uint32, err error) {
	if len(blob) < overhead || blob[0] != version {
		return nil, 0, ErrCorrupt
	}
	kid = binary.BigEndian.Uint32(blob[1:header])
	aead, err := r.aead(purpose, kid)
	if err != nil {
		return nil, kid, err
	}
	plaintext, err = aead.Open(nil, nil, blob[header:], bind(blob[:header], aad))
	if err != nil {
		return nil, kid, ErrCorrupt
	}
	return plaintext, kid, nil
}

// MAC authenticates parts under the key kid of the purpose. ErrUnknownKey.
func (r *Ring) MAC(purpose string, kid uint32, parts ...[]byte) ([]byte, error) {
	s := slot{use: useMAC, purpose: purpose, kid: kid}
	pool, ok := r.macs.Load(s)
	if !ok {
		key, err := r.derive(s)
		if err != nil {
			return nil, err
		}
		pool, _ = r.macs.LoadOrStore(s, keyedHashes(key))
	}
	sum := sumOf(pool.(*sync.Pool), parts)
	return sum[:], nil
}

// Verify reports in constant time whether mac is the MAC of parts. ErrUnknownKey,
// ErrCorrupt.
func (r *Ring) Verify(purpose string, kid uint32, mac []byte, parts ...[]byte) error {
	want, err := r.MAC(purpose, kid, parts...)
	if err != nil {
		return err
	}
	if !hmac.Equal(mac, want) {
		return ErrCorrupt
	}
	return nil
}

// Format keeps the keys out of every verb of package fmt.
func (r *Ring) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, r.String()) }

// String names the type and nothing of its content.
func (*Ring) String() string { return "seal.Ring(redacted)" }

// GoString is String.
func (r *Ring) GoString() string { return r.String() }

// LogValue is String, for log/slog.
func (r *Ring) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalJSON refuses: a key ring is read from its file and never written.
func (*Ring) MarshalJSON() ([]byte, error) { return nil, errors.New("a key ring is never encoded") }

func (r *Ring) aead(purpose string, kid uint32) (cipher.AEAD, error) {
	s := slot{use: useSeal, purpose: purpose, kid: kid}
	if a, ok := r.aeads.Load(s); ok {
		return a.(cipher.AEAD), nil
	}
	key, err := r.derive(s)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make a cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make a cipher: %w", err)
	}
	a, _ := r.aeads.LoadOrStore(s, aead)
	return a.(cipher.AEAD), nil
}

// keyedHash is a hash that was given its key, and the memory to write a message in.
type keyedHash struct {
	hash    hash.Hash
	message []byte
}

// keyedHashes returns a pool of them: keying one costs three times as much as hashing
// a name with it.
func keyedHashes(key []byte) *sync.Pool {
	return &sync.Pool{New: func() any { return &keyedHash{hash: hmac.New(sha256.New, key)} }}
}

// sumOf returns the keyed hash of parts.
func sumOf[T string | []byte](pool *sync.Pool, parts []T) [sha256.Size]byte {
	k := pool.Get().(*keyedHash)
	defer pool.Put(k)
	k.message = k.message[:0]
	for _, p := range parts {
		k.message = appendSized(k.message, p)
	}
	k.hash.Reset()
	_, _ = k.hash.Write(k.message) // hashes never fail
	clear(k.message)               // there may be a token in it
	k.message = k.hash.Sum(k.message[:0])
	return [sha256.Size]byte(k.message)
}

// derive returns the key of a slot, by HKDF-SHA256. Every part of its info has
// its length before it, so that no two slots share one.
func (r *Ring) derive(s slot) ([]byte, error) {
	root := r.index
	if s.use != useName {
		var ok bool
		if root, ok = r.keys[s.kid]; !ok {
			return nil, ErrUnknownKey
		}
	}
	var info []byte
	for _, part := range []string{"sallyport/v1", s.use, s.purpose, r.realm} {
		info = appendSized(info, part)
	}
	key, err := hkdf.Key(sha256.New, root, nil, string(info), keyBytes)
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	return key, nil
}

// bind puts the header of a sealed value before its associated data.
func bind(head, aad []byte) []byte {
	return append(append(make([]byte, 0, len(head)+len(aad)), head...), aad...)
}

// appendSized appends the length of a part and then the part, so that moving bytes
// from one part to the next changes the whole.
func appendSized[T string | []byte](message []byte, part T) []byte {
	return append(binary.BigEndian.AppendUint64(message, uint64(len(part))), part...)
}
