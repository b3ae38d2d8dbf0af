package egress

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

func TestCompile(t *testing.T) {
	for _, good := range []string{"example.com", "EXAMPLE.com.", "*.example.com", "*", "xn--bcher-kva.example", "10.0.0.0/8", "1.2.3.4", "2a00::/16", "[2a00::1]", "::ffff:10.0.0.0/104", "localhost"} {
		if _, err := Compile(atoll.EgressRules{Allow: []string{good}, Deny: []string{good}}); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", " ", "example.com:443", "https://example.com", "a.*.com", "**.com", "*.", "*example.com", "bücher.example", "10.0.0.0/33", "1.2.3", "300.1.1.1", "fe80::1%lo", "a b", "/x"} {
		if _, err := Compile(atoll.EgressRules{Allow: []string{bad}}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for s, ok := range map[string]bool{"443": true, "1-65535": true, "0": false, "9-8": false, "x": false, "1-": false, "-1": false, "65536": false, "": false, "80,443": false} {
		if _, err := Compile(atoll.EgressRules{Ports: []string{s}}); (err == nil) != ok {
			t.Errorf("ports %q: %v", s, err)
		}
	}
	if _, err := Compile(atoll.EgressRules{Deny: make([]string, maxEntries+1)}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("too many: %v", err)
	}
}

func TestPolicy(t *testing.T) {
	list := func(s ...string) []string { return s }
	type rules = atoll.EgressRules
	for _, c := range []struct {
		name       string
		ns, script rules
		host       string
		addr       string
		port       uint16
		want       bool
	}{
		{"nothing", rules{}, rules{}, "a.example", "1.1.1.1", 80, true},
		{"allowed-host", rules{Allow: list("a.example")}, rules{}, "a.example", "1.1.1.1", 80, true},
		{"other-host", rules{Allow: list("a.example")}, rules{}, "b.example", "1.1.1.1", 80, false},
		{"below-is-not-the-host", rules{Allow: list("example")}, rules{}, "a.example", "1.1.1.1", 80, false},
		{"wildcard", rules{Allow: list("*.example")}, rules{}, "a.b.example", "1.1.1.1", 80, true},
		{"wildcard-is-not-the-apex", rules{Allow: list("*.a.example")}, rules{}, "a.example", "1.1.1.1", 80, false},
		{"wildcard-is-no-suffix", rules{Allow: list("*.a.example")}, rules{}, "xa.example", "1.1.1.1", 80, false},
		{"star", rules{Allow: list("*")}, rules{}, "a.example", "1.1.1.1", 80, true},
		{"denied-goes-first", rules{Allow: list("*"), Deny: list("*.example")}, rules{}, "a.example", "1.1.1.1", 80, false},
		{"deny-all", rules{Deny: list("*")}, rules{}, "1.1.1.1", "1.1.1.1", 80, false},
		{"block", rules{Allow: list("1.1.0.0/16")}, rules{}, "a.example", "1.1.1.1", 80, true},
		{"outside-of-block", rules{Allow: list("1.1.0.0/16")}, rules{}, "a.example", "1.2.1.1", 80, false},
		{"block-or-host", rules{Allow: list("1.1.0.0/16", "b.example")}, rules{}, "b.example", "1.2.1.1", 80, true},
		{"denied-block", rules{Deny: list("1.1.0.0/16")}, rules{}, "a.example", "1.1.1.1", 80, false},
		{"denied-mapped", rules{Deny: list("1.1.0.0/16")}, rules{}, "a.example", "::ffff:1.1.1.1", 80, false},
		{"denied-nat64", rules{Deny: list("1.1.0.0/16")}, rules{}, "a.example", "64:ff9b::101:101", 80, false},
		{"denied-address", rules{Deny: list("1.1.1.1")}, rules{}, "1.1.1.1", "1.1.1.1", 80, false},
		{"port", rules{Ports: list("443", "8000-8999")}, rules{}, "a.example", "1.1.1.1", 8443, true},
		{"other-port", rules{Ports: list("443", "8000-8999")}, rules{}, "a.example", "1.1.1.1", 80, false},
		{"script-narrows", rules{Allow: list("*.example")}, rules{Allow: list("a.example")}, "b.example", "1.1.1.1", 80, false},
		{"script-does-not-widen", rules{Allow: list("a.example")}, rules{Allow: list("*")}, "b.example", "1.1.1.1", 80, false},
		{"both-pass", rules{Allow: list("*.example")}, rules{Deny: list("b.example")}, "a.example", "1.1.1.1", 80, true},
	} {
		ns, err := Compile(c.ns)
		if err != nil {
			t.Fatal(err)
		}
		script, err := Compile(c.script)
		if err != nil {
			t.Fatal(err)
		}
		p := newPolicy(alice, ns, script)
		to := destination{host: c.host, port: c.port}
		if got := p.name(to) && p.address(c.host, netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

func TestPolicyOfSockets(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		ref        atoll.ScriptRef
		ns, script *bool
		want       bool
	}{
		{alice, nil, nil, false}, {alice, &yes, nil, true}, {alice, &no, nil, false}, {alice, &yes, &no, false},
		{alice, nil, &yes, false}, {alice, &no, &yes, false},
		{router, nil, nil, true}, {router, nil, &no, false}, {router, nil, &yes, true},
	} {
		if p := newPolicy(c.ref, &Rules{tcp: c.ns}, &Rules{tcp: c.script}); p.tcp != c.want {
			t.Errorf("%+v: %t", c, p.tcp)
		}
	}
}

// A change of rules is in effect for the next subrequest, though a connection to the host is still open.
func TestRulesChanged(t *testing.T) {
	addr := origin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })
	_, port, _ := net.SplitHostPort(addr)
	rules := &table{}
	g := newGate(t, Options{Allow: loopback, Rules: rules, Resolver: newZone(map[string][][]string{"a.example": {{"127.0.0.1"}}})})
	a, b := g.front(Caller{Script: alice}, "http"), g.front(Caller{Script: bob}, "http")
	check := func(step string, wantA, wantB bool) {
		t.Helper()
		for _, c := range []struct {
			who   string
			want  bool
			front func() (int, http.Header, string)
		}{
			{"alice", wantA, func() (int, http.Header, string) { return ask(t, a, "GET", "a.example:"+port, "/", nil) }},
			{"bob", wantB, func() (int, http.Header, string) { return ask(t, b, "GET", "a.example:"+port, "/", nil) }},
		} {
			status, _, body := c.front()
			if (status == 200) != c.want {
				t.Errorf("%s: %s: %d %q", step, c.who, status, body)
			}
			if !c.want && body != "Network connection refused: the destination is not allowed to this Worker." {
				t.Errorf("%s: %s is told %q", step, c.who, body)
			}
		}
	}
	ns := atoll.ScriptRef{Account: account, Namespace: "production"}
	check("no rules", true, true)
	rules.set(alice, atoll.EgressRules{Deny: []string{"127.0.0.0/8"}})
	check("not told", true, true)
	g.RulesChanged(account, "production", "alice")
	check("script", false, true)
	rules.set(ns, atoll.EgressRules{Allow: []string{"b.example"}})
	g.RulesChanged(account, "production", "")
	check("namespace", false, false)
	rules.set(ns, atoll.EgressRules{})
	rules.set(alice, atoll.EgressRules{})
	g.RulesChanged(account, "production", "")
	check("lifted", true, true)
}

func FuzzRules(f *testing.F) {
	f.Add("*.example.com", "443", "a.example.com", uint16(80))
	f.Add("10.0.0.0/8", "1-2", "[::1]", uint16(1))
	f.Fuzz(func(t *testing.T, entry, ports, host string, port uint16) {
		r, err := Compile(atoll.EgressRules{Deny: []string{entry}, Ports: []string{ports}})
		if err != nil {
			return
		}
		p := newPolicy(alice, r, nil)
		to, err := parseDestination(host, max(port, 1))
		if err != nil {
			return
		}
		name := p.name(to)
		if strings.EqualFold(entry, to.host) && to.address == (netip.Addr{}) && name {
			t.Errorf("%q is denied and passes", host)
		}
		if to.address.IsValid() {
			p.address(to.host, to.address)
		}
	})
}

func FuzzLoops(f *testing.F) {
	f.Add("atoll; hops=3, cloudflare", 1)
	f.Fuzz(func(t *testing.T, value string, hops int) {
		Loops(http.Header{loopHeader: {value}})
		hops = max(min(hops, maxLoop), 0)
		if got := Loops(http.Header{loopHeader: {markLoop([]string{value}, hops)}}); got != hops {
			t.Errorf("%q marked with %d: %d", value, hops, got)
		}
	})
}
