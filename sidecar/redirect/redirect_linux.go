package redirect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	tableName = "sallyport"
	chainName = "capture"

	// priority is one before destination NAT, see the package comment.
	priority = -101

	loopback = "lo"
	// portOffset is where a TCP header holds the destination port.
	portOffset = 2
	register   = 1

	// natRangeProtoSpecified is NF_NAT_RANGE_PROTO_SPECIFIED: a port is given.
	natRangeProtoSpecified = 1 << 1
)

// Apply makes r the pod's rules, in one transaction that replaces whatever an
// earlier run left, and reads them back. It works in the network namespace of the
// calling thread. The context's deadline bounds every wait for the kernel: a
// kernel without nf_tables does not answer all that it is sent.
func Apply(ctx context.Context, r Rules) error {
	if err := r.Validate(); err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	conn, err := nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error { return c.SetDeadline(deadline) }))
	if err != nil {
		return explain(err)
	}
	table := &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
	// Removing needs something to remove: added, removed, added is how nft(8)
	// replaces a table that may not be there.
	conn.AddTable(table)
	conn.DelTable(table)
	conn.AddTable(table)
	chain := conn.AddChain(&nftables.Chain{
		Name: chainName, Table: table, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPrerouting,
		Priority: nftables.ChainPriorityRef(priority), Policy: new(nftables.ChainPolicyAccept),
	})
	for _, port := range r.Ports {
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: expressions(port, r.To)})
	}
	if err := conn.Flush(); err != nil {
		return explain(err)
	}
	if err := verify(conn, table, r); err != nil {
		return fmt.Errorf("read the redirect back: %w", err)
	}
	return nil
}

// expressions are: iifname != "lo" tcp dport <port> redirect to :<to>. Present
// kernels translate nothing on arrival that began in the pod, once any NAT is in
// use there; that "lo" is left alone does not hang on it.
func expressions(port, to uint16) []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, loopback)
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: register},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: name},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: portOffset, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Immediate{Register: register, Data: binaryutil.BigEndian.PutUint16(to)},
		// All that the kernel fills in, so that what is read back can be compared.
		&expr.Redir{RegisterProtoMin: register, RegisterProtoMax: register, Flags: natRangeProtoSpecified},
	}
}

// verify compares what the kernel holds with what it was told.
func verify(conn *nftables.Conn, table *nftables.Table, r Rules) error {
	chain, err := conn.ListChain(table, chainName)
	if err != nil {
		return err
	}
	if chain.Type != nftables.ChainTypeNAT || chain.Hooknum == nil || *chain.Hooknum != *nftables.ChainHookPrerouting ||
		chain.Priority == nil || *chain.Priority != priority {
		return errors.New("the kernel holds another chain than the one that was written")
	}
	rules, err := conn.GetRules(table, chain)
	if err != nil {
		return err
	}
	if len(rules) != len(r.Ports) {
		return fmt.Errorf("the kernel holds %d rules; %d were written", len(rules), len(r.Ports))
	}
	for i, port := range r.Ports {
		if !equal(rules[i].Exprs, expressions(port, r.To)) {
			return fmt.Errorf("the kernel holds another rule for port %d than the one that was written", port)
		}
	}
	return nil
}

// equal compares expressions by the bytes that they are sent as.
func equal(got, want []expr.Any) bool {
	return slices.EqualFunc(got, want, func(g, w expr.Any) bool {
		a, errA := expr.Marshal(byte(nftables.TableFamilyINet), g)
		b, errB := expr.Marshal(byte(nftables.TableFamilyINet), w)
		return errA == nil && errB == nil && bytes.Equal(a, b)
	})
}
