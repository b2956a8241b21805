package wire_test

import (
	"testing"

	"github.com/sallyport/sallyport/sidecar/identity/wire"
)

func TestHeaderSetFindsEverySpelling(t *testing.T) {
	set := wire.NewHeaderSet("X-Auth-User", "Host", "X-Real-Ip", "X-Auth-Mail")
	for _, name := range []string{"X-Auth-User", "x_auth.user", "X-AUTH-MAIL", "HOST", "X~Real-Ip"} {
		if !set.Has(name) {
			t.Errorf("%q is not found", name)
		}
	}
	for _, name := range []string{"", "X", "Hosts", "X-Auth-Role", "X-Auth-Users", "X-Real-Ips-And-More"} {
		if set.Has(name) {
			t.Errorf("%q is found", name)
		}
	}
	if wire.NewHeaderSet().Has("") {
		t.Error("an empty set has a member")
	}
}
