package policy

import (
	"slices"
	"strings"
)

// Passage is what an exempt request keeps of its credentials.
type Passage uint8

// What an exempt request keeps. PassNothing is the zero value.
const (
	// PassNothing removes cookies and Authorization.
	PassNothing Passage = iota
	// PassAuthorization keeps the one Authorization header and removes cookies.
	PassAuthorization
	// PassCredentials keeps both.
	PassCredentials
)

// Exempts says whether a request is served without a second factor, and what it
// keeps of its credentials then. The path is the raw one of the request line,
// without the query; a path that is not canonical is never exempt. A method
// matches as it is written: GET does not bring HEAD with it. authorization is
// every Authorization header of the request: an exemption that lists schemes
// matches no request but one with exactly one header, of such a scheme.
//
// Where several exemptions match, the most specific one speaks: an exact path
// before any prefix, a longer prefix before a shorter one. Where two are
// equally specific, the one that passes less speaks. The order of the list means
// nothing.
func (r *Rules) Exempts(method, path string, authorization []string) (Passage, bool) {
	best, passage := -1, PassNothing
	for i := range r.Exempt {
		e := &r.Exempt[i]
		rank := e.rank(method, path)
		switch {
		case rank < 0 || rank < best || !e.admits(authorization):
		case rank == best:
			passage = min(passage, e.passage())
		default:
			best, passage = rank, e.passage()
		}
	}
	if best < 0 || !CanonicalPath(path) {
		return PassNothing, false
	}
	return passage, true
}

func (e *Exemption) passage() Passage {
	switch {
	case len(e.Authorization) > 0:
		return PassAuthorization
	case e.PassCredentials:
		return PassCredentials
	default:
		return PassNothing
	}
}

// admits reports whether the request's Authorization is one that the exemption is
// for. A scheme that is followed by nothing is no credential.
func (e *Exemption) admits(authorization []string) bool {
	if len(e.Authorization) == 0 {
		return true
	}
	if len(authorization) != 1 {
		return false
	}
	scheme, credential, _ := strings.Cut(authorization[0], " ")
	return strings.TrimSpace(credential) != "" &&
		slices.ContainsFunc(e.Authorization, func(s string) bool { return strings.EqualFold(s, scheme) })
}

// rank is how specifically the exemption matches a request, or -1 where it
// does not.
func (e *Exemption) rank(method, path string) int {
	if len(e.Methods) > 0 && !slices.Contains(e.Methods, method) {
		return -1
	}
	switch {
	case e.Path != "" && e.Path == path:
		// No prefix that matches this path is longer than it is.
		return len(path) + 1
	case e.Prefix != "" && strings.HasPrefix(path, e.Prefix):
		return len(e.Prefix)
	default:
		return -1
	}
}
