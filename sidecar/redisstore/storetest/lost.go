package storetest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"

	"github.com/sallyport/sallyport/sidecar/mfa"
	"github.com/sallyport/sallyport/sidecar/seal"
)

func lost(f *fixture) {
	f.enrol(user, record("g1"))
	f.must(f.Store.SavePending(f.ctx(), other, browser, []byte("pending"), time.Minute))
	f.Lose()
	for name, call := range map[string]func() error{
		"Load":              func() error { _, err := f.Store.Load(f.ctx(), user, ""); return err },
		"Load of a sign-in": func() error { _, err := f.Store.Load(f.ctx(), user, "sign-in-1"); return err },
		"SavePending": func() error {
			return f.Store.SavePending(f.ctx(), user, browser, []byte("x"), time.Minute)
		},
		"LoadPending": func() error { _, err := f.Store.LoadPending(f.ctx(), other, browser); return err },
		"Enrol": func() error {
			return f.Store.Enrol(f.ctx(), other, browser, []byte("pending"), nil, record("g2"), grant("sign-in-1"))
		},
		"Begin": func() error { _, err := f.Store.Begin(f.ctx(), user, mfa.FactorTOTP, five); return err },
		"CommitTOTP": func() error {
			return f.Store.CommitTOTP(f.ctx(), user, "g1", 58_000_001, grant("sign-in-1"))
		},
		"SpendCode": func() error {
			_, err := f.Store.SpendCode(f.ctx(), user, "g1", 0, grant("sign-in-1"))
			return err
		},
		"ReplaceCodes": func() error {
			return f.Store.ReplaceCodes(f.ctx(), user, "g1", "g2", codeSet(2, 8), grant("sign-in-1"))
		},
		"Reseal": func() error { return f.Store.Reseal(f.ctx(), user, "g1", record("g1").Seed, []byte("x")) },
		"Delete": func() error { return f.Store.Delete(f.ctx(), user, "g1") },
		"Reset":  func() error { return f.Store.Reset(f.ctx(), user) },
	} {
		f.want(mfa.ErrStoreLost, call(), name)
	}
	if kept := f.Dump(); strings.Contains(kept, "sign-in-1") || strings.Contains(kept, "pending") {
		f.Errorf("a lost store took something:\n%s", kept)
	}
}

// dump enrols a user as the domain does and looks at what the store then holds.
func dump(f *fixture) {
	const subject, token, code = "alice@example.com", "token-of-the-browser", "ABCDEFGH"
	seed := []byte("12345678901234567890")
	doc := `{"index":"` + strings.Repeat("QUFB", 10) + `QUE=","keys":[{"id":1,"status":"primary",` +
		`"created":"2026-01-02T03:04:05Z","key":"` + strings.Repeat("QkJC", 10) + `QkI="}]}`
	ring, err := seal.Parse([]byte(doc), "shop/staff")
	f.must(err)
	name, signIn := ring.Name("user", subject), ring.Name("sign-in", token)

	pending, err := ring.Seal("pending-seed", []byte(name), seed)
	f.must(err)
	f.must(f.Store.SavePending(f.ctx(), name, browser, pending, time.Minute))
	kept := f.Dump()
	r := record("g1")
	r.Seed, err = ring.Seal("seed", []byte(name), seed)
	f.must(err)
	r.Codes.Digests[0], err = ring.MAC("recovery-pepper", 1, []byte(code))
	f.must(err)
	f.must(f.Store.Enrol(f.ctx(), name, browser, pending, nil, r,
		mfa.Grant{Key: signIn, Value: []byte("authenticated"), TTL: time.Hour}))
	_, err = f.Store.Begin(f.ctx(), name, mfa.FactorTOTP, five)
	f.must(err)
	kept += f.Dump()

	if !strings.Contains(kept, name) || !strings.Contains(kept, signIn) {
		f.Fatalf("the dump does not show what was stored:\n%s", kept)
	}
	master := bytes.Repeat([]byte("B"), 32)
	for _, secret := range []string{
		subject, "alice", token, code, string(seed), hex.EncodeToString(seed),
		"GEZDGNBVGY3TQOJQ", base64.StdEncoding.EncodeToString(seed), string(master),
	} {
		if strings.Contains(kept, secret) {
			f.Errorf("the store keeps %q in clear", secret)
		}
	}
}
