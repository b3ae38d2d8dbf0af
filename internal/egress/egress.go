// Package egress is the only way out of an isolate process to other machines: it sends the subrequests of Workers to
// public addresses and nowhere else.
//
// Each name is resolved once, every address it gives is checked, and the connection is made to an address that was
// checked, so that neither a name nor a redirect leads to the node, its network or a metadata service. Redirects are not
// followed here: workerd follows them, and each comes back as a request of its own. No proxy of the environment is used.
// What passes has then to pass the rules of its namespace and script. Who calls, and whether an outbound Worker comes
// first, package binding knows. docs/egress.md is the whole story.
//
// # Invariants
//
// No connection is made to an address that was not checked for that very connection. No connection is used for two
// scripts. The node's own API is reached by its alias alone, and by whom the caller says may.
//
// # Concurrency
//
// A Gate may be used concurrently. Its one lock guards the table of tenants and is not held for I/O.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/hop"
)

// RuleSource is where the rules of scripts are read.
type RuleSource interface {
	// EgressRules returns the rules of a script's namespace and its own; nil where there are none.
	EgressRules(ctx context.Context, ref atoll.ScriptRef) (namespace, script *atoll.EgressRules, err error)
}

// Options say what is reachable and how much of it. Zero values mean the defaults.
type Options struct {
	Allow []netip.Prefix // for development: loopback or private blocks that may be reached
	Deny  []netip.Prefix // public blocks that may not, such as the operator's own
	Rules RuleSource     // nil: there are none
	Roots *x509.CertPool // certificates of origins are verified against these; nil: the system's
	Zone  string         // the zone in the header cf-worker; empty: none is sent

	Aliases map[string]http.Handler // hosts that stand for the node's own API, in lower case
	Observe func(Record)            // is told of each subrequest when it has ended; nil: nobody

	DialTimeout   time.Duration // to resolve a name and connect, and again for TLS; 15 s
	AnswerTimeout time.Duration // from the end of a request to the head of its answer; 100 s, as Cloudflare's
	MaxAnswer     int64         // bytes of an answer's body; 10 GiB
	MaxRequests   int           // under way for one script; the next one waits; 512
	MaxSockets    int           // raw connections of one script; the next one fails; 64

	Resolver   Resolver                   // nil: the system's name servers and /etc/hosts
	Interfaces func() ([]net.Addr, error) // the machine's addresses; nil: net.InterfaceAddrs
}

// Gate sends subrequests out.
type Gate struct {
	lg     *slog.Logger
	opts   Options
	tls    *tls.Config
	dialer *net.Dialer
	self   self

	mu      sync.Mutex
	tenants map[atoll.ScriptRef]*tenant
	changes int // counts RulesChanged
}

// New returns a Gate.
func New(lg *slog.Logger, opts Options) *Gate {
	if lg == nil {
		lg = slog.New(slog.DiscardHandler)
	}
	if opts.DialTimeout == 0 {
		opts.DialTimeout = 15 * time.Second
	}
	if opts.AnswerTimeout == 0 {
		opts.AnswerTimeout = 100 * time.Second
	}
	if opts.MaxAnswer == 0 {
		opts.MaxAnswer = 10 << 30
	}
	if opts.MaxRequests == 0 {
		opts.MaxRequests = 512
	}
	if opts.MaxSockets == 0 {
		opts.MaxSockets = 64
	}
	if opts.Resolver == nil {
		// Go's own resolver takes no "127.1" for an address, as the C library's does.
		opts.Resolver = &net.Resolver{PreferGo: true}
	}
	if opts.Interfaces == nil {
		opts.Interfaces = net.InterfaceAddrs
	}
	if opts.Observe == nil {
		opts.Observe = func(Record) {}
	}
	g := &Gate{lg: lg, opts: opts, tenants: map[atoll.ScriptRef]*tenant{}, self: self{interfaces: opts.Interfaces}}
	g.tls = &tls.Config{RootCAs: opts.Roots, MinVersion: tls.VersionTLS12}
	g.dialer = &net.Dialer{Timeout: opts.DialTimeout, Control: g.control}
	return g
}

// Close closes idle connections.
func (g *Gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range g.tenants {
		t.transport.CloseIdleConnections()
	}
	return nil
}

// Observe tells the observer of a subrequest that did not go through the gate.
func (g *Gate) Observe(r Record) { g.opts.Observe(r) }

// Caller is on whose behalf a subrequest goes out.
type Caller struct {
	Script     atoll.ScriptRef
	Invocation string // the tag of its invocation
	Hops       int    // how many Workers have called one another up to this subrequest
	API        bool   // it may reach the node's own API by an alias
}

// Fetch sends one subrequest out and relays the answer. r is as workerd sends it to an external service, with the URL's
// scheme in proto. It returns an error only while nothing has been answered yet; Reason says what to tell the Worker.
func (g *Gate) Fetch(w http.ResponseWriter, r *http.Request, c Caller, proto string) (err error) {
	m := NewMeter(Record{Script: c.Script, Invocation: c.Invocation, Kind: Fetch, Method: r.Method, Scheme: proto, Host: r.Host})
	defer func() {
		if err != nil {
			m.Err = Reason(err)
		}
		g.opts.Observe(m.Done())
	}()
	to, err := target(proto, r)
	if err != nil {
		return fmt.Errorf("subrequest to %q: %w", r.Host, err)
	}
	if api := g.opts.Aliases[to.host]; api != nil && c.API && (to.port == 443 || to.port == 80) {
		g.toAPI(w, r, api, m)
		return nil
	}
	t, err := g.tenant(r.Context(), c.Script)
	if err != nil {
		return err
	}
	if to.port == smtp || !t.policy.name(to) {
		return fmt.Errorf("subrequest to %s: %w", to.authority(), ErrRules)
	}
	if err := t.enter(r.Context()); err != nil {
		return fmt.Errorf("subrequest to %s: %w", to.authority(), err)
	}
	defer t.leave()
	return g.exchange(w, r, c, t, to, m)
}

// smtp is the one port that nobody's Worker reaches, as on Cloudflare:
// https://developers.cloudflare.com/workers/runtime-apis/tcp-sockets/#considerations
const smtp = 25

// target reads where a request goes.
func target(proto string, r *http.Request) (destination, error) {
	switch proto {
	case "http":
		return parseDestination(r.Host, 80)
	case "https":
		return parseDestination(r.Host, 443)
	}
	return destination{}, fmt.Errorf("%w: scheme %q", errMalformed, proto)
}

// exchange carries the request over one of the tenant's connections.
func (g *Gate) exchange(w http.ResponseWriter, r *http.Request, c Caller, t *tenant, to destination, m *Meter) error {
	u, err := locate(m.Scheme, to, hop.Target(r))
	if err != nil {
		return fmt.Errorf("subrequest to %s: %w", to.authority(), err)
	}
	out := (&http.Request{
		Method: r.Method, URL: u, Host: r.Host, Header: g.outgoing(r.Header, c.Hops), ContentLength: r.ContentLength,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(r.Context())
	if r.ContentLength != 0 {
		out.Body = m.Body(r.Body)
	}
	if headerSize(out.Header) > maxHeader {
		return fmt.Errorf("subrequest to %s: %w", to.authority(), errLargeHeader)
	}
	upgrade := hop.IsWebSocket(r.Header)
	if upgrade {
		m.Kind = WebSocket
		out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	}
	res, err := t.transport.RoundTrip(out)
	if err != nil {
		return fmt.Errorf("subrequest to %s: %w", to.authority(), err)
	}
	m.Status = res.StatusCode
	if res.StatusCode == http.StatusSwitchingProtocols {
		rwc, ok := res.Body.(io.ReadWriteCloser)
		if !ok || !upgrade {
			res.Body.Close()
			return fmt.Errorf("subrequest to %s: unexpected switch of protocols", to.authority())
		}
		hop.RelayUpgrade(r.Context(), w, res.Header, stream{rwc, m})
		return nil
	}
	for _, v := range res.Header["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			res.Header.Del(strings.TrimSpace(name))
		}
	}
	res.Body = m.Answer(g.bounded(res))
	hop.Relay(r.Context(), w, &hop.Response{Response: res})
	return nil
}

// locate makes a URL whose request target is the given one, byte for byte, where package url would escape some: URLs of
// https://url.spec.whatwg.org may have "|" in a path.
func locate(scheme string, to destination, target string) (*url.URL, error) {
	u, err := url.Parse(scheme + "://" + to.authority() + target)
	if err == nil && u.RequestURI() == target {
		return u, nil
	}
	if strings.HasPrefix(target, "//") || !strings.HasPrefix(target, "/") { // would be taken for another host
		return nil, errMalformed
	}
	path, query, ask := strings.Cut(target, "?")
	return &url.URL{Scheme: scheme, Host: to.authority(), Opaque: path, RawQuery: query, ForceQuery: ask}, nil
}

// bounded breaks an answer off that is larger than the limit.
func (g *Gate) bounded(res *http.Response) io.ReadCloser {
	if res.Body == http.NoBody || res.ContentLength >= 0 && res.ContentLength <= g.opts.MaxAnswer {
		return res.Body
	}
	return http.MaxBytesReader(nil, res.Body, g.opts.MaxAnswer)
}
