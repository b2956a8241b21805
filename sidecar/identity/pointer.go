package identity

import (
	"fmt"
	"strconv"
	"strings"
)

// Pointer is a JSON pointer (RFC 6901). The zero value points at the whole
// document.
type Pointer struct{ tokens []string }

// ParsePointer reads a pointer such as "/user/id". Every "~" must be part of "~0"
// or "~1".
func ParsePointer(s string) (Pointer, error) {
	if s == "" {
		return Pointer{}, nil
	}
	if s[0] != '/' {
		return Pointer{}, fmt.Errorf(`the JSON pointer %q does not start with "/"`, s)
	}
	tokens := strings.Split(s[1:], "/")
	for i, token := range tokens {
		plain := strings.NewReplacer("~0", "", "~1", "").Replace(token)
		if strings.Contains(plain, "~") {
			return Pointer{}, fmt.Errorf(`the JSON pointer %q holds a "~" that is neither "~0" nor "~1"`, s)
		}
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
	}
	return Pointer{tokens: tokens}, nil
}

// Lookup returns what the pointer points at in a decoded document of maps and
// slices, and whether there is such a value. A JSON null is a value.
func (p Pointer) Lookup(document any) (any, bool) {
	at := document
	for _, token := range p.tokens {
		switch node := at.(type) {
		case map[string]any:
			value, ok := node[token]
			if !ok {
				return nil, false
			}
			at = value
		case []any:
			i, ok := index(token)
			if !ok || i >= len(node) {
				return nil, false
			}
			at = node[i]
		default:
			return nil, false
		}
	}
	return at, true
}

// index reads an array index: digits without a leading zero. "-", the element
// after the last one, is never there.
func index(token string) (int, bool) {
	if token == "" || (len(token) > 1 && token[0] == '0') || strings.Trim(token, "0123456789") != "" {
		return 0, false
	}
	i, err := strconv.Atoi(token)
	return i, err == nil
}
