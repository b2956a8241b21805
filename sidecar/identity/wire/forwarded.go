package wire

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Peer returns the address of whoever opened the connection, in its shortest
// form, or the zero Addr where there is none (a Unix socket).
func Peer(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap().WithZone("")
}

// Forwarded writes the forwarding headers of a request to the app that stands for
// in. Whatever goes to the app on behalf of a request carries the same ones: an
// app that ties a session to an address must give the same answer to the
// sidecar's question as to the request itself.
//
// What an ingress said in X-Forwarded-Proto, -Host and -Port is kept, and said in
// its place where nobody did: an app that worked behind that ingress works behind
// the sidecar too. They are as trustworthy as whoever reaches the pod, no more
// and no less than before; the sidecar decides nothing by them.
func Forwarded(out http.Header, in *http.Request) {
	for name, values := range in.Header {
		if name == "Forwarded" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded-") {
			out[name] = slices.Clone(values)
		}
	}
	if peer := Peer(in); peer.IsValid() {
		add(out, "X-Forwarded-For", peer.String())
		if len(out["Forwarded"]) > 0 {
			add(out, "Forwarded", forwardedElement(peer))
		}
	}
	keepOrSet(out, "X-Forwarded-Proto", scheme(in))
	keepOrSet(out, "X-Forwarded-Host", in.Host)
	keepOrSet(out, "X-Forwarded-Port", port(in.Host, out.Get("X-Forwarded-Proto")))
}

// forwardedElement names a node as RFC 7239, section 6 wants it.
func forwardedElement(peer netip.Addr) string {
	if peer.Is6() {
		return `for="[` + peer.String() + `]"`
	}
	return "for=" + peer.String()
}

func add(h http.Header, name, value string) {
	values := slices.DeleteFunc(slices.Clone(h[name]), func(v string) bool { return v == "" })
	h[name] = []string{strings.Join(append(values, value), ", ")}
}

func keepOrSet(h http.Header, name, value string) {
	if len(h[name]) == 0 {
		h[name] = []string{value}
	}
}

func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

func port(host, proto string) string {
	if strings.Contains(host, ":") { // else an error is made, for most requests
		if _, p, err := net.SplitHostPort(host); err == nil && p != "" {
			return p
		}
	}
	if strings.EqualFold(proto, "https") {
		return "443"
	}
	return "80"
}
