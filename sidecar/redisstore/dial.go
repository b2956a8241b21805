package redisstore

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Options say how to reach Redis. Secrets are files, so that they can be
// replaced while the process runs: credentials and the client's certificate are
// read anew for every connection.
type Options struct {
	// URL is scheme://[user[:password]@]host[:port][,host[:port]…][/path], with
	//
	//	redis, rediss                    one server; the path is the database
	//	redis+sentinel, rediss+sentinel  Sentinels; the path is /primary's name[/database]
	//	redis+cluster, rediss+cluster    some nodes of a cluster; no path
	//
	// where rediss is TLS, towards the Sentinels too.
	URL string
	// UsernameFile and PasswordFile hold what the URL does not say.
	UsernameFile, PasswordFile string
	// SentinelUsernameFile and SentinelPasswordFile hold what the Sentinels ask
	// for, if they do. They are read once.
	SentinelUsernameFile, SentinelPasswordFile string
	// CAFile holds the authorities that servers are checked against; without it
	// the system's are taken. It is read once.
	CAFile string
	// CertFile and KeyFile hold the certificate to show to servers, if any.
	CertFile, KeyFile string
	// ServerName is the name that server certificates must have; without it, the
	// host that is dialled.
	ServerName string
	// Document says all of the above in its place, and is asked again for every
	// connection: user name, password and certificate may change, the rest is read
	// once.
	Document func() (*Document, error)

	// DialTimeout, ReadTimeout and WriteTimeout bound single steps; 0 is 1 s to
	// connect, and 500 ms.
	DialTimeout, ReadTimeout, WriteTimeout time.Duration
	// PoolSize is how many connections are kept per server; 0 is 10.
	PoolSize int
}

// The bounds of a client that fails rather than waits.
const (
	defaultDial    = time.Second
	defaultIO      = 500 * time.Millisecond
	defaultPool    = 10
	retries        = 1
	maxRedirects   = 3
	minBackoff     = 8 * time.Millisecond
	maxBackoff     = 64 * time.Millisecond
	bufferBytes    = 8 << 10
	noPipelinePool = -1
)

// Dial returns a client as the options say. It connects when it is first used.
// No error holds a password.
func Dial(o Options) (redis.UniversalClient, error) {
	if err := o.useDocument(); err != nil {
		return nil, err
	}
	t, err := parseURL(o.URL)
	if err != nil {
		return nil, fmt.Errorf("redis URL: %w", err)
	}
	o.setDefaults()
	secrets, err := o.secrets(t)
	if err != nil {
		return nil, err
	}
	// Reading them once tells a wrong path now and not at the first sign-in.
	if _, _, err := secrets.read(context.Background()); err != nil {
		return nil, err
	}
	tlsConfig, err := o.tlsConfig(t)
	if err != nil {
		return nil, err
	}
	switch t.kind {
	case cluster:
		return redis.NewClusterClient(o.cluster(t, secrets, tlsConfig)), nil
	case sentinel:
		f := o.failover(t, secrets, tlsConfig)
		if f.SentinelUsername, f.SentinelPassword, err = o.sentinelSecrets(); err != nil {
			return nil, err
		}
		return redis.NewFailoverClient(f), nil
	case single:
	}
	return redis.NewClient(o.single(t, secrets, tlsConfig)), nil
}

func (o *Options) setDefaults() {
	if o.DialTimeout <= 0 {
		o.DialTimeout = defaultDial
	}
	if o.ReadTimeout <= 0 {
		o.ReadTimeout = defaultIO
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = defaultIO
	}
	if o.PoolSize <= 0 {
		o.PoolSize = defaultPool
	}
}

func (o *Options) single(t *target, secrets credentials, tlsConfig *tls.Config) *redis.Options {
	return &redis.Options{
		Addr:                       t.hosts[0],
		DB:                         t.db,
		CredentialsProviderContext: secrets.read,
		TLSConfig:                  tlsConfig,
		DialTimeout:                o.DialTimeout,
		DialerRetries:              1,
		ReadTimeout:                o.ReadTimeout,
		WriteTimeout:               o.WriteTimeout,
		ContextTimeoutEnabled:      true,
		MaxRetries:                 retries,
		MinRetryBackoff:            minBackoff,
		MaxRetryBackoff:            maxBackoff,
		PoolSize:                   o.PoolSize,
		PoolTimeout:                o.ReadTimeout,
		PipelinePoolSize:           noPipelinePool,
		ReadBufferSize:             bufferBytes,
		WriteBufferSize:            bufferBytes,
		DisableIdentity:            true,
		MaintNotificationsConfig:   &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

func (o *Options) failover(t *target, secrets credentials, tlsConfig *tls.Config) *redis.FailoverOptions {
	return &redis.FailoverOptions{
		MasterName:                 t.master,
		SentinelAddrs:              t.hosts,
		DB:                         t.db,
		CredentialsProviderContext: secrets.read,
		TLSConfig:                  tlsConfig,
		DialTimeout:                o.DialTimeout,
		DialerRetries:              1,
		ReadTimeout:                o.ReadTimeout,
		WriteTimeout:               o.WriteTimeout,
		ContextTimeoutEnabled:      true,
		MaxRetries:                 retries,
		MinRetryBackoff:            minBackoff,
		MaxRetryBackoff:            maxBackoff,
		PoolSize:                   o.PoolSize,
		PoolTimeout:                o.ReadTimeout,
		PipelinePoolSize:           noPipelinePool,
		ReadBufferSize:             bufferBytes,
		WriteBufferSize:            bufferBytes,
		DisableIdentity:            true,
	}
}

func (o *Options) cluster(t *target, secrets credentials, tlsConfig *tls.Config) *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs:                      t.hosts,
		CredentialsProviderContext: secrets.read,
		TLSConfig:                  tlsConfig,
		DialTimeout:                o.DialTimeout,
		DialerRetries:              1,
		ReadTimeout:                o.ReadTimeout,
		WriteTimeout:               o.WriteTimeout,
		ContextTimeoutEnabled:      true,
		MaxRedirects:               maxRedirects,
		MinRetryBackoff:            minBackoff,
		MaxRetryBackoff:            maxBackoff,
		PoolSize:                   o.PoolSize,
		PoolTimeout:                o.ReadTimeout,
		PipelinePoolSize:           noPipelinePool,
		ReadBufferSize:             bufferBytes,
		WriteBufferSize:            bufferBytes,
		DisableIdentity:            true,
		MaintNotificationsConfig:   &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

var errTwice = errors.New("redis credentials are given twice, in the URL and beside it")

// credentials are read for every connection.
type credentials struct {
	username, password         string
	usernameFile, passwordFile string
	document                   func() (*Document, error)
}

func (o *Options) secrets(t *target) (credentials, error) {
	if t.username != "" && o.UsernameFile != "" || t.password != "" && o.PasswordFile != "" {
		return credentials{}, errTwice
	}
	return credentials{
		username: t.username, password: t.password,
		usernameFile: o.UsernameFile, passwordFile: o.PasswordFile, document: o.Document,
	}, nil
}

func (c credentials) read(context.Context) (username, password string, err error) {
	username, password = c.username, c.password
	if c.document != nil {
		doc, err := c.document()
		switch {
		case err != nil:
			return "", "", err
		case username+password != "" && doc.Username+doc.Password != "":
			return "", "", errTwice
		}
		return username + doc.Username, password + doc.Password, nil
	}
	if c.usernameFile != "" {
		if username, err = readSecret(c.usernameFile); err != nil {
			return "", "", err
		}
	}
	if c.passwordFile != "" {
		if password, err = readSecret(c.passwordFile); err != nil {
			return "", "", err
		}
	}
	return username, password, nil
}

// readSecret reads a file without the line ends after its content, "" for no
// file. An empty file is one that is being written, or a mistake.
func readSecret(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path) //nolint:gosec // the path is the operator's configuration
	if err != nil {
		return "", fmt.Errorf("read a redis credential: %w", err)
	}
	secret := strings.TrimRight(string(b), "\r\n")
	if secret == "" {
		return "", fmt.Errorf("read a redis credential: %s is empty", path)
	}
	return secret, nil
}

func (o *Options) tlsConfig(t *target) (*tls.Config, error) {
	if !t.tls {
		given, err := o.hasTLS()
		if given {
			err = errors.New("redis TLS settings are given and the URL asks for no TLS: use a rediss scheme")
		}
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: o.ServerName}
	pem, err := o.authorities()
	if err != nil {
		return nil, err
	}
	if len(pem) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("read the authorities of redis: there is no certificate in " + cmp.Or(o.CAFile, "the document"))
		}
	}
	pair, err := o.certificate()
	if err != nil {
		return nil, err
	}
	if pair == nil {
		return config, nil
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := o.certificate()
		if pair == nil && err == nil {
			pair = new(tls.Certificate) // none any more: the server says what it thinks of that
		}
		return pair, err
	}
	return config, nil
}
