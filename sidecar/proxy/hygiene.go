package proxy

import (
	"net/http"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/sallyport/sallyport/sidecar/identity/wire"
)

// Refusal is why a request cannot go any further, whoever sent it.
type Refusal struct {
	Status int
	// Code is from a closed set, fit for metrics.
	Code string
	// Detail is a sentence for a person. It repeats nothing of the request.
	Detail string
}

// The codes of a Refusal.
const (
	CodeMethod        = "method_not_allowed"
	CodeTarget        = "ambiguous_target"
	CodeConnection    = "ambiguous_connection"
	CodeAuthorization = "ambiguous_authorization"
	CodeCookie        = "ambiguous_cookie"
	CodeCookieSize    = "cookies_too_large"
)

func malformed(code, detail string) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Code: code, Detail: detail}
}

// Hygiene makes sure that everyone behind it reads a request alike.
//
// The threat: the sidecar takes a request for nobody's, or for a harmless one, and
// the app takes the same bytes for Alice's. So what could be read in two ways is
// removed where it is the client's to lose, and the request is refused where a
// credential is concerned. It runs first, on every request.
type Hygiene struct {
	own, significant names
	trusts           func(peer netip.Addr) bool
	// What a peer may not set: one that is trusted, and any other.
	trustedMayNot, othersMayNot wire.HeaderSet
	// sensitive are the headers that isSensitive knows by their whole names.
	sensitive wire.HeaderSet
}

// HygieneConfig is what is particular to one app.
type HygieneConfig struct {
	// OwnCookies names the sidecar's cookies. They are removed: read them before.
	OwnCookies []string
	// SignificantCookies names the cookies that decide who is signed in.
	SignificantCookies []string
	// ReservedHeaders are removed from every request, in every spelling.
	ReservedHeaders []string
	// TrustedHeaders are removed likewise unless Trusts says that the peer may set
	// them. From such a peer they are removed in every spelling but the exact one.
	TrustedHeaders []string
	// Trusts judges the peer. Default: nobody is trusted.
	Trusts func(peer netip.Addr) bool
}

// NewHygiene returns the hygiene of requests to one app.
func NewHygiene(c HygieneConfig) *Hygiene {
	h := &Hygiene{
		own: newNames(c.OwnCookies), significant: newNames(c.SignificantCookies), trusts: c.Trusts,
		trustedMayNot: wire.NewHeaderSet(c.ReservedHeaders...),
		othersMayNot:  wire.NewHeaderSet(slices.Concat(c.ReservedHeaders, c.TrustedHeaders)...),
		sensitive:     wire.NewHeaderSet(slices.Concat(sensitiveHeaders(), c.TrustedHeaders)...),
	}
	if h.trusts == nil {
		h.trusts = func(netip.Addr) bool { return false }
	}
	return h
}

// Clean removes from the request what must not go further. A refusal means that
// the request must be answered with it; the request may be half cleaned then.
func (h *Hygiene) Clean(r *http.Request) *Refusal {
	for _, step := range []func(*http.Request) *Refusal{
		cleanMethod, cleanTarget, cleanHost, cleanConnection, h.cleanHeaders, cleanAuthorization, h.cleanCookies,
	} {
		if refusal := step(r); refusal != nil {
			return refusal
		}
	}
	return nil
}

// cleanMethod refuses methods that make a proxy do something else than passing a
// request on. Case is ignored: some apps ignore it too. Of HTTP/2, net/http lets methods
// pass that cannot stand in a request line.
func cleanMethod(r *http.Request) *Refusal {
	if !httpguts.ValidHeaderFieldName(r.Method) { // a token too (RFC 9110, section 9.1)
		return malformed(CodeMethod, "The method of the request is none.")
	}
	for _, method := range []string{http.MethodConnect, http.MethodTrace, "TRACK"} {
		if strings.EqualFold(r.Method, method) {
			return &Refusal{
				Status: http.StatusMethodNotAllowed, Code: CodeMethod,
				Detail: "This method is not served here.",
			}
		}
	}
	return nil
}

// cleanTarget refuses every target but a path ("*" is for OPTIONS). The absolute
// form would be as good if its host were that of the Host header, but net/http
// drops the latter in favour of the former, and what cannot be compared cannot be
// trusted. Only clients of forward proxies send it.
func cleanTarget(r *http.Request) *Refusal {
	asterisk := r.Method == http.MethodOptions && r.RequestURI == "*"
	if !asterisk && !strings.HasPrefix(rawPath(r), "/") {
		return malformed(CodeTarget, "The request must name a path, not a whole address.")
	}
	// In HTTP/2 a target ends where its field does. On the app's request line a blank
	// would end it, and what stands behind it could be taken for the version.
	if strings.Contains(r.RequestURI, " ") {
		return malformed(CodeTarget, "The target of the request holds a blank.")
	}
	return nil
}

// cleanHost refuses requests that name no host in a way that all servers read alike.
// Of HTTP/1.1, net/http has asked for one host of plain characters already. Of HTTP/2 it
// has not, and would send the app an empty one in place of one that is odd.
func cleanHost(r *http.Request) *Refusal {
	if r.ProtoMajor > 1 && (r.Host == "" || !httpguts.ValidHostHeader(r.Host)) {
		return malformed(CodeTarget, "The request must name a host.")
	}
	// HTTP/2 may carry both :authority and Host.
	for _, host := range r.Header["Host"] {
		if !strings.EqualFold(host, r.Host) {
			return malformed(CodeTarget, "The request names two different hosts.")
		}
	}
	delete(r.Header, "Host")
	return nil
}

// cleanConnection leaves a client no way to have headers removed after they were
// looked at, or to leave HTTP for any protocol but WebSocket.
func cleanConnection(r *http.Request) *Refusal {
	upgrade := false
	for _, value := range r.Header["Connection"] {
		for token := range strings.SplitSeq(value, ",") {
			switch strings.ToLower(textproto.TrimString(token)) {
			case "", "close", "keep-alive", "te", "http2-settings":
			case "upgrade":
				upgrade = true
			default:
				return malformed(CodeConnection, "The Connection header names something that a client may not remove.")
			}
		}
	}
	webSocket := upgrade && r.Method == http.MethodGet && r.ProtoMajor == 1 && r.ProtoMinor >= 1 &&
		len(r.Header["Upgrade"]) == 1 && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
	delete(r.Header, "Http2-Settings")
	delete(r.Header, "Connection")
	if webSocket {
		r.Header.Set("Connection", "Upgrade")
	} else {
		delete(r.Header, "Upgrade")
	}
	return nil
}

// cleanHeaders removes headers and trailers that the client may not set.
func (h *Hygiene) cleanHeaders(r *http.Request) *Refusal {
	reserved := h.othersMayNot
	if h.trusts(wire.Peer(r)) {
		reserved = h.trustedMayNot
	}
	forbidden := func(name string) bool {
		return hasPrefix(name, assertionPrefix) || reserved.Has(name) || isAlias(name) && h.isSensitive(name)
	}
	for name := range r.Header {
		if forbidden(name) {
			delete(r.Header, name)
		}
	}
	// A trailer may be merged into the headers by whoever reads it, after everybody
	// has looked at them. What decides anything has no business there.
	for name := range r.Trailer {
		if forbidden(name) || h.isSensitive(name) {
			delete(r.Trailer, name)
		}
	}
	return nil
}

func hasPrefix(name, prefix string) bool {
	return len(name) >= len(prefix) && wire.SameHeader(name[:len(prefix)], prefix)
}

// isAlias reports whether the name holds a byte that a server may turn into the
// one that "-" becomes.
func isAlias(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-':
		default:
			return true
		}
	}
	return false
}

// isSensitive knows the headers that say where a request comes from, who sent it,
// where it goes, or where it ends.
func (h *Hygiene) isSensitive(name string) bool {
	return hasPrefix(name, "X-Forwarded-") || hasPrefix(name, "X-Original-") || h.sensitive.Has(name)
}

// sensitiveHeaders are those of them that have one name, whatever the policy.
func sensitiveHeaders() []string {
	return append(overrides(),
		"Authorization", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Cookie", "Expect",
		"Forwarded", "Host", "Proxy-Authorization", "Proxy-Connection", "Remote-User", "Sec-Fetch-Site",
		"Set-Cookie", "Te", "Trailer", "Transfer-Encoding", "True-Client-Ip", "Upgrade", "X-Client-Ip",
		"X-Real-Ip", "X-Requested-With",
	)
}

func cleanAuthorization(r *http.Request) *Refusal {
	if len(r.Header["Authorization"]) > 1 {
		return malformed(CodeAuthorization, "The request carries more than one Authorization header.")
	}
	return nil
}
