// Package probe does the kubelet's probes for it. Where the traffic of the app's
// ports is redirected to the sidecar, the kubelet's probes of these ports would meet
// the second door; so they are sent to the sidecar's operations port, and carried out
// here, over loopback, as the kubelet would have done.
//
// That port can be reached by anyone who can reach the pod. Hence an answer says up
// or down and nothing else, never a byte of the app's; each target is probed at most
// once at a time and twice a second, and everybody who asks meanwhile shares the
// outcome; and a lifecycle hook, which does something, runs only for whoever knows
// its token.
//
// It imports nothing of ours. It must never connect to anything but loopback, and
// never take from a request what it sends to the app.
package probe

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Prefix begins the path of every probe.
const Prefix = "/probe/"

// TokenHeader carries the token of a lifecycle hook.
const TokenHeader = "Sallyport-Hook-Token" //nolint:gosec // a header's name

// Kind is the part of a container's manifest that a probe stood in.
type Kind string

// The kinds of probes, and of lifecycle hooks.
const (
	Liveness  Kind = "liveness"
	Readiness Kind = "readiness"
	Startup   Kind = "startup"
	PostStart Kind = "postStart"
	PreStop   Kind = "preStop"
)

// hook reports whether the Kind is a lifecycle hook.
func (k Kind) hook() bool { return k == PostStart || k == PreStop }

func (k Kind) known() bool {
	return slices.Contains([]Kind{Liveness, Readiness, Startup, PostStart, PreStop}, k)
}

// Probe is one probe or lifecycle hook of one container, as its manifest had it,
// with named ports resolved. Exactly one of HTTPGet, TCPSocket and GRPC is set.
type Probe struct {
	Container string `json:"container"`
	Kind      Kind   `json:"kind"`
	// TimeoutSeconds is 1 if it is 0; a hook without one may take an hour.
	TimeoutSeconds int32 `json:"timeoutSeconds,omitzero"`
	// Token is what a caller of a hook must send in TokenHeader. Only hooks have one,
	// and every hook has.
	Token     string     `json:"token,omitzero"`
	HTTPGet   *HTTPGet   `json:"httpGet,omitzero"`
	TCPSocket *TCPSocket `json:"tcpSocket,omitzero"`
	GRPC      *GRPC      `json:"grpc,omitzero"`
}

// HTTPGet asks for a path; any status from 200 to 399 is a success.
type HTTPGet struct {
	Path string `json:"path,omitzero"`
	Port int32  `json:"port"`
	// Scheme is HTTP, also if it is empty, or HTTPS.
	Scheme string `json:"scheme,omitzero"`
	// Host is empty or loopback.
	Host    string   `json:"host,omitzero"`
	Headers []Header `json:"headers,omitzero"`
}

// Header is one header field of a request.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// TCPSocket opens a connection.
type TCPSocket struct {
	Port int32 `json:"port"`
	// Host is empty or loopback.
	Host string `json:"host,omitzero"`
}

// GRPC asks the standard health service; only SERVING is a success.
type GRPC struct {
	Port    int32  `json:"port"`
	Service string `json:"service,omitzero"`
}

// Path is where the Probe is found on the operations port.
func (p Probe) Path() string { return Prefix + p.Container + "/" + string(p.Kind) }

// Bounds of a document. A command line argument may have 128 KiB.
const (
	maxDocument = 64 << 10
	maxProbes   = 256
	maxHeaders  = 64
	maxText     = 8 << 10
	minToken    = 16
)

// Decode reads a list of probes, strictly: a field that is not known, a probe that
// is given twice, or one that is not valid is an error.
func Decode(document []byte) ([]Probe, error) {
	if len(document) > maxDocument {
		return nil, fmt.Errorf("%d bytes of probes; %d is the most", len(document), maxDocument)
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.DisallowUnknownFields()
	var probes []Probe
	if err := decoder.Decode(&probes); err != nil {
		return nil, fmt.Errorf("read the probes: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("read the probes: something follows the list")
	}
	return probes, validate(probes)
}

// Encode writes what Decode reads: compact, the same for the same probes in any
// order, and without a dollar sign, for Kubernetes replaces $(NAME) in arguments.
func Encode(probes []Probe) ([]byte, error) {
	if err := validate(probes); err != nil {
		return nil, err
	}
	sorted := slices.SortedFunc(slices.Values(probes), func(a, b Probe) int {
		return cmp.Or(strings.Compare(a.Container, b.Container), strings.Compare(string(a.Kind), string(b.Kind)))
	})
	document, err := json.Marshal(sorted)
	if err != nil {
		return nil, fmt.Errorf("write the probes: %w", err)
	}
	// A dollar sign can only stand within a string.
	document = bytes.ReplaceAll(document, []byte("$"), []byte(`\u0024`))
	if len(document) > maxDocument {
		return nil, fmt.Errorf("%d bytes of probes; %d is the most", len(document), maxDocument)
	}
	return document, nil
}

func validate(probes []Probe) error {
	if len(probes) > maxProbes {
		return fmt.Errorf("%d probes; %d is the most", len(probes), maxProbes)
	}
	seen := map[string]bool{}
	for i, p := range probes {
		if err := p.Validate(); err != nil {
			return fmt.Errorf("probe %d: %w", i, err)
		}
		if seen[p.Path()] {
			return fmt.Errorf("probe %d: %s of %s is given twice", i, p.Kind, p.Container)
		}
		seen[p.Path()] = true
	}
	return nil
}

// dnsLabel is what Kubernetes allows as the name of a container.
var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// Validate reports the first thing that is wrong with the Probe. One whose target is
// not the pod itself is refused: the sidecar has no business there, and the kubelet
// can still do it.
func (p Probe) Validate() error {
	switch {
	case !dnsLabel.MatchString(p.Container):
		return errors.New("container: not the name of a container")
	case !p.Kind.known():
		return errors.New("kind: write liveness, readiness, startup, postStart or preStop")
	case p.TimeoutSeconds < 0:
		return errors.New("timeoutSeconds: less than 0")
	}
	return errors.Join(p.validateToken(), p.validateAction())
}

func (p Probe) validateToken() error {
	switch {
	case p.Kind.hook() && (len(p.Token) < minToken || !plain(p.Token)):
		return fmt.Errorf("token: a hook needs one of %d characters or more that a header can carry", minToken)
	case !p.Kind.hook() && p.Token != "":
		return errors.New("token: only hooks have one")
	}
	return nil
}

func (p Probe) validateAction() error {
	actions := 0
	for _, set := range []bool{p.HTTPGet != nil, p.TCPSocket != nil, p.GRPC != nil} {
		if set {
			actions++
		}
	}
	switch {
	case actions != 1:
		return errors.New("write one of httpGet, tcpSocket and grpc")
	case p.Kind.hook() && p.HTTPGet == nil:
		return errors.New("a hook is an httpGet: the kubelet runs no other of these")
	case p.HTTPGet != nil:
		return p.HTTPGet.validate()
	case p.TCPSocket != nil:
		return errors.Join(validPort(p.TCPSocket.Port), validHost(p.TCPSocket.Host))
	}
	if len(p.GRPC.Service) > maxText {
		return errors.New("service: too long")
	}
	return validPort(p.GRPC.Port)
}

func (h *HTTPGet) validate() error {
	switch {
	case h.Scheme != "" && h.Scheme != "HTTP" && h.Scheme != "HTTPS":
		return errors.New("scheme: write HTTP or HTTPS")
	case len(h.Path) > maxText:
		return errors.New("path: too long")
	case len(h.Headers) > maxHeaders:
		return fmt.Errorf("headers: %d; %d is the most", len(h.Headers), maxHeaders)
	}
	for _, header := range h.Headers {
		if len(header.Name) > maxText || !httpguts.ValidHeaderFieldName(header.Name) {
			return errors.New("headers: not the name of a header")
		}
		if len(header.Value) > maxText || !httpguts.ValidHeaderFieldValue(header.Value) {
			return errors.New("headers: a value that a header cannot have")
		}
	}
	return errors.Join(validPort(h.Port), validHost(h.Host))
}

func plain(token string) bool {
	return len(token) <= maxText && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

func validPort(port int32) error {
	if port < 1 || port > 1<<16-1 {
		return fmt.Errorf("port: %d is not from 1 to %d", port, 1<<16-1)
	}
	return nil
}

func validHost(host string) error {
	if host == "" || strings.EqualFold(host, "localhost") {
		return nil
	}
	if address, err := netip.ParseAddr(host); err == nil && address.IsLoopback() && address.Zone() == "" {
		return nil
	}
	return errors.New("host: only the pod itself is probed; leave it empty or name loopback")
}
