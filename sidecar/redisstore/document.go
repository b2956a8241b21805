package redisstore

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Document says in one JSON object how to reach Redis: what Options say in a URL
// and files. Certificates and keys are PEM. It holds secrets.
type Document struct {
	URL              string `json:"url"`
	Username         string `json:"username,omitempty"`
	Password         string `json:"password,omitempty"`
	CA               string `json:"ca,omitempty"`
	Cert             string `json:"cert,omitempty"`
	Key              string `json:"key,omitempty"`
	ServerName       string `json:"serverName,omitempty"`
	SentinelUsername string `json:"sentinelUsername,omitempty"`
	SentinelPassword string `json:"sentinelPassword,omitempty"`
	// WaitReplicas is how many replicas must acknowledge a spent code before it
	// counts, a decimal number; "" for none.
	WaitReplicas string `json:"waitReplicas,omitempty"`
}

// maxDocument bounds a document; certificates are a few kilobytes.
const maxDocument = 1 << 20

// Format keeps the secrets out of every verb of package fmt.
func (Document) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "redisstore.Document(redacted)")
}

// ParseDocument reads a document. No error quotes it.
func ParseDocument(data []byte) (*Document, error) {
	if len(data) > maxDocument {
		return nil, errors.New("the redis document is too large")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var doc Document
	if err := d.Decode(&doc); err != nil {
		return nil, plainly(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the redis document goes on after its end")
	}
	if doc.URL == "" {
		return nil, errors.New("the redis document has no url")
	}
	if _, err := doc.Replicas(); err != nil {
		return nil, err
	}
	return &doc, nil
}

// maxReplicas is more than any Redis has, and less than what a typing mistake makes.
const maxReplicas = 100

// Replicas returns WaitReplicas as a number.
func (d *Document) Replicas() (int, error) {
	if d.WaitReplicas == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(d.WaitReplicas)
	if err != nil || n < 0 || n > maxReplicas {
		return 0, fmt.Errorf("the number of replicas to wait for is not one from 0 to %d", maxReplicas)
	}
	return n, nil
}

func plainly(err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("the redis document is not JSON at byte %d", syntax.Offset)
	}
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("field %q of the redis document is not a string", kind.Field)
	}
	return errors.New("the redis document has an unknown field or is cut short")
}

// DocumentFile returns a source of the document in a file, for Options.
func DocumentFile(path string) func() (*Document, error) {
	return func() (*Document, error) {
		data, err := os.ReadFile(path) //nolint:gosec // the path is the operator's configuration
		if err != nil {
			return nil, fmt.Errorf("read the redis document: %w", err)
		}
		doc, err := ParseDocument(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return doc, nil
	}
}

var errDocumentAndMore = errors.New("redis is described twice, in a document and beside it")

// useDocument takes the URL and the server name from the document, if there is one.
func (o *Options) useDocument() error {
	if o.Document == nil {
		return nil
	}
	if o.URL+o.UsernameFile+o.PasswordFile+o.SentinelUsernameFile+o.SentinelPasswordFile+
		o.CAFile+o.CertFile+o.KeyFile+o.ServerName != "" {
		return errDocumentAndMore
	}
	doc, err := o.Document()
	if err != nil {
		return err
	}
	o.URL, o.ServerName = doc.URL, doc.ServerName
	return nil
}

// sentinelSecrets returns what the Sentinels ask for.
func (o *Options) sentinelSecrets() (username, password string, err error) {
	if o.Document != nil {
		doc, err := o.Document()
		if err != nil {
			return "", "", err
		}
		return doc.SentinelUsername, doc.SentinelPassword, nil
	}
	if username, err = readSecret(o.SentinelUsernameFile); err != nil {
		return "", "", err
	}
	password, err = readSecret(o.SentinelPasswordFile)
	return username, password, err
}

// authorities returns the PEM of the authorities of Redis, none for the system's.
func (o *Options) authorities() ([]byte, error) {
	if o.Document != nil {
		doc, err := o.Document()
		if err != nil {
			return nil, err
		}
		return []byte(doc.CA), nil
	}
	if o.CAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read the authorities of redis: %w", err)
	}
	if len(bytes.TrimSpace(pem)) == 0 {
		return nil, fmt.Errorf("read the authorities of redis: %s is empty", o.CAFile)
	}
	return pem, nil
}

// certificate returns the certificate to show to servers, nil for none.
func (o *Options) certificate() (*tls.Certificate, error) {
	var pair tls.Certificate
	var err error
	switch {
	case o.Document != nil:
		var doc *Document
		if doc, err = o.Document(); err != nil {
			return nil, err
		}
		if doc.Cert == "" && doc.Key == "" {
			return nil, nil
		}
		pair, err = tls.X509KeyPair([]byte(doc.Cert), []byte(doc.Key))
	case o.CertFile == "" && o.KeyFile == "":
		return nil, nil
	default:
		pair, err = tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("read the certificate for redis: %w", err)
	}
	return &pair, nil
}

// hasTLS reports whether anything is said that only TLS needs.
func (o *Options) hasTLS() (bool, error) {
	files := o.CAFile + o.CertFile + o.KeyFile + o.ServerName
	if o.Document == nil {
		return files != "", nil
	}
	doc, err := o.Document()
	if err != nil {
		return false, err
	}
	return strings.TrimSpace(files+doc.CA+doc.Cert+doc.Key) != "", nil
}
