package policy

import (
	"slices"
	"strings"
)

// Exempts says whether a request is served without a second factor, and
// whether it keeps its cookies and its Authorization header then. The path is
// the raw one of the request line, without the query; a path that is not
// canonical is never exempt. A method matches as it is written: GET does not
// bring HEAD with it.
//
// Where several exemptions match, the most specific one speaks: an exact path
// before any prefix, a longer prefix before a shorter one. Where two are
// equally specific, credentials pass only if both say so. The order of the
// list means nothing.
func (r *Rules) Exempts(method, path string) (passCredentials, ok bool) {
	best := -1
	for i := range r.Exempt {
		e := &r.Exempt[i]
		rank := e.rank(method, path)
		switch {
		case rank < 0 || rank < best:
		case rank == best:
			passCredentials = passCredentials && e.PassCredentials
		default:
			best, passCredentials = rank, e.PassCredentials
		}
	}
	if best < 0 || !CanonicalPath(path) {
		return false, false
	}
	return passCredentials, true
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
