package mfa_test

import (
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sidecar/mfa"
)

// A typed recovery code is the code in its one form or none: what is forgiven are
// case, blanks and dashes, and nothing that merely looks like a letter.
func FuzzNormaliseRecoveryCode(f *testing.F) {
	for _, typed := range []string{"ABCD-EFGH", "abcd efgh", "ABCD‑EFGH", "AB CD\tEF-GH", "ABCD-EFG1", "ſſſſſſſſ", "ＡＢＣＤＥＦＧＨ", "", "K2345678", "ABCDEFGH\x00"} {
		f.Add(typed)
	}
	const alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
	f.Fuzz(func(t *testing.T, typed string) {
		code, ok := mfa.NormaliseRecoveryCode(typed)
		if !ok {
			return
		}
		if again, ok := mfa.NormaliseRecoveryCode(code); !ok || again != code || len(code) != 8 || strings.Trim(code, alphabet) != "" {
			t.Fatalf("%q became %q, and that %q", typed, code, again)
		}
		if lower, ok := mfa.NormaliseRecoveryCode(strings.ToLower(code[:4]) + "-" + code[4:]); !ok || lower != code {
			t.Fatalf("%q became %q, which in lower case is %q", typed, code, lower)
		}
		if rest := strings.Trim(typed, alphabet+strings.ToLower(alphabet)+" \t-‐‑–—"); rest != "" {
			t.Fatalf("%q became %q in spite of %q", typed, code, rest)
		}
	})
}
