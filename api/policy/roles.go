package policy

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Requires says whether the policy demands a second factor of a user with
// these roles. known is false where the identity source reported no readable
// roles; such a user counts as an admin, because a role that cannot be read
// must not be a way around the rule.
func (r *Rules) Requires(roles []string, known bool) bool {
	if r.RequireForEveryone {
		return true
	}
	if !r.RequireForAdmins {
		return false
	}
	// Rules without admin roles were never given their defaults. Nobody could
	// match then, so everybody does.
	if !known || len(r.AdminRoles) == 0 {
		return true
	}
	for _, role := range roles {
		for _, admin := range r.AdminRoles {
			if sameRole(role, admin) {
				return true
			}
		}
	}
	return false
}

// sameRole compares two roles without regard to case, white space, "_" and "-".
// It runs for every request and therefore allocates nothing.
func sameRole(a, b string) bool {
	for {
		x, restA := nextRoleRune(a)
		y, restB := nextRoleRune(b)
		if x != y {
			return false
		}
		if x == endOfRole {
			return true
		}
		a, b = restA, restB
	}
}

const endOfRole rune = -1

// nextRoleRune returns the next rune of a role that counts, folded to lower
// case, and what follows it.
func nextRoleRune(s string) (rune, string) {
	for s != "" {
		c, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		if c != '_' && c != '-' && !unicode.IsSpace(c) {
			return unicode.ToLower(c), s
		}
	}
	return endOfRole, ""
}

// blankRole says whether nothing of a role counts, so that it can match nobody
// in earnest.
func blankRole(s string) bool {
	c, _ := nextRoleRune(s)
	return c == endOfRole
}

// listedRole says whether a role can arrive in a comma-separated header.
func listedRole(s string) bool { return !strings.Contains(s, ",") }
