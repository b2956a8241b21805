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
	h := headers{out, make([]string, 0, 5)}
	if peer := Peer(in); peer.IsValid() {
		h.add("X-Forwarded-For", peer.String())
		if len(out["Forwarded"]) > 0 {
			h.add("Forwarded", forwardedElement(peer))
		}
	}
	h.keepOrSet("X-Forwarded-Proto", scheme(in))
	h.keepOrSet("X-Forwarded-Host", in.Host)
	h.keepOrSet("X-Forwarded-Port", port(in.Host, out.Get("X-Forwarded-Proto")))
}

// headers are set with values that lie side by side, in one piece of memory.
type headers struct {
	http.Header

	values []string
}

func (h *headers) set(name, value string) {
	n := len(h.values)
	h.values = append(h.values, value)
	h.Header[name] = h.values[n : n+1 : n+1]
}

func (h *headers) add(name, value string) {
	if values := slices.DeleteFunc(slices.Clone(h.Header[name]), func(v string) bool { return v == "" }); len(values) > 0 {
		value = strings.Join(append(values, value), ", ")
	}
	h.set(name, value)
}

func (h *headers) keepOrSet(name, value string) {
	if len(h.Header[name]) == 0 {
		h.set(name, value)
	}
}

// forwardedElement names a node as RFC 7239, section 6 wants it.
func forwardedElement(peer netip.Addr) string {
	if peer.Is6() {
		return `for="[` + peer.String() + `]"`
	}
	return "for=" + peer.String()
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
