package egress

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"

	"atoll.dev/atoll/internal/hop"
)

// Connect makes a raw connection to authority, over TLS where secure is set, and joins it with the one that r, a CONNECT
// request (RFC 9110, section 9.3.6), came on. It returns an error only while nothing has been answered yet.
func (g *Gate) Connect(w http.ResponseWriter, r *http.Request, c Caller, authority string, secure bool) (err error) {
	m := NewMeter(Record{Script: c.Script, Invocation: c.Invocation, Kind: Connect, Method: http.MethodConnect, Scheme: "tcp", Host: authority})
	if secure {
		m.Scheme = "tls"
	}
	defer func() {
		if err != nil {
			m.Err = Reason(err)
		}
		g.opts.Observe(m.Done())
	}()
	to, err := parseDestination(authority, 0)
	if err != nil {
		return fmt.Errorf("connect to %q: %w", authority, err)
	}
	t, err := g.tenant(r.Context(), c.Script)
	if err != nil {
		return err
	}
	if !t.policy.tcp {
		return fmt.Errorf("connect to %s: %w", to.authority(), ErrSockets)
	}
	if to.port == smtp || !t.policy.name(to) {
		return fmt.Errorf("connect to %s: %w", to.authority(), ErrRules)
	}
	select {
	case t.sockets <- struct{}{}:
		defer func() { <-t.sockets }()
	default:
		return fmt.Errorf("connect to %s: %w", to.authority(), errBusy)
	}
	conn, err := g.open(r, to, t, secure)
	if err != nil {
		return err
	}
	m.Status = http.StatusOK
	hop.RelayConnect(r.Context(), w, stream{conn, m})
	return nil
}

// open dials, and shakes hands where the connection is to be over TLS.
func (g *Gate) open(r *http.Request, to destination, t *tenant, secure bool) (io.ReadWriteCloser, error) {
	conn, err := g.dial(r.Context(), to, t.policy)
	if err != nil || !secure {
		return conn, err
	}
	return g.secure(r, to, conn)
}

func (g *Gate) secure(r *http.Request, to destination, conn net.Conn) (io.ReadWriteCloser, error) {
	cfg := g.tls.Clone()
	cfg.ServerName = to.host
	s := tls.Client(conn, cfg)
	ctx, cancel := context.WithTimeout(r.Context(), g.opts.DialTimeout)
	defer cancel()
	if err := s.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect to %s: %w", to.authority(), err)
	}
	return s, nil
}
