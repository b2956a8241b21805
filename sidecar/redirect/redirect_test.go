package redirect_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/sallyport/sallyport/sidecar/redirect"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	many := make([]uint16, 65)
	for i := range many {
		many[i] = uint16(1000 + i)
	}
	for _, tc := range []struct {
		name  string
		rules redirect.Rules
		want  string
	}{
		{"one port is fine", redirect.Rules{Ports: []uint16{8080}, To: 15080}, ""},
		{"64 ports are fine", redirect.Rules{Ports: many[:64], To: 15080}, ""},
		{"65 ports are too many", redirect.Rules{Ports: many, To: 15080}, "65 ports to redirect; 64 is the most"},
		{"no port is refused", redirect.Rules{To: 15080}, "no port to redirect"},
		{"no destination is refused", redirect.Rules{Ports: []uint16{8080}}, "no port to redirect to"},
		{"port 0 is refused", redirect.Rules{Ports: []uint16{8080, 0}, To: 15080}, "port 0 cannot be redirected"},
		{"the sidecar's port is refused", redirect.Rules{Ports: []uint16{15080}, To: 15080}, "port 15080 is the sidecar's own"},
		{"a port given twice is refused", redirect.Rules{Ports: []uint16{1, 2, 1}, To: 15080}, "port 1 is given twice"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if err := tc.rules.Validate(); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("Validate: %q, want %q", got, tc.want)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		err  error
		want error
		says string
	}{
		{"no capability", syscall.EPERM, redirect.ErrNotPermitted, "NET_ADMIN"},
		{"a security module", syscall.EACCES, redirect.ErrNotPermitted, "NET_ADMIN"},
		{"no netlink for netfilter", syscall.EPROTONOSUPPORT, redirect.ErrUnsupported, "use capture: Port"},
		{"no nf_tables", syscall.EOPNOTSUPP, redirect.ErrUnsupported, "use capture: Port"},
		{"no inet family", syscall.EAFNOSUPPORT, redirect.ErrUnsupported, "use capture: Port"},
		{"no NAT chains", syscall.ENOENT, redirect.ErrUnsupported, "use capture: Port"},
		{"no memory", syscall.ENOMEM, syscall.ENOMEM, "program the redirect"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := redirect.Explain(fmt.Errorf("netlink receive: %w", errors.Join(tc.err)))
			if !errors.Is(got, tc.want) || !errors.Is(got, tc.err) || !strings.Contains(got.Error(), tc.says) {
				t.Errorf("explain %v: %v", tc.err, got)
			}
		})
	}
	if err := redirect.Explain(nil); err != nil {
		t.Errorf("explain nil: %v", err)
	}
}
