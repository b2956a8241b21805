package wire

import "net/http"

// SameHeader reports whether some server could take one header name for the
// other. CGI and its heirs turn every "-" into "_" and ignore case, and some turn
// whatever else is not a letter or a digit into "_" too.
func SameHeader(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if foldHeaderByte(a[i]) != foldHeaderByte(b[i]) {
			return false
		}
	}
	return true
}

func foldHeaderByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	default:
		return '-'
	}
}

// DelHeader removes a header in every spelling that SameHeader knows.
func DelHeader(h http.Header, name string) {
	for key := range h {
		if SameHeader(key, name) {
			delete(h, key)
		}
	}
}
