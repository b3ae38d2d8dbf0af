package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// Resolver finds the addresses of a name; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

const (
	attemptDelay = 250 * time.Millisecond // between two attempts, RFC 8305 section 5
	maxAttempts  = 6
)

// dial connects to a host: its name is resolved here and nowhere else, each of its addresses is checked, and the
// connection is made to one that has passed.
func (g *Gate) dial(ctx context.Context, to destination, p *policy) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, g.opts.DialTimeout)
	defer cancel()
	addrs, err := g.resolve(ctx, to)
	if err != nil {
		return nil, err
	}
	var reach []netip.AddrPort
	var refusal error
	for _, a := range addrs {
		switch ap := netip.AddrPortFrom(a.Unmap(), to.port); {
		case !g.reachable(ap):
			refusal = errors.Join(ErrForbidden, refusal)
		case !p.address(to.host, a):
			refusal = errors.Join(ErrRules, refusal)
		case len(reach) < maxAttempts:
			reach = append(reach, ap)
		}
	}
	switch {
	case len(reach) > 0:
		return g.race(ctx, alternate(reach))
	case to.address.IsValid() || errors.Is(refusal, ErrRules):
		return nil, fmt.Errorf("connect to %s: %w", to.authority(), refusal)
	}
	// No more is said of a name that has private addresses only than of one that does not exist.
	return nil, fmt.Errorf("connect to %s: %w", to.authority(), errNoName)
}

// resolve returns the addresses of a destination.
func (g *Gate) resolve(ctx context.Context, to destination) ([]netip.Addr, error) {
	if to.address.IsValid() {
		return []netip.Addr{to.address}, nil
	}
	if to.host == "localhost" || strings.HasSuffix(to.host, ".localhost") { // RFC 6761, section 6.3
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	// The final dot keeps the resolver from trying the name in the node's own domains.
	addrs, err := g.opts.Resolver.LookupNetIP(ctx, "ip", to.host+".")
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", to.host, err)
	}
	return addrs, nil
}

// alternate puts addresses of the two families by turns, beginning with the first one's (RFC 8305, section 4).
func alternate(addrs []netip.AddrPort) []netip.AddrPort {
	var same, other []netip.AddrPort
	for _, a := range addrs {
		if a.Addr().Is4() == addrs[0].Addr().Is4() {
			same = append(same, a)
		} else {
			other = append(other, a)
		}
	}
	out := make([]netip.AddrPort, 0, len(addrs))
	for i := range max(len(same), len(other)) {
		if i < len(same) {
			out = append(out, same[i])
		}
		if i < len(other) {
			out = append(out, other[i])
		}
	}
	return out
}

// race connects to the address that answers first; each gets a little time before the next is tried beside it.
func (g *Gate) race(ctx context.Context, addrs []netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type attempt struct {
		conn net.Conn
		err  error
	}
	results := make(chan attempt, len(addrs))
	started, ended := 0, 0
	start := func() {
		a := addrs[started]
		started++
		go func() {
			conn, err := g.dialer.DialContext(ctx, "tcp", a.String())
			results <- attempt{conn, err}
		}()
	}
	delay := time.NewTicker(attemptDelay)
	defer delay.Stop()
	start()
	for {
		select {
		case <-delay.C:
			if started < len(addrs) {
				start()
			}
		case r := <-results:
			ended++
			if r.err == nil {
				cancel() // the others end now, and those that had just connected are closed
				go func() {
					for range started - ended {
						if late := <-results; late.conn != nil {
							late.conn.Close()
						}
					}
				}()
				return r.conn, nil
			}
			if started < len(addrs) {
				start()
			} else if ended == started {
				return nil, r.err
			}
		}
	}
}

// control is called for each address just before a connection to it is made: the last look, whatever led there.
func (g *Gate) control(network, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !strings.HasPrefix(network, "tcp") || !g.reachable(ap) {
		return ErrForbidden
	}
	return nil
}

// reachable tells whether the node lets anyone reach an address: a public one that is not the node's own, or one that the
// operator has allowed. The node's API is never reachable.
func (g *Gate) reachable(to netip.AddrPort) bool {
	a := to.Addr().Unmap()
	to = netip.AddrPortFrom(a, to.Port())
	if a.Zone() != "" || g.self.isAPI(to) || within(g.opts.Deny, a) {
		return false
	}
	if within(g.opts.Allow, a) {
		return true
	}
	return Public(a) && (!g.self.owns(a) || g.self.isEdge(to))
}
