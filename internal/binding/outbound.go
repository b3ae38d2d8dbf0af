package binding

import (
	"encoding/json"
	"fmt"
	"net/http"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/egress"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/invocation"
	"atoll.dev/atoll/internal/isolate"
)

// maxParams bounds the parameters of one dispatch, as JSON: they travel in a header.
const maxParams = 32 << 10

var (
	errParams = &dispatch.Exception{Name: "RangeError", Message: fmt.Sprintf("the outbound parameters are larger than %d bytes", maxParams)}
	// errNoOutbound keeps a subrequest from the internet whose outbound Worker was deleted.
	errNoOutbound = &dispatch.Exception{Name: "Error", Message: "The outbound Worker does not exist."}
)

// outbound is where the subrequests of a dispatch through the binding go: to the Worker it names, with those of the given
// options that it declares.
func (f fields) outbound(account atoll.AccountID, options map[string]json.RawMessage) (*invocation.Outbound, error) {
	out := &invocation.Outbound{
		Worker:     atoll.ScriptRef{Account: account, Name: atoll.ScriptName(f.Outbound.Worker.Service)},
		Entrypoint: f.Outbound.Worker.Entrypoint,
		Params:     map[string]json.RawMessage{},
	}
	size := 0
	for _, p := range f.Outbound.Params {
		if v, ok := options[p.Name]; ok {
			out.Params[p.Name] = v
			size += len(p.Name) + len(v)
		}
	}
	if size > maxParams {
		return nil, errParams
	}
	return out, nil
}

// intercept carries a subrequest to its outbound Worker, and what that answers back.
func (b *Border) intercept(w http.ResponseWriter, r *http.Request, p *isolate.Process, from source) error {
	m := egress.NewMeter(egress.Record{Script: p.Spec.Ref, Invocation: from.tag, Kind: egress.Outbound, Method: r.Method,
		Scheme: r.Header.Get(isolate.HeaderProto), Host: r.Host})
	defer func() { b.Egress.Observe(m.Done()) }()
	if r.ContentLength != 0 {
		r.Body = m.Body(r.Body)
	}
	req := hop.FromServer(r)
	req.Header = egress.Clean(r.Header)
	reply, err := b.Call(r.Context(), dispatch.Call{
		Script: from.outbound.Worker, Entrypoint: from.outbound.Entrypoint, Params: from.outbound.Params, OnBehalf: true,
		Request: req, Proto: m.Scheme, Hops: from.hops + 1, Tenant: p.Spec.Ref.String(),
	})
	if fault.KindOf(err) == fault.NotFound {
		err = fmt.Errorf("%w: %w", errNoOutbound, err)
	}
	if err != nil {
		m.Err = dispatch.AsException(err).Error()
		return err
	}
	defer reply.Close()
	m.Status = reply.StatusCode
	if reply.StatusCode != http.StatusSwitchingProtocols {
		reply.Body = m.Answer(reply.Body)
	}
	hop.Relay(r.Context(), w, reply.Response)
	return nil
}
