// Package egress is the only way out of an isolate process to other machines: it sends the subrequests of Workers to
// public addresses and nowhere else.
//
// Each name is resolved once, every address it gives is checked, and the connection is made to the address that was
// checked, so that neither a name nor a redirect leads to the node, its network or a metadata service. Redirects are not
// followed here: workerd follows them, and each comes back as a request of its own. No proxy of the environment is used.
//
// A Gate may be used concurrently.
package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"atoll.dev/atoll/internal/hop"
)

// Options say what is reachable beyond public addresses.
type Options struct {
	Allow []netip.Prefix // for development: loopback or private blocks that may be reached
}

// Gate sends subrequests out.
type Gate struct {
	lg        *slog.Logger
	allow     []netip.Prefix
	transport *http.Transport
}

// New returns a Gate.
func New(lg *slog.Logger, opts Options) *Gate {
	g := &Gate{lg: lg, allow: opts.Allow}
	dialer := &net.Dialer{Timeout: 15 * time.Second, Control: g.control}
	g.transport = &http.Transport{
		Proxy:                  nil,
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // workerd asks for and undoes compression itself
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        60 * time.Second,
		TLSHandshakeTimeout:    15 * time.Second,
		MaxResponseHeaderBytes: 128 << 10,
	}
	return g
}

// Close closes idle connections.
func (g *Gate) Close() error {
	g.transport.CloseIdleConnections()
	return nil
}

// ErrForbidden says that a destination is not one that Workers may reach.
var ErrForbidden = errors.New("the destination is not a public address")

// control is called for each address a connection is about to be made to, after the name has been resolved.
func (g *Gate) control(network, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !strings.HasPrefix(network, "tcp") {
		return ErrForbidden
	}
	addr := ap.Addr().Unmap().WithZone("")
	for _, p := range g.allow {
		if p.Contains(addr) {
			return nil
		}
	}
	if !Public(addr) {
		return ErrForbidden
	}
	return nil
}

// Public tells whether an address is globally reachable by IANA's registries of special-purpose addresses
// (https://www.iana.org/assignments/iana-ipv4-special-registry, .../iana-ipv6-special-registry).
func Public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsValid() || !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	if v4, ok := embedded(a); ok {
		return Public(v4)
	}
	return true
}

// special are the blocks of the registries that netip's own predicates do not cover.
var special = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "240.0.0.0/4", "169.254.0.0/16",
	"::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10",
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

var (
	nat64   = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	sixToFo = netip.MustParsePrefix("2002::/16")    // RFC 3056
)

// embedded returns the IPv4 address that a translation mechanism would reach through a.
func embedded(a netip.Addr) (netip.Addr, bool) {
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case sixToFo.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

// ServeHTTP sends one subrequest out and relays the answer. r is as workerd sends it to an external service, with the
// URL's scheme in proto.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request, proto string) error {
	u, err := url.Parse(proto + "://" + r.Host + hop.Target(r))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("subrequest to %q: %w", r.Host, ErrForbidden)
	}
	out := (&http.Request{
		Method: r.Method, URL: u, Host: r.Host, Header: hop.Clean(r.Header), ContentLength: r.ContentLength,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(r.Context())
	if r.ContentLength != 0 {
		out.Body = r.Body
	}
	upgrade := hop.IsWebSocket(r.Header)
	if upgrade {
		out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = nil // not Go's own
	}
	res, err := g.transport.RoundTrip(out)
	if err != nil {
		return fmt.Errorf("subrequest to %s: %w", u.Host, err)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		rwc, ok := res.Body.(io.ReadWriteCloser)
		if !ok || !upgrade {
			res.Body.Close()
			return fmt.Errorf("subrequest to %s: unexpected switch of protocols", u.Host)
		}
		hop.RelayUpgrade(r.Context(), w, res.Header, rwc)
		return nil
	}
	hop.Relay(r.Context(), w, &hop.Response{Response: res})
	return nil
}

// Reason is what a Worker is told of a failed subrequest: why, but nothing of the node's network.
func Reason(err error) string {
	var dns *net.DNSError
	switch {
	case errors.Is(err, ErrForbidden):
		return "Network connection refused: " + ErrForbidden.Error()
	case errors.As(err, &dns):
		return "DNS lookup failed."
	case errors.Is(err, context.DeadlineExceeded):
		return "Network connection timed out."
	}
	return "Network connection lost."
}
