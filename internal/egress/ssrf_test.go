package egress

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

func TestPublic(t *testing.T) {
	for _, public := range []string{"1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "192.0.1.1", "223.255.255.255", "2606:4700::1111",
		"::ffff:1.1.1.1", "64:ff9b::101:101", "2001:200::1", "2a00::5efe:1.1.1.1"} {
		if !Public(netip.MustParseAddr(public)) {
			t.Errorf("%s is public", public)
		}
	}
	if Public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

// privates are addresses of every block that IANA's registries call special, in every notation that reaches the gate as an
// address.
var privates = []string{
	"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1", "127.9.9.9",
	"127.255.255.255", "168.63.129.16", "169.254.0.1", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192",
	"192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.0.1", "192.168.255.255", "192.175.48.1", "198.18.0.1", "198.19.255.255",
	"198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::2", "::ffff:0.0.0.0", "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::a9fe:a9fe",
	"0:0:0:0:0:0:0:1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1", "64:ff9b:1::1",
	"100::1", "100:0:0:1::1", "1000::1", "2001::1", "2001:0:7f00:1::", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:101:101::",
	"2002:a9fe:a9fe::1", "2620:4f:8000::1", "3fff::1", "4000::1", "5f00::1", "8000::1", "fc00::1", "fd00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fe80::a9fe:a9fe",
	"fec0::1", "ff02::1", "ff0e::1", "2a00::5efe:10.0.0.1", "2a00::200:5efe:127.0.0.1",
}

// TestSSRF tries every way to a destination that is not public, by fetch and by connect(). None may get as far as a
// connection, and none may be told more than that it is not to be had.
func TestSSRF(t *testing.T) {
	type attempt struct{ name, proto, host string }
	var attempts []attempt
	add := func(name, host string) {
		attempts = append(attempts, attempt{name, "http", host}, attempt{name, "https", host})
	}
	names := map[string][][]string{}
	for i, a := range privates {
		host := a
		if strings.Contains(a, ":") {
			host = "[" + a + "]"
		}
		add("address", host)
		add("address-and-port", host+":8080")
		name := fmt.Sprintf("n%d.example", i)
		names[name] = [][]string{{a}}
		add("name", name)
		add("upper-case-name", strings.ToUpper(name)+".")
	}
	for name, host := range map[string]string{
		"localhost": "localhost", "localhost-dot": "localhost.", "localhost-below": "a.b.localhost", "localhost-case": "LocalHost:80",
		"decimal": "2130706433", "hex": "0x7f000001", "hex-dotted": "0x7f.0.0.1", "hex-part": "0x7f.1", "octal": "0177.0.0.1", "octal-whole": "017700000001",
		"short": "127.1", "shorter": "127.0.1", "leading-zeros": "127.000.000.001", "five-parts": "1.1.1.1.1", "dot-after": "127.0.0.1.", "negative": "-1",
		"zone-id": "[fe80::1%25eth0]", "raw-zone-id": "[fe80::1%eth0]", "zone-id-public": "[2606:4700::1111%251]", "bare-v6": "::1", "bare-v6-port": "::1:80",
		"v6-open": "[::1", "v6-shut": "::1]", "v6-tail": "[::1]x", "v6-v4": "[127.0.0.1]", "empty-v6": "[]",
		"user": "example.com@127.0.0.1", "user-port": "example.com:80@127.0.0.1", "slash": "127.0.0.1/x", "space": "127.0.0.1 ", "escape": "127.0.0.1%00", "dot-escape": "127%2e0%2e0%2e1",
		"full-width": "１２７.０.０.１", "ideographic-dot": "127。0。0。1", "circled": "①②⑦.⓪.⓪.①", "nul": "127.0.0.1\x00.example", "fragment": "x#127.0.0.1", "backslash": `x\127.0.0.1`, "comma": "1.1.1.1,127.0.0.1",
		"empty": "", "port-only": ":80", "port-zero": "1.1.1.1:0", "port-large": "1.1.1.1:65616", "port-negative": "1.1.1.1:-80", "port-text": "1.1.1.1:http", "port-plus": "1.1.1.1:+80",
		"dots": "..", "dot": ".", "label": "a..b.example", "long": strings.Repeat("a.", 200) + "example", "star": "*.example", "smtp": "1.1.1.1:25",
		"unix": "unix:/run/out/sock", "unix-slashes": "unix:///run/out/sock", "http-unix": "http+unix://%2frun%2fout%2fsock", "abstract": "unix-abstract:x", "file": "/etc/passwd",
	} {
		add(name, host)
	}
	for _, scheme := range []string{"", "unix", "file", "ftp", "gopher", "ws", "HTTP", "http://127.0.0.1/x"} {
		attempts = append(attempts, attempt{"scheme-" + scheme, scheme, "1.1.1.1"})
	}
	names["mixed.example"] = [][]string{{"10.0.0.1", "::ffff:127.0.0.1", "fd00::1"}}
	add("several-addresses", "mixed.example")

	// A machine with an address that is public, and a node that listens on all of them.
	own := func() ([]net.Addr, error) {
		return []net.Addr{&net.IPNet{IP: net.ParseIP("1.2.3.4"), Mask: net.CIDRMask(24, 32)}, &net.IPNet{IP: net.ParseIP("2606:4700::99"), Mask: net.CIDRMask(64, 128)}}, nil
	}
	add("own-address", "1.2.3.4")
	add("own-address-mapped", "[::ffff:1.2.3.4]:22")
	add("own-address-v6", "[2606:4700::99]")
	add("own-api", "1.2.3.4:8081")
	add("own-api-loopback", "127.0.0.1:8081")
	add("own-edge-loopback", "127.0.0.1:8080")
	names["node.example"] = [][]string{{"1.2.3.4"}}
	add("own-api-by-name", "node.example:8081")

	g := newGate(t, Options{Resolver: newZone(names), Interfaces: own, Deny: []netip.Prefix{netip.MustParsePrefix("9.9.9.0/24")}})
	g.Listening(netip.MustParseAddrPort("0.0.0.0:8080"), netip.MustParseAddrPort("[::]:8081"))
	add("denied-by-the-operator", "9.9.9.9")
	add("denied-mapped", "[::ffff:9.9.9.9]")
	add("denied-nat64", "[64:ff9b::909:909]")

	var connections atomic.Int32
	g.dialer.Control = func(network, address string, c syscall.RawConn) error {
		if err := g.control(network, address, c); err != nil {
			return err
		}
		connections.Add(1)
		return syscall.EPERM // wherever it is: the test goes nowhere
	}
	t.Logf("%d attempts", len(attempts))
	for _, a := range attempts {
		req := newRequest(t, a.host)
		w := newRecorder()
		err := g.Fetch(w, req, Caller{Script: alice}, a.proto)
		checkRefused(t, "fetch "+a.name+" "+a.proto+" "+a.host, err)
		err = g.Connect(w, req, Caller{Script: router}, a.host, a.proto == "https")
		if a.proto == "http" || a.proto == "https" {
			checkRefused(t, "connect "+a.name+" "+a.host, err)
		}
		if connections.Load() > 0 {
			t.Fatalf("%s %s: a connection was made", a.name, a.host)
		}
	}
	for _, public := range []string{"1.1.1.1", "1.2.3.5", "1.2.3.4:8080", "[2606:4700::1111]", "[64:ff9b::101:101]"} {
		before := connections.Load()
		g.Fetch(newRecorder(), newRequest(t, public), Caller{Script: alice}, "http")
		if connections.Load() == before {
			t.Errorf("%s could not be reached", public)
		}
	}
}

func newRequest(t *testing.T, host string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://x/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host, r.RequestURI = host, "/"
	return r
}

// recorderWriter is a ResponseWriter that nothing may be written to.
type recorderWriter struct{ h http.Header }

func newRecorder() recorderWriter                  { return recorderWriter{http.Header{}} }
func (w recorderWriter) Header() http.Header       { return w.h }
func (w recorderWriter) Write([]byte) (int, error) { panic("an answer") }
func (w recorderWriter) WriteHeader(int)           { panic("an answer") }

func checkRefused(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s: it went through", what)
	}
	told := Reason(err)
	if !strings.HasPrefix(told, "Network connection refused: ") && told != "DNS lookup failed: the name has no public address." {
		t.Errorf("%s: %q, of %v", what, told, err)
	}
}

// A name's addresses are looked up once for a connection, and the connection goes to one that has been checked, whatever
// the name server answers later.
func TestRebinding(t *testing.T) {
	addr := origin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "reached") })
	_, port, _ := net.SplitHostPort(addr)
	names := newZone(map[string][][]string{
		"turn.example":  {{"127.0.0.1"}, {"127.0.0.2"}},
		"mixed.example": {{"127.0.0.2", "127.0.0.1", "10.0.0.1"}},
	})
	g := newGate(t, Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Resolver: names})
	f := g.front(Caller{Script: alice}, "http")
	if status, _, got := ask(t, f, "GET", "turn.example:"+port, "/", nil, "Connection", "close"); status != 200 || got != "reached" {
		t.Fatalf("at first: %d %q", status, got)
	}
	if names.asked["turn.example"] != 1 {
		t.Errorf("looked up %d times", names.asked["turn.example"])
	}
	g.RulesChanged(account, "production", "") // forgets the connection
	if status, _, got := ask(t, f, "GET", "turn.example:"+port, "/", nil); status != 502 || got != "DNS lookup failed: the name has no public address." {
		t.Errorf("after rebinding: %d %q", status, got)
	}
	if status, _, got := ask(t, f, "GET", "mixed.example:"+port, "/", nil); status != 200 || got != "reached" {
		t.Errorf("a name with good and bad addresses: %d %q", status, got)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	for _, to := range []string{"http://169.254.169.254/latest/meta-data", "http://127.0.0.2/", "//[::1]/", "http://localhost:8081/client/v4/user"} {
		addr := origin(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Location", to); w.WriteHeader(307) })
		g := newGate(t, Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
		g.Listening(netip.AddrPort{}, netip.MustParseAddrPort("127.0.0.1:8081"))
		f := g.front(Caller{Script: alice}, "http")
		status, header, _ := ask(t, f, "GET", addr, "/", nil)
		if status != 307 || header.Get("Location") != to {
			t.Errorf("%s: %d %v", to, status, header)
		}
		_, host, _ := strings.Cut(to, "//")
		host, _, _ = strings.Cut(host, "/")
		if status, _, got := ask(t, f, "GET", host, "/", nil); status != 502 { // what workerd does with it
			t.Errorf("%s: %d %q", to, status, got)
		}
	}
}

// The API is not reachable even where its address has been allowed.
func TestAPIIsNeverReachable(t *testing.T) {
	g := newGate(t, Options{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}})
	g.Listening(netip.MustParseAddrPort("127.0.0.1:8080"), netip.MustParseAddrPort("127.0.0.1:8081"))
	for to, want := range map[string]bool{
		"127.0.0.1:8081": false, "[::ffff:127.0.0.1]:8081": false, "0.0.0.0:8081": false, "[::]:8081": false,
		"127.0.0.1:8080": true, "127.0.0.2:8081": true, "10.0.0.1:8081": true,
	} {
		if got := g.reachable(netip.MustParseAddrPort(to)); got != want {
			t.Errorf("%s: %t", to, got)
		}
	}
	g.Listening(netip.MustParseAddrPort("127.0.0.1:8080"), netip.MustParseAddrPort("[::]:8081"))
	if g.reachable(netip.MustParseAddrPort("127.0.0.2:8081")) {
		t.Error("127.0.0.2 leads to the API as well")
	}
}

func TestAlternate(t *testing.T) {
	var in []netip.AddrPort
	for _, s := range []string{"[2a00::1]:1", "[2a00::2]:1", "[2a00::3]:1", "1.1.1.1:1"} {
		in = append(in, netip.MustParseAddrPort(s))
	}
	if got := alternate(in); !slices.Equal(got, []netip.AddrPort{in[0], in[3], in[1], in[2]}) {
		t.Errorf("%v", got)
	}
}

// The first address that answers is taken; those that do not answer hold nobody up.
func TestRace(t *testing.T) {
	addr := origin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "reached") })
	_, port, _ := net.SplitHostPort(addr)
	names := newZone(map[string][][]string{"many.example": {{"127.0.0.9", "127.0.0.8", "127.0.0.1"}}})
	g := newGate(t, Options{Allow: loopback, Resolver: names})
	if status, _, got := ask(t, g.front(Caller{Script: alice}, "http"), "GET", "many.example:"+port, "/", nil); status != 200 || got != "reached" {
		t.Errorf("%d %q", status, got)
	}
}

func FuzzDestination(f *testing.F) {
	for _, s := range []string{"example.com", "example.com:80", "[::1]:80", "[::1%25lo]", "127.1", "1.1.1.1:99999", "a@b", "::", "[", "]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		to, err := parseDestination(s, 80)
		if err != nil {
			return
		}
		again, err := parseDestination(to.authority(), 0)
		if err != nil || again != to {
			t.Errorf("%q is %+v, which is %+v, %v", s, to, again, err)
		}
		if strings.ContainsAny(to.host, " /@\\#?%") || to.port == 0 {
			t.Errorf("%q is %+v", s, to)
		}
		if u, err := locate("http", to, "/a|b?a"); err != nil || u.Host != to.authority() {
			t.Errorf("%q: %v, %v", s, u, err)
		}
	})
}
