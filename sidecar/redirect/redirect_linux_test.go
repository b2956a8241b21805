package redirect_test

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/sallyport/sallyport/sidecar/redirect"
)

func apply(n *namespace, ports ...uint16) error {
	ctx, cancel := context.WithTimeout(n.t.Context(), 10*time.Second)
	defer cancel()
	return n.do(func() error { return redirect.Apply(ctx, redirect.Rules{Ports: ports, To: 15080}) })
}

func mustApply(n *namespace, ports ...uint16) {
	n.t.Helper()
	if err := apply(n, ports...); err != nil {
		n.t.Fatalf("Apply: %v", err)
	}
}

func TestApplyCapturesWhatComesFromOutside(t *testing.T) {
	t.Parallel()
	pod, peer := newPod(t)
	for _, host := range []string{podV4, podV6} {
		peer.wantAnswer(net.JoinHostPort(host, "8080"), app)
	}
	peer.wantAnswer(podV4+":8443", "")

	mustApply(pod, 8080, 8443)
	for _, host := range []string{podV4, podV6} {
		peer.wantAnswer(net.JoinHostPort(host, "8080"), side)
		peer.wantAnswer(net.JoinHostPort(host, "8443"), side) // the app listens on 127.0.0.1 alone
		peer.wantAnswer(net.JoinHostPort(host, "9000"), other)
		peer.wantAnswer(net.JoinHostPort(host, "15080"), side)
		peer.wantAnswer(net.JoinHostPort(host, "9001"), "")
		// The package comment says so: within the pod nothing is captured.
		pod.wantAnswer(net.JoinHostPort(host, "8080"), app)
	}
	pod.wantAnswer("127.0.0.1:8080", app)
	pod.wantAnswer("[::1]:8080", app)
	pod.wantAnswer("127.0.0.1:8443", app)
}

func TestApplyWithoutIPv6(t *testing.T) {
	t.Parallel()
	pod, peer := newPod(t)
	err := pod.do(func() error {
		return os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0)
	})
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) {
		t.Skipf("IPv6 cannot be disabled here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	mustApply(pod, 8080)
	peer.wantAnswer(podV4+":8080", side)
	pod.wantAnswer("127.0.0.1:8080", app)
}

// held counts the rules of our chain.
func held(t *testing.T, n *namespace) (rules int) {
	t.Helper()
	err := n.do(func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		table := &nftables.Table{Name: "sallyport", Family: nftables.TableFamilyINet}
		got, err := conn.GetRules(table, &nftables.Chain{Name: "capture", Table: table})
		rules = len(got)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func TestApplyTwiceLeavesTheSameRules(t *testing.T) {
	t.Parallel()
	pod, peer := newPod(t)
	mustApply(pod, 8080, 9000)
	mustApply(pod, 8080, 9000)
	if got := held(t, pod); got != 2 {
		t.Errorf("%d rules after two runs, want 2", got)
	}
	peer.wantAnswer(podV4+":9000", side)

	mustApply(pod, 8080)
	if got := held(t, pod); got != 1 {
		t.Errorf("%d rules after a run with one port, want 1", got)
	}
	peer.wantAnswer(podV4+":8080", side)
	peer.wantAnswer(podV4+":9000", other)

	if err := apply(pod, 8080, 8080); err == nil {
		t.Error("Apply accepted a port twice")
	}
	if got := held(t, pod); got != 1 {
		t.Errorf("%d rules after a run that was refused, want 1", got)
	}
}

// writeMesh writes what a service mesh does: a redirect of everything, at the
// customary priority.
func writeMesh(n *namespace) error {
	return n.do(func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
			table := conn.AddTable(&nftables.Table{Name: "mesh", Family: family})
			chain := conn.AddChain(&nftables.Chain{
				Name: "in", Table: table, Type: nftables.ChainTypeNAT,
				Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest,
			})
			conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
				&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
				&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(15006)},
				&expr.Redir{RegisterProtoMin: 1},
			}})
		}
		return conn.Flush()
	})
}

// A mesh's redirect would lead past the sidecar, whichever of the two is written
// first: it stays in place, and comes second.
func TestApplyComesBeforeOtherRedirects(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"before", "after"} {
		t.Run("a mesh that is written "+order, func(t *testing.T) {
			t.Parallel()
			pod, peer := newPod(t)
			pod.listen(":15006", "the mesh")
			if order == "after" {
				mustApply(pod, 8080)
			}
			if err := writeMesh(pod); err != nil {
				t.Fatal(err)
			}
			if order == "before" {
				peer.wantAnswer(podV4+":8080", "the mesh")
				mustApply(pod, 8080)
			}
			for _, host := range []string{podV4, podV6} {
				peer.wantAnswer(net.JoinHostPort(host, "8080"), side)
				peer.wantAnswer(net.JoinHostPort(host, "9000"), "the mesh")
			}
			names, err := list(pod)
			slices.Sort(names)
			if diff := cmp.Diff([]string{"mesh", "mesh", "sallyport"}, names); err != nil || diff != "" {
				t.Errorf("tables (%v):\n%s", err, diff)
			}
		})
	}
}

func TestApplyWithoutNetAdmin(t *testing.T) {
	t.Parallel()
	pod, peer := newPod(t)
	err := pod.do(func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&header, &data[0]); err != nil {
			return err
		}
		for i := range data { // keeps every capability but NET_ADMIN
			data[i].Inheritable = 0
		}
		data[0].Effective &^= 1 << unix.CAP_NET_ADMIN
		data[0].Permitted &^= 1 << unix.CAP_NET_ADMIN
		return unix.Capset(&header, &data[0])
	})
	if err != nil {
		t.Fatalf("give up NET_ADMIN: %v", err)
	}
	if err := apply(pod, 8080); !errors.Is(err, redirect.ErrNotPermitted) {
		t.Errorf("Apply: %v, want %v", err, redirect.ErrNotPermitted)
	}
	peer.wantAnswer(podV4+":8080", app)
}

// An end of time makes an error, not a success.
func TestApplyAfterTheDeadline(t *testing.T) {
	t.Parallel()
	pod, _ := newPod(t)
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	err := pod.do(func() error { return redirect.Apply(ctx, redirect.Rules{Ports: []uint16{8080}, To: 15080}) })
	if err == nil {
		t.Error("Apply succeeded after its deadline")
	}
}

// What is not in the kernel as it was written is not reported as done.
func TestReadingBackNoticesOtherRules(t *testing.T) {
	t.Parallel()
	pod, _ := newPod(t)
	verify := func(to uint16, ports ...uint16) error {
		return pod.do(func() error { return redirect.Verify(redirect.Rules{Ports: ports, To: to}) })
	}
	if verify(15080, 8080) == nil {
		t.Error("a table that is not there was found")
	}
	mustApply(pod, 8080)
	if err := verify(15080, 8080); err != nil {
		t.Errorf("the rules as written: %v", err)
	}
	for name, err := range map[string]error{
		"another port":        verify(15080, 8081),
		"another destination": verify(15081, 8080),
		"one port more":       verify(15080, 8080, 8081),
	} {
		if err == nil {
			t.Errorf("%s was found", name)
		}
	}
	err := pod.do(func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		conn.FlushTable(&nftables.Table{Name: "sallyport", Family: nftables.TableFamilyINet})
		return conn.Flush()
	})
	if err != nil {
		t.Fatal(err)
	}
	if verify(15080, 8080) == nil {
		t.Error("rules that were flushed were found")
	}
}
