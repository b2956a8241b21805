package wire_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/sidecar/identity/wire"
)

func TestReadSetCookie(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name, line, cookie, value string
		ended                     bool
	}{
		{"a session cookie is set", "session=abc; Path=/; HttpOnly", "session", "abc", false},
		{"odd values are kept as written", `session="a b"; Path=/`, "session", `"a b"`, false},
		{"a positive Max-Age sets", "session=abc; max-age=5", "session", "abc", false},
		{"Max-Age 0 ends", "session=abc; Max-Age=0", "session", "abc", true},
		{"a negative Max-Age ends", "session=abc; Max-Age=-1", "session", "abc", true},
		{"an unreadable Max-Age says nothing", "session=abc; Max-Age=soon", "session", "abc", false},
		{"an Expires in the past ends", "session=abc; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "session", "abc", true},
		{"its older form ends too", "session=abc; expires=Thu, 01-Jan-1970 00:00:01 GMT", "session", "abc", true},
		{"an Expires to come sets", "session=abc; Expires=Sat, 02 May 2026 00:00:00 GMT", "session", "abc", false},
		{"Max-Age wins over Expires", "session=abc; Max-Age=9; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "session", "abc", false},
		{"Max-Age 0 wins over Expires", "session=abc; Expires=Sat, 02 May 2026 00:00:00 GMT; Max-Age=0", "session", "abc", true},
		{"an empty value ends", "session=; Path=/", "session", "", true},
		{"blanks around the name go", " session = abc", "session", "abc", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := wire.SetCookie{Pair: wire.Pair{Name: tc.cookie, Value: tc.value}, Ended: tc.ended}
			if diff := cmp.Diff(want, wire.ReadSetCookie(tc.line, now)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
