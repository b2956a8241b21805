package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

const minRSABits = 2048

// algorithms are the signatures that a token may carry: all asymmetric.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
		jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
}

// parseKeys reads a key set (RFC 7517). Keys that are of no use for checking a
// token are skipped, as the RFC wants; where secret is an error, a private or
// symmetric key fails the whole set, for it should not be where it was found.
func parseKeys(document []byte, secretIsError bool) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(document, &set); err != nil {
		return nil, errors.New("not a JSON Web Key Set")
	}
	var keys []jose.JSONWebKey
	for i, raw := range set.Keys {
		var key jose.JSONWebKey
		if err := json.Unmarshal(raw, &key); err != nil {
			continue
		}
		if !key.IsPublic() {
			if secretIsError {
				return nil, fmt.Errorf("key %d is not a public key", i)
			}
			continue
		}
		if usable(key) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set holds no public key that can check a signature")
	}
	return keys, nil
}

func usable(key jose.JSONWebKey) bool {
	if !key.Valid() || (key.Use != "" && key.Use != "sig") {
		return false
	}
	return slices.ContainsFunc(algorithms(), func(a jose.SignatureAlgorithm) bool { return fits(key, a) })
}

// fits reports whether a key may check a signature of this algorithm. A key that
// names its algorithm is used for no other.
func fits(key jose.JSONWebKey, algorithm jose.SignatureAlgorithm) bool {
	if key.Algorithm != "" && key.Algorithm != string(algorithm) {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		isRSA := strings.HasPrefix(string(algorithm), "RS") || strings.HasPrefix(string(algorithm), "PS")
		return isRSA && public.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey:
		curves := map[jose.SignatureAlgorithm]elliptic.Curve{
			jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384(), jose.ES512: elliptic.P521(),
		}
		return curves[algorithm] == public.Curve
	case ed25519.PublicKey:
		return algorithm == jose.EdDSA
	default:
		return false
	}
}

// withID returns the keys that a token may be signed with: those with its key id,
// or all of them where it names none.
func withID(keys []jose.JSONWebKey, kid string) []jose.JSONWebKey {
	if kid == "" {
		return keys
	}
	var found []jose.JSONWebKey
	for _, key := range keys {
		if key.KeyID == kid {
			found = append(found, key)
		}
	}
	return found
}
