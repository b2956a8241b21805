// Package redirect turns the traffic of a pod's app ports over to the sidecar: it
// writes the nftables rules behind `capture: Redirect` into the network namespace
// it runs in, and reads them back.
//
// What is captured is TCP, over IPv4 and IPv6, that comes from outside the pod, on
// any interface but loopback, to one of the app's ports. What is not:
//
//   - What the pod's containers send to each other, by loopback or by the pod's own
//     address: the kernel delivers it over "lo". They share the network namespace,
//     so no rule in it could stand between them, and the sidecar itself reaches the
//     app that way. An app that listens on 127.0.0.1 alone is served just as well.
//   - UDP, and with it HTTP/3. An app that listens on UDP is open there.
//   - The sidecar's own port: who connects to it directly meets the sidecar anyway.
//
// The chain runs one step before the customary priority of destination NAT, since
// the first translation that matches a connection is the only one: rules that
// somebody else put into the pod, a service mesh's for one, cannot lead an app port
// around the sidecar. Transparent proxying (TPROXY) is no translation and still could.
// A container that may change the pod's network (NET_ADMIN) can take the rules away;
// whoever admits pods must keep that capability from the app.
//
// It imports nothing of ours. It must never touch a table other than its own, and
// never report success for rules that it has not seen in the kernel.
package redirect

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
)

// maxPorts bounds the rules of one pod.
const maxPorts = 64

var (
	// ErrNotPermitted says that the process may not change the pod's network.
	ErrNotPermitted = errors.New("the init container may not change the pod's network: it needs the capability NET_ADMIN " +
		"and a security profile that allows nf_tables; without them use capture: Port")
	// ErrUnsupported says that the node's kernel cannot redirect with nf_tables.
	ErrUnsupported = errors.New("this node cannot do capture: Redirect; use capture: Port " +
		"(it needs Linux 5.2 or newer with nf_tables, inet NAT and redirect)")
)

// Rules say what is captured.
type Rules struct {
	// Ports are the app's TCP ports.
	Ports []uint16
	// To is the port at which the sidecar listens for the app's traffic, on every
	// address.
	To uint16
}

// Validate reports the first thing that is wrong with the Rules.
func (r Rules) Validate() error {
	switch {
	case len(r.Ports) == 0:
		return errors.New("no port to redirect")
	case len(r.Ports) > maxPorts:
		return fmt.Errorf("%d ports to redirect; %d is the most", len(r.Ports), maxPorts)
	case r.To == 0:
		return errors.New("no port to redirect to")
	}
	for i, port := range r.Ports {
		switch {
		case port == 0:
			return errors.New("port 0 cannot be redirected")
		case port == r.To:
			return fmt.Errorf("port %d is the sidecar's own", port)
		case slices.Contains(r.Ports[:i], port):
			return fmt.Errorf("port %d is given twice", port)
		}
	}
	return nil
}

// unsupported are the answers of a kernel that lacks a part: netlink for netfilter,
// nf_tables, the inet family, NAT chains or the redirect expression.
var unsupported = []error{
	syscall.EPROTONOSUPPORT, syscall.EAFNOSUPPORT, syscall.EOPNOTSUPP, syscall.ENOENT, syscall.ENOSYS, syscall.ENOPROTOOPT,
}

// explain says what the kernel's answer means for the person who reads the log of
// the init container.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("%w: %w", ErrNotPermitted, err)
	}
	if slices.ContainsFunc(unsupported, func(target error) bool { return errors.Is(err, target) }) {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return fmt.Errorf("program the redirect: %w", err)
}
