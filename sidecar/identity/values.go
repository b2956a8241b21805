package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxSubject = 256 // bytes, also of an account and of a role
	maxRoles   = 256
)

// decodeJSON decodes one JSON text and nothing after it. Numbers keep their
// digits: a large id that went through a float would become another user's.
// Bytes that are not UTF-8 are refused, since the decoder would silently replace
// them and make different subjects equal.
func decodeJSON(body []byte) (any, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("decode JSON: not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var document any
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("decode JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decode JSON: more than one value")
	}
	return document, nil
}

// readSubject reads a user's id: a non-empty string, or an integer.
func readSubject(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, v != "" && plainText(v)
	case json.Number:
		return v.String(), canonicalInteger(v.String())
	default:
		return "", false
	}
}

// canonicalInteger reports whether an integer is written in the one way that
// every JSON library writes it. 1.0 and 1e0 may or may not be 1.
func canonicalInteger(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	if digits == "" || len(digits) > 64 || strings.Trim(digits, "0123456789") != "" {
		return false
	}
	return digits[0] != '0' || s == "0"
}

// plainText reports whether a name can be stored, logged and shown. U+FFFD is
// what a decoder puts in the place of what it could not read.
func plainText(s string) bool {
	if len(s) > maxSubject || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return false
		}
	}
	return true
}

// readAccount reads the name that a user signs in with. It is only ever shown or
// typed for them, so that an unreadable one is merely unknown.
func readAccount(value any) string {
	if s, ok := value.(string); ok && plainText(s) {
		return s
	}
	return ""
}

// readRoles reads roles: a string is one role, whatever it holds, and a list of
// strings is as many. An empty list is known to hold none. Anything else, a blank
// string included, says nothing about the roles.
func readRoles(value any) (roles []string, known bool) {
	switch v := value.(type) {
	case string:
		if v == "" || !plainText(v) {
			return nil, false
		}
		return []string{v}, true
	case []any:
		if len(v) > maxRoles {
			return nil, false
		}
		for _, item := range v {
			role, ok := item.(string)
			if !ok || !plainText(role) {
				return nil, false
			}
			roles = append(roles, role)
		}
		return roles, true
	default:
		return nil, false
	}
}
