package node

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"

	"atoll.dev/atoll/internal/egress"
)

// openEgress builds the way out.
func (n *node) openEgress() (*egress.Gate, error) {
	l := n.cfg.Limits
	opts := egress.Options{Rules: n.store, Zone: n.cfg.Zone, Aliases: map[string]http.Handler{}, Observe: n.recorded,
		MaxAnswer: l.SubRequestAnswer, MaxRequests: int(l.OpenSubRequests), MaxSockets: int(l.OpenSockets)}
	var err error
	if opts.Allow, err = blocks("--egress-allow", n.cfg.EgressAllow); err != nil {
		return nil, err
	}
	if opts.Deny, err = blocks("--egress-deny", n.cfg.EgressDeny); err != nil {
		return nil, err
	}
	if n.cfg.EgressCA != "" {
		if opts.Roots, err = roots(n.cfg.EgressCA); err != nil {
			return nil, err
		}
	}
	for _, host := range n.cfg.APIAlias {
		// The API is built later: it needs what needs the way out.
		opts.Aliases[strings.ToLower(host)] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { n.api.ServeHTTP(w, r) })
	}
	for _, p := range opts.Allow {
		n.lg.Warn("Workers may reach addresses that are not public: --egress-allow is set", "block", p)
	}
	return egress.New(n.lg, opts), nil
}

// recorded tells the log of a subrequest.
func (n *node) recorded(r egress.Record) {
	n.lg.Debug("subrequest", "script", r.Script.String(), "invocation", r.Invocation, "kind", r.Kind, "method", r.Method, "host", r.Host,
		"scheme", r.Scheme, "status", r.Status, "sent", r.Sent, "received", r.Received, "took", r.Took, "err", r.Err)
}

func blocks(flag string, list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		p, err := egress.ParseBlock(s)
		if err != nil {
			return nil, fmt.Errorf("%s %s: it is an address or a block such as 10.0.0.0/8", flag, s)
		}
		out = append(out, p)
	}
	return out, nil
}

// roots returns the system's certificates and those of a file.
func roots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read --egress-ca: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read the system's certificates: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--egress-ca %s holds no certificate in PEM", file)
	}
	return pool, nil
}

// listening is a listener's address as the way out wants it.
func listening(l net.Listener) netip.AddrPort {
	a, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())
}
