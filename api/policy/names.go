package policy

import (
	"strconv"
	"strings"
)

// element is the path of one entry of a list.
func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// token says whether s is a token of RFC 9110, which is also what RFC 6265 asks
// of a cookie's name.
func token(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return !lowerAlphanumeric(c) && (c < 'A' || c > 'Z') && !strings.ContainsRune("!#$%&'*+-.^_`|~", c)
	})
}

// dnsLabel says whether s is a label of RFC 1123, as Kubernetes names want it.
func dnsLabel(s string) bool {
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' &&
		!strings.ContainsFunc(s, func(c rune) bool { return !lowerAlphanumeric(c) && c != '-' })
}

// dnsSubdomain says whether s is a name of a Kubernetes object.
func dnsSubdomain(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		// Kubernetes bounds the whole name and not its labels.
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(c rune) bool { return !lowerAlphanumeric(c) && c != '-' }) {
			return false
		}
	}
	return true
}

// portName says whether s is an IANA service name (RFC 6335), as Kubernetes
// wants the name of a container port.
func portName(s string) bool {
	return dnsLabel(s) && len(s) <= 15 && !strings.Contains(s, "--") &&
		strings.ContainsFunc(s, func(c rune) bool { return c >= 'a' && c <= 'z' })
}

// secretKey says whether s can be a key of a Secret.
func secretKey(s string) bool {
	return s != "" && len(s) <= 253 && s != "." && !strings.HasPrefix(s, "..") &&
		!strings.ContainsFunc(s, func(c rune) bool {
			return !lowerAlphanumeric(c) && (c < 'A' || c > 'Z') && c != '-' && c != '_' && c != '.'
		})
}

func lowerAlphanumeric(c rune) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// hasPrefixFold is strings.HasPrefix without regard to case, for ASCII.
func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
