package egress

import (
	"net/netip"
	"strconv"
	"strings"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// Rules are atoll.EgressRules made ready to be asked.
type Rules struct {
	allow, deny targets
	limited     bool // allow has entries
	ports       []portRange
	tcp         *bool
}

// targets are the entries of one list.
type targets struct {
	all    bool            // "*"
	hosts  map[string]bool // "example.com"
	below  map[string]bool // "*.example.com", without its star
	blocks []netip.Prefix
}

type portRange struct{ lo, hi uint16 }

// The most that rules may have.
const (
	maxEntries = 1000
	maxPorts   = 100
)

// Compile checks rules and makes them ready.
func Compile(in atoll.EgressRules) (*Rules, error) {
	r := &Rules{limited: len(in.Allow) > 0, tcp: in.TCP}
	if len(in.Allow) > maxEntries || len(in.Deny) > maxEntries || len(in.Ports) > maxPorts {
		return nil, fault.Newf(fault.Invalid, 10021, "egress rules have at most %d entries in allow and in deny, and %d in ports", maxEntries, maxPorts)
	}
	for _, s := range in.Allow {
		if err := r.allow.add("allow", s); err != nil {
			return nil, err
		}
	}
	for _, s := range in.Deny {
		if err := r.deny.add("deny", s); err != nil {
			return nil, err
		}
	}
	for _, s := range in.Ports {
		p, ok := parsePorts(s)
		if !ok {
			return nil, fault.Newf(fault.Invalid, 10021, "egress rules: %q in ports is neither a port such as \"443\" nor a range such as \"8000-8999\"", s)
		}
		r.ports = append(r.ports, p)
	}
	return r, nil
}

func (t *targets) add(list, s string) error {
	if p, err := ParseBlock(strings.Trim(s, "[]")); err == nil {
		t.blocks = append(t.blocks, p)
		return nil
	}
	if s == "*" {
		t.all = true
		return nil
	}
	name, wild := strings.CutPrefix(s, "*.")
	name, err := hostName(name)
	if err != nil {
		return fault.Newf(fault.Invalid, 10021, "egress rules: %q in %s is no host, no \"*.\" and a host, no address and no CIDR block; a host is in its ASCII form, without a port", s, list)
	}
	if wild {
		set(&t.below, name)
	} else {
		set(&t.hosts, name)
	}
	return nil
}

func set(m *map[string]bool, name string) {
	if *m == nil {
		*m = map[string]bool{}
	}
	(*m)[name] = true
}

// host tells whether a name is in the list.
func (t *targets) host(name string) bool {
	if t.all || t.hosts[name] {
		return true
	}
	for t.below != nil {
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			return false
		}
		if t.below[rest] {
			return true
		}
		name = rest
	}
	return false
}

func parsePorts(s string) (portRange, bool) {
	first, last, ranged := strings.Cut(s, "-")
	lo, err := strconv.ParseUint(first, 10, 16)
	hi := lo
	if err == nil && ranged {
		hi, err = strconv.ParseUint(last, 10, 16)
	}
	return portRange{uint16(lo), uint16(hi)}, err == nil && lo > 0 && lo <= hi
}

// policy is what a Worker's subrequests have to pass.
type policy struct {
	rules []*Rules // the namespace's and the script's, all of them
	tcp   bool     // raw connections
}

// newPolicy combines the rules of a namespace and of a script; nil where there are none. The namespace's rules turn raw
// connections on or off, the script's can turn them off.
func newPolicy(ref atoll.ScriptRef, namespace, script *Rules) *policy {
	p := &policy{tcp: ref.Namespace == ""}
	for _, r := range []*Rules{namespace, script} {
		if r != nil {
			p.rules = append(p.rules, r)
		}
	}
	if namespace != nil && namespace.tcp != nil {
		p.tcp = *namespace.tcp
	}
	if script != nil && script.tcp != nil && !*script.tcp {
		p.tcp = false
	}
	return p
}

// name tells whether a destination may be tried: false where its port or its host are refused whatever its address is.
func (p *policy) name(to destination) bool {
	for _, r := range p.rules {
		if !r.port(to.port) || r.deny.host(to.host) || r.limited && !r.allow.host(to.host) && len(r.allow.blocks) == 0 {
			return false
		}
	}
	return true
}

// address tells whether a host may be reached at one of its addresses.
func (p *policy) address(host string, a netip.Addr) bool {
	for _, r := range p.rules {
		if within(r.deny.blocks, a) || r.limited && !r.allow.host(host) && !within(r.allow.blocks, a) {
			return false
		}
	}
	return true
}

func (r *Rules) port(n uint16) bool {
	for _, p := range r.ports {
		if p.lo <= n && n <= p.hi {
			return true
		}
	}
	return len(r.ports) == 0
}
