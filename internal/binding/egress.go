package binding

import (
	"errors"
	"net/http"

	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/egress"
	"atoll.dev/atoll/internal/invocation"
	"atoll.dev/atoll/internal/isolate"
)

var (
	// errSubRequests is thrown at the subrequest that is one too many:
	// https://developers.cloudflare.com/workers/platform/limits/#subrequests
	errSubRequests = &dispatch.Exception{Name: "Error", Message: "Too many subrequests."}
	// errNobodys refuses a subrequest of an intercepted Worker that does not say whose it is: the outbound Worker would get
	// parameters that may not be its own.
	errNobodys = &dispatch.Exception{Name: "Error", Message: "This subrequest cannot be told to belong to a request, and is refused because an outbound Worker is configured. Send it with fetch()."}
)

// source is where a request out of a process comes from.
type source struct {
	tag      string               // of the invocation, where the request has told it; empty otherwise
	hops     int                  // how many Workers called one another up to this one
	outbound *invocation.Outbound // where its subrequests go
	onBehalf bool                 // it is, or may be, an outbound Worker's for another Worker
}

// attribute finds out whose a request is, and charges it. A request without a valid tag gets nobody's privileges, and
// nobody's parameters but those of a process's only invocation.
func attribute(p *isolate.Process, tag string) (source, error) {
	inv, ok := p.Invocations.Charge(tag)
	if !ok {
		return source{}, errSubRequests
	}
	if inv.Tag == tag {
		if inv.Attended != nil {
			inv.Attended()
		}
		return source{tag, inv.Hops, inv.Outbound, inv.OnBehalf}, nil
	}
	s := source{hops: p.Invocations.Deepest(), onBehalf: true}
	if p.Outbound == "" {
		return s, nil
	}
	only := p.Invocations.Only()
	if only == nil {
		return source{}, errNobodys
	}
	s.outbound = only.Outbound
	return s, nil
}

// egress answers a subrequest that a process sends to the internet.
func (b *Border) egress(w http.ResponseWriter, r *http.Request, p *isolate.Process) {
	from, err := attribute(p, takeTag(r.Header))
	switch {
	case err != nil:
	case from.outbound != nil:
		err = b.intercept(w, r, p, from)
	default:
		err = b.Egress.Fetch(w, r, from.caller(p), r.Header.Get(isolate.HeaderProto))
	}
	if err == nil {
		return
	}
	b.lg.Debug("subrequest failed", "script", p.Spec.Ref.String(), "isolate", p.ID, "host", r.Host, "err", err)
	var e *dispatch.Exception
	if !errors.As(err, &e) {
		e = &dispatch.Exception{Name: "Error", Message: egress.Reason(err)}
	}
	throw(w, e)
}

// caller is on whose behalf a subrequest goes out. The node's own API is for platform Workers' own code: an outbound Worker
// passes on what a user Worker asks for.
func (s source) caller(p *isolate.Process) egress.Caller {
	return egress.Caller{Script: p.Spec.Ref, Invocation: s.tag, Hops: s.hops + 1, API: p.Spec.Ref.Namespace == "" && !s.onBehalf}
}
