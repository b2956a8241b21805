package totp_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"testing"
	"time"
)

// codeAt is RFC 4226 section 5.3 written again, so that the tests do not lean on
// the library under the code they test.
func codeAt(tb testing.TB, secret []byte, now time.Time) string {
	tb.Helper()
	mac := hmac.New(sha1.New, secret)
	if err := binary.Write(mac, binary.BigEndian, now.Unix()/30); err != nil {
		tb.Fatal(err)
	}
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[at:])&0x7fffffff%1_000_000)
}
