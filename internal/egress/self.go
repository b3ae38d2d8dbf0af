package egress

import (
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// self knows the node's own addresses: what listens there trusts its neighbours, and no firewall stands between.
type self struct {
	interfaces func() ([]net.Addr, error)
	addrs      atomic.Pointer[ownAddrs]
	listening  atomic.Pointer[listeners] // nil: not told yet
}

type ownAddrs struct {
	list  []netip.Addr
	known bool
	until time.Time
}

type listeners struct{ edge, api netip.AddrPort }

// interfacesFor is how long the list of addresses is used: they come and go with networks, not with requests.
const interfacesFor = 5 * time.Second

// owns tells whether an address is one of this machine's. Where that cannot be known, every address may be.
func (s *self) owns(a netip.Addr) bool {
	if a.IsLoopback() || a.IsUnspecified() {
		return true
	}
	own := s.addrs.Load()
	if now := time.Now(); own == nil || now.After(own.until) {
		own = &ownAddrs{until: now.Add(interfacesFor)}
		list, err := s.interfaces()
		own.known = err == nil
		for _, l := range list {
			if p, err := netip.ParsePrefix(l.String()); err == nil {
				own.list = append(own.list, p.Addr().Unmap())
			}
		}
		s.addrs.Store(own)
	}
	return !own.known || slices.Contains(own.list, a)
}

func (s *self) isAPI(to netip.AddrPort) bool {
	l := s.listening.Load()
	return l != nil && s.at(l.api, to)
}

func (s *self) isEdge(to netip.AddrPort) bool {
	l := s.listening.Load()
	return l != nil && s.at(l.edge, to)
}

// at tells whether a connection to an address arrives at a listener.
func (s *self) at(l, to netip.AddrPort) bool {
	if l.Port() != to.Port() || l.Port() == 0 {
		return false
	}
	// Linux takes the unspecified address of a destination for loopback.
	return l.Addr().Unmap() == to.Addr() || l.Addr().IsUnspecified() && s.owns(to.Addr()) || to.Addr().IsUnspecified()
}

// Listening tells the gate where the node's edge and API listen: Workers may call the edge at the machine's own public
// address, as anyone may, and the API nowhere.
func (g *Gate) Listening(edge, api netip.AddrPort) { g.self.listening.Store(&listeners{edge, api}) }
