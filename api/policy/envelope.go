package policy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Record is the rules of one policy as a controller publishes them.
//
// +kubebuilder:object:generate=false
type Record struct {
	// Realm that the record is for. One realm's record is refused in another.
	Realm string
	// Policy is the policy's name. Policies that share a realm differ in it.
	Policy string
	// UID tells a policy from an earlier one of the same name. "" outside a
	// cluster.
	UID string
	// Generation of the policy that the rules were read from.
	Generation int64
	// IssuedAt is when the record was sealed, to the nanosecond.
	IssuedAt time.Time
	// Epoch that the store of the realm must have, "" while it is not known. It
	// tells a store that was lost from one that is new.
	Epoch string
	// Rules to obey.
	Rules Rules
}

// What can be wrong with a record. Whoever reads one keeps what is in force.
var (
	// ErrKeySize: the key is not 32 bytes long.
	ErrKeySize = errors.New("policy record key must be 32 bytes")
	// ErrBadMAC: the record was not sealed with this key, or was changed since.
	ErrBadMAC = errors.New("policy record is not authentic")
	// ErrWrongRealm: the record is authentic, and for a realm of another
	// namespace, or for one that its rules do not name.
	ErrWrongRealm = errors.New("policy record is for another realm")
	// ErrWrongPolicy: the record is for the same realm, and of another policy.
	ErrWrongPolicy = errors.New("policy record is of another policy")
	// ErrOlder: the record is older than the one in force.
	ErrOlder = errors.New("policy record is older than the one in force")
)

const (
	keySize = 32
	// recordLabel opens every record and is part of what is authenticated: a
	// MAC that the same key made for anything else, or for another version of
	// this format, opens nothing here.
	recordLabel = "sallyport/policy/v2"
	// MaxRecord is how long a sealed record is at most, in bytes.
	MaxRecord = 512 << 10
	// maxEpoch is generous: an epoch is a random value and its stamp.
	maxEpoch = 256
)

// Seal writes an authenticated record: its fields, each behind its length, and
// an HMAC-SHA256 over all of them. The rules must be valid; the key must be 32
// bytes and serve no other purpose.
func Seal(r *Record, key []byte) ([]byte, error) {
	if len(key) != keySize {
		return nil, ErrKeySize
	}
	if r.Realm == "" || r.Policy == "" || r.Generation < 0 {
		return nil, errors.New("sealing a policy record: it lacks a realm, a policy or a generation")
	}
	if _, workspace, ok := strings.Cut(r.Realm, "/"); !ok || workspace != r.Rules.Workspace {
		return nil, fmt.Errorf("sealing a policy record: the realm %q does not end in the rules' workspace %q", r.Realm, r.Rules.Workspace)
	}
	if len(r.Epoch) > maxEpoch {
		return nil, errors.New("sealing a policy record: its epoch is too long")
	}
	issued := r.IssuedAt.UnixNano()
	if !time.Unix(0, issued).Equal(r.IssuedAt) || issued <= 0 {
		return nil, errors.New("sealing a policy record: its time of issue is missing or out of range")
	}
	if err := r.Rules.Validate().Err(); err != nil {
		return nil, fmt.Errorf("sealing a policy record: %w", err)
	}
	rules, err := json.Marshal(&r.Rules)
	if err != nil {
		return nil, fmt.Errorf("sealing a policy record: %w", err)
	}
	doc := appendFrame(nil, []byte(recordLabel))
	doc = appendFrame(doc, []byte(r.Realm))
	doc = appendFrame(doc, []byte(r.Policy))
	doc = appendFrame(doc, []byte(r.UID))
	doc = appendInt(doc, r.Generation)
	doc = appendInt(doc, issued)
	doc = appendFrame(doc, []byte(r.Epoch))
	doc = appendFrame(doc, rules)
	if len(doc) > MaxRecord-sha256.Size {
		return nil, fmt.Errorf("sealing a policy record: it is larger than %d bytes", MaxRecord)
	}
	return append(doc, recordMAC(doc, key)...), nil
}

// Open checks a sealed record and reads it. Nothing of it is read before its
// MAC is known to be right. It refuses what is for a realm of another namespace or
// for another workspace than its rules name, what holds fields that this version
// does not know, and what is invalid.
//
// The caller must also see to it that the record's Policy is the one it asked for.
func Open(doc, key []byte, namespace string) (*Record, error) {
	if len(key) != keySize {
		return nil, ErrKeySize
	}
	if len(doc) < sha256.Size || len(doc) > MaxRecord {
		return nil, ErrBadMAC
	}
	body, mac := doc[:len(doc)-sha256.Size], doc[len(doc)-sha256.Size:]
	if !hmac.Equal(mac, recordMAC(body, key)) {
		return nil, ErrBadMAC
	}
	r, rules, err := readRecord(body)
	if err != nil {
		return nil, fmt.Errorf("reading a policy record: %w", err)
	}
	workspace, ok := strings.CutPrefix(r.Realm, namespace+"/")
	if !ok {
		return nil, ErrWrongRealm
	}
	root, faults := parseJSON(rules, "spec")
	if root != nil {
		faults = append(faults, decodeStrict(root, &r.Rules, "spec")...)
	}
	if len(faults) == 0 {
		r.Rules.SetDefaults(r.Policy)
		faults = r.Rules.Validate()
	}
	if err := faults.Err(); err != nil {
		return nil, fmt.Errorf("reading a policy record: %w", err)
	}
	if workspace != r.Rules.Workspace {
		return nil, ErrWrongRealm
	}
	return r, nil
}

// Supersedes is nil where the record may take the place of current, which may
// be nil. Both must be of one policy in one namespace; its workspace may change.
// Generations are compared within one policy object; a policy that was deleted and
// made anew starts over, and then only time can tell.
func (r *Record) Supersedes(current *Record) error {
	switch {
	case current == nil:
		return nil
	case namespaceOf(r.Realm) != namespaceOf(current.Realm):
		return ErrWrongRealm
	case r.Policy != current.Policy:
		return ErrWrongPolicy
	case r.UID != current.UID && !r.IssuedAt.After(current.IssuedAt):
		return ErrOlder
	case r.UID != current.UID:
		return nil
	case r.Generation < current.Generation:
		return ErrOlder
	case r.Generation == current.Generation && r.IssuedAt.Before(current.IssuedAt):
		return ErrOlder
	default:
		return nil
	}
}

func namespaceOf(realm string) string {
	namespace, _, _ := strings.Cut(realm, "/")
	return namespace
}

func recordMAC(body, key []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(body)
	return h.Sum(nil)
}

var errFrame = errors.New("its framing is not that of this version")

// readRecord takes an authentic body apart. The rules are left as JSON.
func readRecord(body []byte) (r *Record, rules []byte, err error) {
	in := recordReader{rest: body}
	label := in.frame()
	r = &Record{Realm: string(in.frame()), Policy: string(in.frame()), UID: string(in.frame())}
	r.Generation = in.integer()
	issued := in.integer()
	r.Epoch = string(in.frame())
	rules = in.frame()
	if in.short || len(in.rest) > 0 || string(label) != recordLabel || r.Generation < 0 || issued <= 0 ||
		len(r.Epoch) > maxEpoch {
		return nil, nil, errFrame
	}
	r.IssuedAt = time.Unix(0, issued).UTC()
	return r, rules, nil
}

// A frame is its length and its bytes. Numbers are signed, big-endian, and
// intSize bytes long.
const intSize = 8

func appendFrame(doc, frame []byte) []byte {
	return append(appendInt(doc, int64(len(frame))), frame...)
}

func appendInt(doc []byte, n int64) []byte {
	for shift := 8 * (intSize - 1); shift >= 0; shift -= 8 {
		doc = append(doc, byte(n>>shift&0xff))
	}
	return doc
}

// recordReader cuts frames and numbers off the front of rest. Once something is
// cut short, so is all that follows.
type recordReader struct {
	rest  []byte
	short bool
}

func (r *recordReader) frame() []byte { return r.cut(r.integer()) }

func (r *recordReader) integer() int64 {
	var n int64
	for _, b := range r.cut(intSize) {
		n = n<<8 | int64(b)
	}
	return n
}

func (r *recordReader) cut(n int64) []byte {
	if r.short || n < 0 || n > int64(len(r.rest)) {
		r.short = true
		return nil
	}
	head := r.rest[:n]
	r.rest = r.rest[n:]
	return head
}
