package keys

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
	"github.com/sallyport/sallyport/sidecar/redisstore"
)

// SidecarSecret is the Secret that the sidecars of a namespace mount, to be applied.
// resourceVersion is of the Secret that the content was made from, so that nothing is
// lost that another has added since; "" where there was none.
func SidecarSecret(namespace, resourceVersion string, content map[string][]byte) *corev1ac.SecretApplyConfiguration {
	secret := corev1ac.Secret(mfav1alpha1.SidecarSecret, namespace).
		WithLabels(map[string]string{mfav1alpha1.ManagedByLabel: mfav1alpha1.ManagedBy}).
		WithType(corev1.SecretTypeOpaque).
		WithData(content)
	if resourceVersion != "" {
		secret.WithResourceVersion(resourceVersion)
	}
	return secret
}

// maxValue bounds one value of a user's Secret.
const maxValue = 256 << 10

// FromSecret reads how to reach Redis from a Secret that people write: url, and as
// needed username, password, ca.crt, tls.crt, tls.key, server-name, sentinel-username,
// sentinel-password and wait-replicas. A key of another name is an error, for it is a key that was
// meant and not understood. No error quotes a value.
func FromSecret(data map[string][]byte) (*redisstore.Document, error) {
	var doc redisstore.Document
	fields := map[string]*string{
		"url": &doc.URL, "username": &doc.Username, "password": &doc.Password,
		"ca.crt": &doc.CA, "tls.crt": &doc.Cert, "tls.key": &doc.Key, "server-name": &doc.ServerName,
		"sentinel-username": &doc.SentinelUsername, "sentinel-password": &doc.SentinelPassword,
		"wait-replicas": &doc.WaitReplicas,
	}
	var unknown []string
	for _, key := range slices.Sorted(maps.Keys(data)) {
		field, ok := fields[key]
		if !ok {
			unknown = append(unknown, key)
			continue
		}
		// Whoever makes a Secret from a file brings the file's last line end along.
		*field = strings.TrimRight(string(data[key]), "\r\n")
		switch {
		case len(data[key]) > maxValue:
			return nil, fmt.Errorf("the value of %s is too large", key)
		case *field == "":
			return nil, fmt.Errorf("the value of %s is empty", key)
		case strings.ContainsRune(*field, 0) || !utf8.ValidString(*field):
			return nil, fmt.Errorf("the value of %s is not text", key)
		}
	}
	switch {
	case len(unknown) > 0:
		return nil, fmt.Errorf("it has keys that mean nothing: %s; known are %s",
			strings.Join(unknown, ", "), strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
	case doc.URL == "":
		return nil, errors.New("it has no key url")
	case (doc.Cert == "") != (doc.Key == ""):
		return nil, errors.New("tls.crt and tls.key come together")
	case doc.SentinelUsername != "" && doc.SentinelPassword == "":
		return nil, errors.New("sentinel-username comes with sentinel-password")
	}
	if _, err := doc.Replicas(); err != nil {
		return nil, fmt.Errorf("wait-replicas: %w", err)
	}
	return &doc, nil
}
