package egress

import (
	"net/netip"
)

// Public tells whether an address is globally reachable by IANA's registries of special-purpose addresses
// (https://www.iana.org/assignments/iana-ipv4-special-registry, .../iana-ipv6-special-registry). An IPv6 address that stands
// for an IPv4 address is judged by that one.
func Public(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	if a.Is4() {
		return a.IsGlobalUnicast() // neither multicast nor the broadcast address
	}
	if v4, ok := embedded(a); ok && !Public(v4) {
		return false
	}
	return global.Contains(a) || nat64.Contains(a)
}

var (
	global = netip.MustParsePrefix("2000::/3")     // all that has been allocated as global unicast, RFC 4291 section 2.4
	nat64  = netip.MustParsePrefix("64:ff9b::/96") // IPv4 through a translator, RFC 6052
)

// special are the blocks that are not for the public, and those that reach whoever runs a translator or a tunnel.
var special = prefixes(
	"0.0.0.0/8",         // this network, RFC 791; Linux takes it for the machine itself
	"10.0.0.0/8",        // private, RFC 1918
	"100.64.0.0/10",     // carrier-grade NAT, RFC 6598
	"127.0.0.0/8",       // loopback, RFC 1122
	"168.63.129.16/32",  // the wire server of Azure, a metadata service at a public address
	"169.254.0.0/16",    // link-local, RFC 3927; most metadata services
	"172.16.0.0/12",     // private, RFC 1918
	"192.0.0.0/24",      // protocol assignments, RFC 6890
	"192.0.2.0/24",      // documentation, RFC 5737
	"192.31.196.0/24",   // AS112, RFC 7535
	"192.52.193.0/24",   // AMT, RFC 7450
	"192.88.99.0/24",    // 6to4 relays, RFC 7526
	"192.168.0.0/16",    // private, RFC 1918
	"192.175.48.0/24",   // AS112, RFC 7534
	"198.18.0.0/15",     // benchmarks, RFC 2544
	"198.51.100.0/24",   // documentation, RFC 5737
	"203.0.113.0/24",    // documentation, RFC 5737
	"224.0.0.0/4",       // multicast, RFC 5771
	"240.0.0.0/4",       // reserved, RFC 1112, and the broadcast address
	"64:ff9b:1::/48",    // translators of one network, RFC 8215
	"2001::/23",         // protocol assignments, RFC 2928; Teredo is in it
	"2001:db8::/32",     // documentation, RFC 3849
	"2002::/16",         // 6to4, RFC 3056
	"2620:4f:8000::/48", // AS112, RFC 7534
	"3fff::/20",         // documentation, RFC 9637
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// embedded returns the IPv4 address that a translator or a tunnel would reach through a.
func embedded(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() || a.Is4In6() {
		return netip.Addr{}, false
	}
	b := a.As16()
	isatap := (b[8] == 0 || b[8] == 2) && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe // RFC 5214, section 6.1
	if nat64.Contains(a) || isatap {
		return netip.AddrFrom4([4]byte(b[12:16])), true
	}
	return netip.Addr{}, false
}

// within tells whether a block holds the address, or the IPv4 address that it stands for.
func within(blocks []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap()
	v4, ok := embedded(a)
	for _, p := range blocks {
		if p.Contains(a) || ok && p.Contains(v4) {
			return true
		}
	}
	return false
}

// ParseBlock reads "10.0.0.0/8", or one address, as a block. IPv4 in IPv6's notation becomes IPv4.
func ParseBlock(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, aerr := netip.ParseAddr(s)
		if aerr != nil || a.Zone() != "" {
			return netip.Prefix{}, err
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}
