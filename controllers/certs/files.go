package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// FilesOptions of Files. Durations that are left out have defaults.
type FilesOptions struct {
	// Dir holds tls.crt, tls.key and ca.crt: a mounted Secret of cert-manager, say.
	Dir string
	// Names that the certificate must be for.
	Names []string
	// Settle and Retain are as in Options.
	Settle, Retain time.Duration
	// Poll is how often the files are read. They come by an exchange of links, which
	// notifications of the file system miss. Default: ten seconds.
	Poll time.Duration
	// Metrics is as in Options.
	Metrics prometheus.Registerer
	// Clock of the process.
	Clock func() time.Time
}

// Files serves a certificate that others renew. A new one is served only once every
// webhook configuration has held its authority for a while, or when the one before
// has lapsed.
type Files struct {
	*served
	options FilesOptions
	trust   trust
	// authority of what is served, and before, of what was served before; that is
	// forgotten when switched is longer ago than Retain.
	authority, before []byte
	switched          time.Time
}

// NewFiles is a Files that runs with the manager. The files must be there.
func NewFiles(mgr ctrl.Manager, o FilesOptions) (*Files, error) {
	if len(o.Names) == 0 || o.Dir == "" {
		return nil, errors.New("read certificates: Options need Dir and Names")
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&o.Settle, time.Minute}, {&o.Retain, time.Hour}, {&o.Poll, 10 * time.Second}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	live, err := client.New(mgr.GetConfig(), client.Options{
		Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient(),
	})
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	f := &Files{options: o, trust: trust{reader: live, settle: o.Settle}}
	cert, authority, err := f.read(o.Clock())
	if err != nil {
		return nil, err
	}
	if f.served, err = newServed(o.Names, o.Clock, o.Metrics); err != nil {
		return nil, err
	}
	f.authority = authority
	f.serve(cert, authority)
	return f, mgr.Add(f)
}

// NeedLeaderElection says that every replica reads and serves.
func (f *Files) NeedLeaderElection() bool { return false }

// Start reads the files until ctx ends.
func (f *Files) Start(ctx context.Context) error {
	log := logf.FromContext(ctx).WithName("certificates").WithValues("dir", f.options.Dir)
	ticker := time.NewTicker(f.options.Poll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := f.look(ctx); err != nil && ctx.Err() == nil {
			log.Error(err, "The webhook's certificate could not be read; the one before is served")
		}
	}
}

// look reads the files and serves what is safe to serve.
func (f *Files) look(ctx context.Context) error {
	now := f.options.Clock()
	cert, authority, err := f.read(now)
	if err != nil {
		return err
	}
	old := f.present()
	if bytes.Equal(old.Certificate[0], cert.Certificate[0]) {
		if f.before != nil && now.Sub(f.switched) >= f.options.Retain {
			f.before = nil
		}
		f.authority = authority
		f.serve(nil, join(authority, f.before))
		return nil
	}
	both := join(authority, f.authority)
	f.serve(nil, both)
	trusted, err := f.trust.reached(ctx, authority, now)
	if trusted || !now.Before(old.Leaf.NotAfter) {
		f.before, f.authority, f.switched = f.authority, authority, now
		f.serve(cert, both)
		return nil
	}
	return err
}

// read takes the files only if they fit together: while they are exchanged they may
// not.
func (f *Files) read(now time.Time) (*tls.Certificate, []byte, error) {
	file := func(name string) string { return filepath.Join(f.options.Dir, name) }
	cert, err := tls.LoadX509KeyPair(file(keyCertificate), file(keyCertificateKey))
	if err != nil {
		return nil, nil, fmt.Errorf("read the serving certificate: %w", err)
	}
	authority, err := os.ReadFile(file(keyAuthority))
	if err != nil {
		return nil, nil, fmt.Errorf("read the authority: %w", err)
	}
	if !verifies(authority, &cert, f.options.Names, now) {
		return nil, nil, fmt.Errorf("%s in %s does not verify %s for %v", keyAuthority, f.options.Dir, keyCertificate, f.options.Names)
	}
	return &cert, authority, nil
}
