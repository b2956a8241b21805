package proxy

import (
	"net/http"
	"strings"

	"github.com/sallyport/sallyport/api/policy"
)

// CanonicalPath returns the path of the request line as it was sent, without the
// query, and whether every server reads it alike. A path that is not canonical must
// decide nothing: it is the app's, and never exempt.
func CanonicalPath(r *http.Request) (path string, canonical bool) {
	path = rawPath(r)
	return path, policy.CanonicalPath(path) && path == r.URL.Path
}

// rawPath is the request target up to the query.
func rawPath(r *http.Request) string {
	if r.RequestURI == "" {
		return r.URL.EscapedPath() // a request that did not come over a connection
	}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	return path
}
