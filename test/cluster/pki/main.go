// Command pki writes the certificates, keys and kubeconfigs of one test cluster.
//
//	pki -dir DIR -server https://10.245.0.2:6443 -addresses 10.245.0.2,10.97.0.1
//
// All of it is made anew for each cluster and thrown away with it. It imports the
// standard library only, and must never be used for anything that lives longer.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// identity is one certificate: who it names, and where it serves if it does.
type identity struct {
	file, user, group string
	serves            []string // DNS names; none for a client
}

// Certificates that files refer to by name.
func certificates(node string) []identity {
	return []identity{
		{file: "apiserver", user: "kube-apiserver", serves: []string{
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		}},
		{file: "apiserver-to-kubelet", user: "kube-apiserver-kubelet-client", group: "system:masters"},
		{file: "aggregator", user: "front-proxy-client"},
		{file: "kubelet", user: "system:node:" + node, group: "system:nodes", serves: []string{node, "localhost"}},
		{file: "check", user: "check", serves: []string{"check.cluster-check.svc"}}, // test/cluster/check's webhook
	}
}

// Users that come as a kubeconfig.
func users(node string) []identity {
	return []identity{
		{file: "admin", user: "kubernetes-admin", group: "system:masters"},
		{file: "controller-manager", user: "system:kube-controller-manager"},
		{file: "scheduler", user: "system:kube-scheduler"},
		{file: "proxy", user: "system:kube-proxy"},
		{file: "node", user: "system:node:" + node, group: "system:nodes"},
	}
}

func main() {
	dir := flag.String("dir", "", "the folder to write to")
	server := flag.String("server", "", "the API server's URL")
	addresses := flag.String("addresses", "", "IP addresses of the API server and the kubelet, with commas between")
	node := flag.String("node", "node", "the node's name")
	flag.Parse()
	if err := run(*dir, *server, *addresses, *node); err != nil {
		fmt.Fprintf(os.Stderr, "pki: %v\n", err)
		os.Exit(1)
	}
}

func run(dir, server, addresses, node string) error {
	if dir == "" || server == "" {
		return errors.New("-dir and -server are needed")
	}
	var ips []net.IP
	for text := range strings.SplitSeq(addresses, ",") {
		ip := net.ParseIP(text)
		if ip == nil {
			return fmt.Errorf("%q is no IP address", text)
		}
		ips = append(ips, ip)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ca, err := newAuthority(dir)
	if err != nil {
		return fmt.Errorf("make the authority: %w", err)
	}
	for _, id := range certificates(node) {
		if _, _, err := ca.issue(id, ips); err != nil {
			return fmt.Errorf("issue %s: %w", id.file, err)
		}
	}
	for _, id := range users(node) {
		if err := ca.kubeconfig(id, server); err != nil {
			return fmt.Errorf("write the kubeconfig of %s: %w", id.file, err)
		}
	}
	return serviceAccountKeys(dir)
}

// authority signs every certificate of the cluster.
type authority struct {
	dir    string
	cert   *x509.Certificate
	pem    []byte
	key    *ecdsa.PrivateKey
	serial int64
}

func newAuthority(dir string) (*authority, error) {
	key, _, err := newKey(dir, "ca")
	if err != nil {
		return nil, err
	}
	ca := &authority{dir: dir, key: key}
	template := ca.template(identity{user: "test-cluster"})
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage |= x509.KeyUsageCertSign
	template.ExtKeyUsage = nil
	if ca.cert, ca.pem, err = ca.sign(template, template, key, "ca"); err != nil {
		return nil, err
	}
	return ca, nil
}

func (ca *authority) template(id identity) *x509.Certificate {
	ca.serial++
	subject := pkix.Name{CommonName: id.user}
	if id.group != "" {
		subject.Organization = []string{id.group}
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(ca.serial),
		Subject:      subject,
		NotBefore:    now.Add(-24 * time.Hour), // tests turn clocks back
		NotAfter:     now.AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
}

func (ca *authority) sign(template, parent *x509.Certificate, of *ecdsa.PrivateKey, name string) (*x509.Certificate, []byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, of.Public(), ca.key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	text, err := write(ca.dir, name+".crt", "CERTIFICATE", der)
	return cert, text, err
}

// issue writes FILE.crt and FILE.key, and returns both.
func (ca *authority) issue(id identity, ips []net.IP) (cert, key []byte, err error) {
	private, key, err := newKey(ca.dir, id.file)
	if err != nil {
		return nil, nil, err
	}
	template := ca.template(id)
	if len(id.serves) > 0 {
		template.DNSNames, template.IPAddresses = id.serves, ips
	}
	_, cert, err = ca.sign(template, ca.cert, private, id.file)
	return cert, key, err
}

// kubeconfig writes FILE.kubeconfig. It is JSON, which is YAML too.
func (ca *authority) kubeconfig(id identity, server string) error {
	cert, key, err := ca.issue(id, nil)
	if err != nil {
		return err
	}
	type object = map[string]any
	text, err := json.MarshalIndent(object{
		"apiVersion": "v1", "kind": "Config", "current-context": "test",
		"clusters": []object{{"name": "test", "cluster": object{"server": server, "certificate-authority-data": ca.pem}}},
		"users":    []object{{"name": id.file, "user": object{"client-certificate-data": cert, "client-key-data": key}}},
		"contexts": []object{{"name": "test", "context": object{"cluster": "test", "user": id.file}}},
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(ca.dir, id.file+".kubeconfig"), text, 0o600)
}

// serviceAccountKeys writes the pair that signs and proves pods' tokens.
func serviceAccountKeys(dir string) error {
	key, _, err := newKey(dir, "service-accounts")
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	_, err = write(dir, "service-accounts.pub", "PUBLIC KEY", public)
	return err
}

// newKey writes NAME.key in the form that kube-apiserver reads for tokens too.
func newKey(dir, name string) (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	text, err := write(dir, name+".key", "EC PRIVATE KEY", der)
	return key, text, err
}

func write(dir, name, kind string, der []byte) ([]byte, error) {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	return text, os.WriteFile(filepath.Join(dir, name), text, 0o600)
}
