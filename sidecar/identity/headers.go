package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/api/policy"
	"github.com/sallyport/sallyport/sidecar/identity/wire"
)

// Headers believes an authenticating proxy in front of the sidecar.
//
// The threat: anybody who can open a connection to the pod can write headers. So
// they count only from the peers that the policy lists, judged by the address of
// the connection and never by a header; from anyone else they make nobody.
type Headers struct {
	cfg     policy.HeadersIdentity
	names   []string // of the configured headers
	trusted []netip.Prefix
}

var _ Reserver = (*Headers)(nil)

// NewHeaders returns a source that reads headers, under a policy with its defaults
// filled in.
func NewHeaders(cfg policy.HeadersIdentity) (*Headers, error) {
	if cfg.Subject == "" {
		return nil, errors.New("identity.headers.subject is missing")
	}
	if len(cfg.TrustedProxies) == 0 {
		return nil, errors.New("identity.headers.trustedProxies is empty: nobody's headers could be believed")
	}
	h := &Headers{cfg: cfg, names: []string{cfg.Subject, cfg.Account, cfg.Roles, cfg.SignIn}}
	h.names = slices.DeleteFunc(h.names, func(name string) bool { return name == "" })
	for _, text := range cfg.TrustedProxies {
		prefix, err := parsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("identity.headers.trustedProxies: read %q: %w", text, err)
		}
		h.trusted = append(h.trusted, prefix)
	}
	return h, nil
}

// parsePrefix reads a CIDR, or one address. An IPv4 range written as IPv6 becomes
// the IPv4 range, as peers do.
func parsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		addr, addrErr := netip.ParseAddr(text)
		if addrErr != nil {
			return netip.Prefix{}, err
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	if prefix.Addr().Is4In6() {
		if prefix.Bits() < 96 {
			return netip.Prefix{}, errors.New("the range reaches beyond the IPv4 addresses")
		}
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	return prefix.Masked(), nil
}

// Reserved names the headers, and what other products' proxies set.
func (h *Headers) Reserved() []string { return slices.Concat(h.names, foreignHeaders[:]) }

// Trusts reports whether the peer may say who is signed in.
func (h *Headers) Trusts(peer netip.Addr) bool {
	peer = peer.Unmap().WithZone("")
	return slices.ContainsFunc(h.trusted, func(p netip.Prefix) bool { return p.Contains(peer) })
}

// Identify reads the headers of a trusted peer. More than one value for any of
// them is malformed: which one counts is for nobody to guess.
//
// A trusted proxy answers for the Authorization header as well: it passes one on
// only if it is its own or it has judged it. Where nobody is signed in, it goes.
func (h *Headers) Identify(_ context.Context, r *http.Request) Identity {
	if !h.Trusts(wire.Peer(r)) {
		h.Strip(r)
		return Identity{Kind: Anonymous}
	}
	for _, name := range h.names {
		if len(r.Header.Values(name)) > 1 {
			return indeterminate(ReasonMalformed)
		}
	}
	if r.Header.Get(h.cfg.Subject) == "" {
		h.Strip(r)
		return Identity{Kind: Anonymous}
	}
	subject, ok := readSubject(r.Header.Get(h.cfg.Subject))
	if !ok {
		return indeterminate(ReasonAnswer)
	}
	id := Identity{Kind: Authenticated, Subject: subject}
	if h.cfg.Account != "" {
		id.Account = readAccount(r.Header.Get(h.cfg.Account))
	}
	if h.cfg.Roles != "" {
		id.Roles, id.RolesKnown = splitRoles(r.Header.Values(h.cfg.Roles))
	}
	if h.cfg.SignIn != "" {
		id.SignIn = r.Header.Get(h.cfg.SignIn)
	}
	return id
}

// splitRoles reads a comma separated list. A header that is there and blank says
// that there are no roles; one that is not there says nothing.
func splitRoles(values []string) (roles []string, known bool) {
	if len(values) == 0 {
		return nil, false
	}
	var items []any
	for item := range strings.SplitSeq(values[0], ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return readRoles(items)
}

// Strip removes the identity headers in every spelling, and Authorization.
func (h *Headers) Strip(r *http.Request) {
	for _, name := range h.names {
		wire.DelHeader(r.Header, name)
	}
	r.Header.Del("Authorization")
}

// Forget has nothing to drop: nothing is remembered.
func (h *Headers) Forget(*http.Request) {}

// Observe sees no change: the app's cookies are not what says who is signed in.
func (h *Headers) Observe(*http.Request, http.Header) (signIn string, changed bool) { return "", false }
