package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"
)

// backdate lets a certificate be used by hosts whose clocks are behind.
const backdate = 5 * time.Minute

const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY"
)

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// newAuthority makes an authority that may sign certificates of servers, and no
// further authorities.
func newAuthority(random io.Reader, now time.Time, lifetime time.Duration) (certPEM, keyPEM []byte, err error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Sallyport webhook authority"},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	return sign(random, template, nil)
}

// issue makes a certificate for names, which never outlives its authority.
func (a *authority) issue(
	random io.Reader, now time.Time, lifetime time.Duration, names []string,
) (certPEM, keyPEM []byte, err error) {
	notAfter := now.Add(lifetime)
	if notAfter.After(a.cert.NotAfter) {
		notAfter = a.cert.NotAfter
	}
	hosts, addresses := split(names)
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Sallyport webhook"},
		DNSNames:              hosts,
		IPAddresses:           addresses,
		NotBefore:             now.Add(-backdate),
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	return sign(random, template, a)
}

// split tells addresses from host names: a certificate keeps them apart.
func split(names []string) (hosts []string, addresses []net.IP) {
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			addresses = append(addresses, ip)
			continue
		}
		hosts = append(hosts, name)
	}
	return hosts, addresses
}

// sign makes a key and its certificate, signed by parent or, without one, by itself.
func sign(random io.Reader, template *x509.Certificate, parent *authority) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	serial := make([]byte, 16)
	if _, err := io.ReadFull(random, serial); err != nil {
		return nil, nil, fmt.Errorf("draw a serial number: %w", err)
	}
	serial[0] &= 0x7f // a serial number is positive
	template.SerialNumber = new(big.Int).SetBytes(serial)
	if parent == nil {
		parent = &authority{template, key}
	}
	der, err := x509.CreateCertificate(random, template, parent.cert, key.Public(), parent.key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign a certificate: %w", err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: encoded}), nil
}

// readAuthority reads what newAuthority made.
func readAuthority(certPEM, keyPEM []byte) (*authority, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return nil, errors.New("read the authority: it cannot sign")
	}
	return &authority{pair.Leaf, key}, nil
}

// certificates parses every certificate of a bundle.
func certificates(bundle []byte) []*x509.Certificate {
	var out []*x509.Certificate
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if cert, err := x509.ParseCertificate(block.Bytes); block.Type == certificateBlock && err == nil {
			out = append(out, cert)
		}
	}
	return out
}

// holds reports whether a bundle holds every certificate of another.
func holds(bundle, wanted []byte) bool {
	have := certificates(bundle)
	for _, w := range certificates(wanted) {
		found := false
		for _, h := range have {
			found = found || h.Equal(w)
		}
		if !found {
			return false
		}
	}
	return true
}

// verifies reports whether the bundle verifies the certificate, for each name, now.
func verifies(bundle []byte, cert *tls.Certificate, names []string, now time.Time) bool {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	between := x509.NewCertPool()
	for _, der := range cert.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(c)
		}
	}
	for _, name := range names {
		_, err := cert.Leaf.Verify(x509.VerifyOptions{
			DNSName: name, Roots: roots, Intermediates: between, CurrentTime: now,
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})
		if err != nil {
			return false
		}
	}
	return true
}

// join is a bundle of others, in order, without those whose certificates it has.
func join(bundles ...[]byte) []byte {
	var out bytes.Buffer
	for _, b := range bundles {
		if holds(out.Bytes(), b) {
			continue
		}
		out.Write(b)
		if b[len(b)-1] != '\n' {
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}
