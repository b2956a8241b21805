package seal

import (
	"maps"
	"slices"
)

// Usable returns the ids of the keys that open what was sealed: the primary first,
// then the others in ascending order.
func (r *Ring) Usable() []uint32 {
	ids := slices.Sorted(maps.Keys(r.keys))
	return slices.Insert(slices.DeleteFunc(ids, func(id uint32) bool { return id == r.primary }), 0, r.primary)
}

// Secrets returns a key of 32 bytes for each usable version, in the order of
// Usable: for a format that keeps its own MAC, which the first makes and any of
// them checks. They are derived for the purpose and the realm alone, and for no
// other use of the ring. They are secrets: the caller must not keep, print or log
// them.
func (r *Ring) Secrets(purpose string) [][]byte {
	ids := r.Usable()
	secrets := make([][]byte, 0, len(ids))
	for _, id := range ids {
		key, err := r.derive(slot{use: useSecret, purpose: purpose, kid: id})
		if err != nil {
			// Only a kid can be unknown, and these are the ring's own.
			panic(err)
		}
		secrets = append(secrets, key)
	}
	return secrets
}

// useSecret derives what leaves the ring; no other use shares a key with it.
const useSecret = "secret"
