package injection

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// carry returns what a place's probe or hook does, nil where it does not ask the app's
// port of this pod.
func (s Settings) carry(c *corev1.Container, p place, app int32) (*carried, error) {
	probe := &carried{Container: c.Name, Kind: p.kind, TimeoutSeconds: p.seconds()}
	own := numbersOf(c)
	switch {
	case *p.http != nil && asks((*p.http).Host, (*p.http).Port, own, app):
		get, why := carryHTTP(*p.http, app)
		if why != "" {
			return nil, s.refuse("the sidecar cannot make the %s of container %s in the kubelet's place (%s); use exec, or capture: Port",
				p.kind, c.Name, why)
		}
		probe.HTTPGet = get
	case *p.tcp != nil && !p.hook && asks((*p.tcp).Host, (*p.tcp).Port, own, app):
		probe.TCPSocket = &carriedTCP{Port: app, Host: (*p.tcp).Host}
	case p.grpc != nil && *p.grpc != nil && (*p.grpc).Port == app:
		grpc := *p.grpc
		if grpc.Mode != nil && *grpc.Mode != corev1.GRPCProbeModePlaintext {
			return nil, s.refuse("the sidecar cannot make the %s of container %s in the kubelet's place (gRPC over TLS); use exec, or capture: Port",
				p.kind, c.Name)
		}
		probe.GRPC = &carriedGRPC{Port: app}
		if grpc.Service != nil {
			probe.GRPC.Service = *grpc.Service
		}
	default:
		return nil, nil //nolint:nilnil // nothing to do is an answer
	}
	return probe, nil
}

// asks reports whether a probe goes to the app's port of the pod. One with a host asks
// somebody else, unless it is loopback: that leads into the pod by a host port.
func asks(host string, port intstr.IntOrString, own map[string]int32, app int32) bool {
	number := port.IntVal
	if port.Type == intstr.String {
		number = own[port.StrVal]
	}
	return number == app && (host == "" || isLoopback(host))
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.IsLoopback() && address.Zone() == ""
}

// carryHTTP returns the request, or why the sidecar would not take it.
func carryHTTP(get *corev1.HTTPGetAction, app int32) (request *carriedHTTP, why string) {
	switch {
	case get.Protocol != nil && *get.Protocol != corev1.HTTPProtocolHTTP1:
		return nil, "protocol " + string(*get.Protocol)
	case len(get.Path) > maxText:
		return nil, "the path is too long"
	case len(get.HTTPHeaders) > maxHeaders:
		return nil, fmt.Sprintf("more than %d headers", maxHeaders)
	}
	request = &carriedHTTP{Path: get.Path, Port: app, Scheme: string(get.Scheme), Host: get.Host}
	for _, h := range get.HTTPHeaders {
		if len(h.Value) > maxText || strings.ContainsFunc(h.Value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return nil, "header " + h.Name + " has a value that a header cannot have"
		}
		request.Headers = append(request.Headers, carriedHeader(h))
	}
	return request, ""
}

// encodeProbes writes what the sidecar reads. There is no dollar sign in it, for
// Kubernetes replaces $(NAME) in arguments; one can only stand within a string.
func encodeProbes(probes []carried) string {
	document, err := json.Marshal(probes)
	if err != nil {
		panic(fmt.Sprintf("marshal strings and numbers: %v", err)) // they always can be
	}
	return string(bytes.ReplaceAll(document, []byte("$"), []byte(`\u0024`)))
}
