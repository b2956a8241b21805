package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// Secured is a server that speaks TLS alone and asks clients for a certificate.
type Secured struct {
	*Node
	// CAFile, CertFile and KeyFile are what a client needs.
	CAFile, CertFile, KeyFile string
	// OtherCAFile is an authority that signed nothing here.
	OtherCAFile string
}

// TLS starts a server with TLS on 127.0.0.1 and the given lines of an ACL file,
// such as "user default off".
func TLS(t testing.TB, acl string) *Secured {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	ca := newAuthority(t, file("ca.crt"))
	newAuthority(t, file("other.crt"))
	ca.issue(t, file("server.crt"), file("server.key"))
	ca.issue(t, file("client.crt"), file("client.key"))
	write(t, file("users.acl"), acl)
	n := start(t, ready, func(port string) []string {
		return []string{
			"--port", "0",
			"--tls-port", port,
			"--tls-cert-file", file("server.crt"),
			"--tls-key-file", file("server.key"),
			"--tls-ca-cert-file", file("ca.crt"),
			"--tls-auth-clients", "yes",
			"--aclfile", file("users.acl"),
		}
	})
	return &Secured{
		Node:        n,
		CAFile:      file("ca.crt"),
		CertFile:    file("client.crt"),
		KeyFile:     file("client.key"),
		OtherCAFile: file("other.crt"),
	}
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, path string) *authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "Test authority"},
		NotBefore:             time.Unix(0, 0),
		NotAfter:              time.Unix(1<<33, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key}
}

func (a *authority) issue(t testing.TB, certPath, keyPath string) {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "Test peer"},
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Unix(1<<33, 0),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:     []string{"redis.test"},
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certPath, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, keyPath, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
