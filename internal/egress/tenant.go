package egress

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"atoll.dev/atoll/internal/atoll"
)

// tenant is one script's way out: its rules, its own connections, which no other script ever uses, and its places.
type tenant struct {
	policy    *policy
	transport *http.Transport
	places    chan struct{} // holds a token for each subrequest under way
	sockets   chan struct{} // likewise for raw connections

	lastUse time.Time // guarded by Gate.mu
}

const (
	maxTenants = 512              // that have a transport at a time
	tenantIdle = 90 * time.Second // after so long without use one is forgotten; its idle connections have ended before
)

// tenant returns a script's tenant, made where it is missing.
func (g *Gate) tenant(ctx context.Context, ref atoll.ScriptRef) (*tenant, error) {
	for {
		g.mu.Lock()
		t, changes := g.tenants[ref], g.changes
		if t != nil {
			t.lastUse = time.Now()
		}
		g.mu.Unlock()
		if t != nil {
			return t, nil
		}
		p, err := g.policy(ctx, ref)
		if err != nil {
			g.lg.Warn("subrequest refused: the egress rules cannot be read", "account", ref.Account, "script", ref.String(), "err", err)
			return nil, fmt.Errorf("read egress rules of %s: %w", ref, err)
		}
		t = g.newTenant(p)
		g.mu.Lock()
		if g.changes != changes { // the rules may be others by now
			g.mu.Unlock()
			continue
		}
		if other := g.tenants[ref]; other != nil {
			t = other
		}
		g.tenants[ref] = t
		t.lastUse = time.Now()
		dropped := g.evictLocked(t.lastUse)
		g.mu.Unlock()
		for _, d := range dropped {
			d.transport.CloseIdleConnections()
		}
		return t, nil
	}
}

func (g *Gate) policy(ctx context.Context, ref atoll.ScriptRef) (*policy, error) {
	if g.opts.Rules == nil {
		return newPolicy(ref, nil, nil), nil
	}
	ns, script, err := g.opts.Rules.EgressRules(ctx, ref)
	if err != nil {
		return nil, err
	}
	var compiled [2]*Rules
	for i, r := range []*atoll.EgressRules{ns, script} {
		if r == nil {
			continue
		}
		if compiled[i], err = Compile(*r); err != nil {
			return nil, err
		}
	}
	return newPolicy(ref, compiled[0], compiled[1]), nil
}

func (g *Gate) newTenant(p *policy) *tenant {
	t := &tenant{policy: p, places: make(chan struct{}, g.opts.MaxRequests), sockets: make(chan struct{}, g.opts.MaxSockets)}
	t.transport = &http.Transport{
		Proxy: nil, // never the environment's
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			to, err := parseDestination(addr, 0)
			if err != nil {
				return nil, err
			}
			return g.dial(ctx, to, p)
		},
		TLSClientConfig:        g.tls.Clone(),
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // workerd asks for and undoes compression itself
		MaxIdleConns:           16,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        60 * time.Second,
		TLSHandshakeTimeout:    g.opts.DialTimeout,
		ResponseHeaderTimeout:  g.opts.AnswerTimeout,
		MaxResponseHeaderBytes: maxHeader,
	}
	return t
}

// evictLocked forgets tenants that have not been used for a while, and of more than maxTenants the one that was used
// longest ago. What they have under way goes on.
func (g *Gate) evictLocked(now time.Time) (dropped []*tenant) {
	if len(g.tenants) <= maxTenants {
		return nil
	}
	var oldest atoll.ScriptRef
	at := now
	for ref, t := range g.tenants {
		if now.Sub(t.lastUse) > tenantIdle {
			delete(g.tenants, ref)
			dropped = append(dropped, t)
		} else if t.lastUse.Before(at) {
			oldest, at = ref, t.lastUse
		}
	}
	if t := g.tenants[oldest]; len(dropped) == 0 && t != nil {
		delete(g.tenants, oldest)
		dropped = append(dropped, t)
	}
	return dropped
}

// RulesChanged says that the rules of a namespace, or of one script where name is not empty, are others now. The next
// subrequest sees them, on a new connection; those under way go on.
func (g *Gate) RulesChanged(account atoll.AccountID, ns atoll.NamespaceName, name atoll.ScriptName) {
	g.mu.Lock()
	var dropped []*tenant
	g.changes++
	for ref, t := range g.tenants {
		if ref.Account == account && ref.Namespace == ns && (name == "" || ref.Name == name) {
			delete(g.tenants, ref)
			dropped = append(dropped, t)
		}
	}
	g.mu.Unlock()
	for _, t := range dropped {
		t.transport.CloseIdleConnections()
	}
}

// enter waits for a place among a script's subrequests.
func (t *tenant) enter(ctx context.Context) error {
	select {
	case t.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t *tenant) leave() { <-t.places }
