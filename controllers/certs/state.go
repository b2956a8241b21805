package certs

import (
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"time"
)

// The keys of the Secret.
const (
	keyAuthority      = "ca.crt"
	keyAuthorityKey   = "ca.key"
	keyCertificate    = "tls.crt"
	keyCertificateKey = "tls.key"
	keyNext           = "next-ca.crt"
	keyNextKey        = "next-ca.key"
	keyPrevious       = "previous-ca.crt"
)

// material is the content of the Secret.
type material map[string][]byte

// lifetimes of what is made.
type lifetimes struct {
	authority, certificate time.Duration
	// retain is how long an authority that no longer signs is still trusted.
	retain time.Duration
}

// moment is what a move depends on besides the material.
type moment struct {
	lifetimes
	now    time.Time
	random io.Reader
	names  []string
	// trusted says that every API server trusts the next authority.
	trusted bool
}

// bundle is the PEM of every authority to trust.
func (m material) bundle() []byte { return join(m[keyAuthority], m[keyNext], m[keyPrevious]) }

// certificate is what is to be served.
func (m material) certificate() (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(m[keyCertificate], m[keyCertificateKey])
	if err != nil {
		return nil, fmt.Errorf("read the serving certificate: %w", err)
	}
	return &pair, nil
}

// advance makes the one next move that is due, or none: then it returns the material
// itself. Each move leaves what was served before it trusted, but the first, which
// begins where there is nothing that could be served.
func (m material) advance(at moment) (material, error) {
	signer, err := readAuthority(m[keyAuthority], m[keyAuthorityKey])
	if err != nil || !at.now.Before(signer.cert.NotAfter) {
		return begin(at)
	}
	leaf, err := m.certificate()
	switch {
	case err != nil || at.stale(m[keyAuthority], leaf, signer):
		return m.reissue(at, signer)
	case len(m[keyNext]) > 0:
		return m.succeed(at)
	case signer.cert.NotAfter.Sub(at.now) < min(2*at.certificate, at.authority/2):
		return m.stage(at)
	case len(m[keyPrevious]) > 0 && at.now.After(leaf.Leaf.NotBefore.Add(backdate+at.retain)):
		next := maps.Clone(m)
		delete(next, keyPrevious)
		return next, nil
	}
	return m, nil
}

// stale reports whether a certificate must be replaced by one of the same authority:
// with a third of its life left, unless its authority's own end is what cuts it short.
func (at moment) stale(bundle []byte, leaf *tls.Certificate, signer *authority) bool {
	ends := leaf.Leaf.NotAfter
	return !verifies(bundle, leaf, at.names, at.now) ||
		len(leaf.Leaf.DNSNames)+len(leaf.Leaf.IPAddresses) != len(at.names) ||
		ends.Sub(at.now) < at.certificate/3 && ends.Before(signer.cert.NotAfter)
}

// begin makes an authority and a certificate where there are none of use.
func begin(at moment) (material, error) {
	cert, key, err := newAuthority(at.random, at.now, at.authority)
	if err != nil {
		return nil, err
	}
	signer, err := readAuthority(cert, key)
	if err != nil {
		return nil, err
	}
	return material{keyAuthority: cert, keyAuthorityKey: key}.reissue(at, signer)
}

// reissue replaces the certificate.
func (m material) reissue(at moment, signer *authority) (material, error) {
	next := maps.Clone(m)
	var err error
	next[keyCertificate], next[keyCertificateKey], err = signer.issue(at.random, at.now, at.certificate, at.names)
	return next, err
}

// stage has a next authority, which is only trusted.
func (m material) stage(at moment) (material, error) {
	next := maps.Clone(m)
	var err error
	next[keyNext], next[keyNextKey], err = newAuthority(at.random, at.now, at.authority)
	return next, err
}

// succeed lets the next authority sign once it is trusted. The key of the one before
// is forgotten at once, its certificate only later.
func (m material) succeed(at moment) (material, error) {
	next := maps.Clone(m)
	delete(next, keyNext)
	delete(next, keyNextKey)
	signer, err := readAuthority(m[keyNext], m[keyNextKey])
	if err != nil {
		return next, nil //nolint:nilerr // what cannot be read cannot succeed; another is staged
	}
	if !at.trusted {
		return m, nil
	}
	next[keyPrevious] = m[keyAuthority]
	next[keyAuthority], next[keyAuthorityKey] = m[keyNext], m[keyNextKey]
	return next.reissue(at, signer)
}
