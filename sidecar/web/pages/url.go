package pages

import (
	"fmt"
	"strings"
)

// What a URL may hold as it is: characters that mean nothing in particular,
// and those that divide one part of it from the next. Quotes and parentheses
// are in neither, though a URL may hold them: no markup has a use for them.
const (
	unreserved = "-._~"
	delimiters = "!#$&*+,/:;=?@[]"
)

// link writes a reference as an attribute of a link, an image or a form: what
// a URL cannot hold is percent-encoded, and what is encoded already stays.
// It does not judge where the reference leads.
func link(ref string) string {
	var b strings.Builder
	for i := range len(ref) {
		if ref[i] == '%' && i+2 < len(ref) && isHex(ref[i+1]) && isHex(ref[i+2]) {
			b.WriteByte('%')
			continue
		}
		writePercent(&b, ref[i], unreserved+delimiters)
	}
	return b.String()
}

// queryValue writes a value of a query's parameter: every delimiter in it is
// encoded, a percent sign too.
func queryValue(value string) string {
	var b strings.Builder
	for i := range len(value) {
		writePercent(&b, value[i], unreserved)
	}
	return b.String()
}

// writePercent writes a byte as it is when it is a letter, a digit or among
// those to keep, and percent-encoded else.
func writePercent(b *strings.Builder, c byte, keep string) {
	isLetter := 'a' <= c|0x20 && c|0x20 <= 'z'
	if isLetter || '0' <= c && c <= '9' || strings.IndexByte(keep, c) >= 0 {
		b.WriteByte(c)
		return
	}
	fmt.Fprintf(b, "%%%02x", c)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}
