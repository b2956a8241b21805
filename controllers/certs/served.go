package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// served is what is presented and trusted at present. It is safe for concurrent use.
type served struct {
	names   []string
	clock   func() time.Time
	changed chan event.GenericEvent

	mu     sync.RWMutex
	cert   *tls.Certificate
	bundle []byte
}

func newServed(names []string, clock func() time.Time, metrics prometheus.Registerer) (*served, error) {
	s := &served{names: names, clock: clock, changed: make(chan event.GenericEvent, 1)}
	if metrics == nil {
		return s, nil
	}
	err := metrics.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sallyport_webhook_certificate_expiry_timestamp_seconds",
		Help: "When the certificate that the webhook serves expires, in seconds since 1970; 0 while there is none.",
	}, s.expiry))
	if err != nil {
		return nil, fmt.Errorf("register the certificate's metric: %w", err)
	}
	return s, nil
}

// expiry is 0 without a certificate, which an alert on one that is about to expire
// takes for the worst.
func (s *served) expiry() float64 {
	cert := s.present()
	if cert == nil || cert.Leaf == nil {
		return 0
	}
	return float64(cert.Leaf.NotAfter.Unix())
}

// GetCertificate is for tls.Config. Until there is a certificate, handshakes fail.
func (s *served) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.cert == nil {
		return nil, errors.New("the webhook has no certificate yet")
	}
	return s.cert, nil
}

// Configure is for the TLSOpts of the webhook's server.
func (s *served) Configure(config *tls.Config) {
	config.MinVersion = tls.VersionTLS12
	config.GetCertificate = s.GetCertificate
}

// Bundle is the PEM of the authorities that the API server is to trust, empty until
// there is one.
func (s *served) Bundle() []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return bytes.Clone(s.bundle)
}

// Changed tells that Bundle has changed, and every webhook configuration with it must.
// It has one reader; news that nobody has read yet are told once.
func (s *served) Changed() <-chan event.GenericEvent { return s.changed }

// Checker is healthy while the listener at address presents a certificate that Bundle
// verifies.
func (s *served) Checker(address string) healthz.Checker {
	return func(request *http.Request) error {
		bundle := s.Bundle()
		if len(bundle) == 0 {
			return errors.New("the webhook has no certificate yet")
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(bundle)
		dialer := tls.Dialer{Config: &tls.Config{
			RootCAs: roots, ServerName: s.names[0], MinVersion: tls.VersionTLS12, Time: s.clock,
		}}
		conn, err := dialer.DialContext(request.Context(), "tcp", address)
		if err != nil {
			return fmt.Errorf("reach the webhook: %w", err)
		}
		return conn.Close()
	}
}

// serve presents cert, where it is not nil, and trusts bundle.
func (s *served) serve(cert *tls.Certificate, bundle []byte) {
	s.mu.Lock()
	news := !bytes.Equal(s.bundle, bundle)
	s.bundle = bytes.Clone(bundle)
	if cert != nil {
		s.cert = cert
	}
	s.mu.Unlock()
	if news {
		select {
		case s.changed <- event.GenericEvent{Object: &corev1.Secret{}}:
		default:
		}
	}
}

func (s *served) present() *tls.Certificate {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.cert
}
