package binding

import (
	"net"
	"net/http"
	"strings"

	"atoll.dev/atoll/internal/egress"
	"atoll.dev/atoll/internal/isolate"
)

// socket answers a raw connection that a process makes. Where an outbound Worker is configured there are none:
// https://developers.cloudflare.com/cloudflare-for-platforms/workers-for-platforms/configuration/outbound-workers/
func (b *Border) socket(w http.ResponseWriter, r *http.Request, p *isolate.Process) {
	to := readAuthority(r.Host)
	from, err := attribute(p, to.tag)
	if err == nil && p.Outbound != "" {
		err = egress.ErrSockets
	}
	if err == nil {
		err = b.Egress.Connect(w, r, from.caller(p), to.address, to.secure)
	}
	if err != nil {
		b.lg.Debug("connect() failed", "script", p.Spec.Ref.String(), "isolate", p.ID, "to", to.address, "err", err)
		http.Error(w, egress.Reason(err), http.StatusBadGateway) // workerd tells the Worker no more than that it failed
	}
}

// authority is what the authority of a CONNECT request says.
type authority struct {
	tag     string // of the invocation; empty: it does not say
	secure  bool   // the connection is to be over TLS
	address string // host:port
}

// readAuthority reads what js/sockets.js has put into the name of a host, "atoll-tls4-TAG.HOST:PORT". A name without that
// comes from a way to connect that it does not stand before, and is taken as it is.
func readAuthority(s string) authority {
	mark, rest, ok := strings.Cut(s, ".")
	kind, tag, dashed := strings.Cut(strings.TrimPrefix(mark, "atoll-"), "-")
	if !ok || !dashed || !strings.HasPrefix(mark, "atoll-") {
		return authority{address: s}
	}
	a := authority{tag: tag, secure: strings.HasPrefix(kind, "tls"), address: rest}
	switch kind {
	case "tcp4", "tls4":
		return a
	case "tcp6", "tls6":
		if host, port, err := net.SplitHostPort(rest); err == nil {
			a.address = net.JoinHostPort(strings.ReplaceAll(host, "-", ":"), port)
			return a
		}
	}
	return authority{address: s}
}
