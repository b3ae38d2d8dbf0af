package binding

import (
	"errors"
	"net/http"

	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/egress"
	"atoll.dev/atoll/internal/invocation"
	"atoll.dev/atoll/internal/isolate"
)

// errSubRequests is thrown at the subrequest that is one too many:
// https://developers.cloudflare.com/workers/platform/limits/#subrequests
var errSubRequests = &dispatch.Exception{Name: "Error", Message: "Too many subrequests."}

// egress answers a subrequest that a process sends to the internet.
func (b *Border) egress(w http.ResponseWriter, r *http.Request, p *isolate.Process) {
	tag := takeTag(r.Header)
	inv, ok := p.Invocations.Charge(tag)
	if !ok {
		throw(w, errSubRequests)
		return
	}
	if err := b.Egress.Fetch(w, r, caller(p, inv, tag), r.Header.Get(isolate.HeaderProto)); err != nil {
		b.failed(w, r, p, err)
	}
}

// failed answers a subrequest that has got no answer.
func (b *Border) failed(w http.ResponseWriter, r *http.Request, p *isolate.Process, err error) {
	b.lg.Debug("subrequest failed", "script", p.Spec.Ref.String(), "isolate", p.ID, "host", r.Host, "err", err)
	var e *dispatch.Exception
	if !errors.As(err, &e) {
		e = &dispatch.Exception{Name: "Error", Message: egress.Reason(err)}
	}
	throw(w, e)
}

// caller is on whose behalf a subrequest goes out. One that did not say whose it is, was charged to inv all the same, but
// gets none of its privileges.
func caller(p *isolate.Process, inv *invocation.Invocation, tag string) egress.Caller {
	c := egress.Caller{Script: p.Spec.Ref, Hops: inv.Hops + 1}
	if inv.Tag == tag {
		c.Invocation = tag
		c.API = p.Spec.Ref.Namespace == ""
	}
	return c
}
