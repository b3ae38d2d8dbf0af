package api

import (
	"fmt"
	"strings"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/kv"
	"atoll.dev/atoll/internal/upload"
	"atoll.dev/atoll/internal/wire"
)

const (
	maxPlans      = 100
	maxParameters = 100
	maxName       = 255 // bytes of a plan's or parameter's name
)

func badRouter(format string, args ...any) error {
	return fault.Newf(fault.Invalid, 10022, "router: "+format, args...)
}

// routerIn reads a route's router and makes sure that what it names is there. That the dispatch namespace is, the store does
// in the transaction that keeps the route.
func (a *API) routerIn(q *request, pattern string, in wire.Router) (*atoll.Router, error) {
	r := &atoll.Router{Kind: atoll.RouterKind(in.Kind), KV: in.KVNamespaceID}
	var err error
	if r.Namespace, err = atoll.ParseNamespaceName(in.Namespace); err != nil {
		return nil, fmt.Errorf("router: %w", err)
	}
	switch r.Kind {
	case atoll.BySubdomain:
		_, host, ok := strings.Cut(pattern, "://")
		if !ok {
			host = pattern
		}
		if !strings.HasPrefix(host, "*") {
			return nil, badRouter("by subdomain it takes a pattern whose host begins with *, such as *.example.com/*")
		}
	case atoll.ByPath:
	case atoll.ByKV:
		if r.KV == "" {
			return nil, badRouter("by kv it needs kv_namespace_id")
		}
	default:
		return nil, badRouter("kind %q is none of subdomain, path and kv", in.Kind)
	}
	if err := a.checkRecords(q, r.KV); err != nil {
		return nil, err
	}
	if r.Limits, err = routerLimits("limits", in.Limits); err != nil {
		return nil, err
	}
	if r.Plans, err = plansIn(in); err != nil {
		return nil, err
	}
	r.Outbound, err = a.routerOutboundIn(q, in.Outbound)
	return r, err
}

func (a *API) checkRecords(q *request, id string) error {
	if id == "" {
		return nil
	}
	ns, err := kv.ParseNamespaceID(id)
	if err != nil {
		return badRouter("kv_namespace_id %q is no id of a KV namespace", id)
	}
	ok, err := a.KV.KVNamespaceExists(q.Context(), q.zone.Account, string(ns))
	if err == nil && !ok {
		err = badRouter("the account has no KV namespace %s", id)
	}
	return err
}

func routerLimits(field string, in wire.RouterLimits) (atoll.Limits, error) {
	if in.CPUMs < 0 || in.CPUMs > upload.MaxCPUMs || in.SubRequests < 0 || in.SubRequests > upload.MaxSubRequests {
		return atoll.Limits{}, badRouter("%s: cpu_ms may be up to %d and subrequests up to %d", field, upload.MaxCPUMs, upload.MaxSubRequests)
	}
	return atoll.Limits{CPUMs: in.CPUMs, SubRequests: in.SubRequests}, nil
}

func plansIn(in wire.Router) (map[string]atoll.Limits, error) {
	if len(in.Plans) == 0 {
		return nil, nil
	}
	if in.KVNamespaceID == "" {
		return nil, badRouter("plans are named by KV records, and there is no kv_namespace_id")
	}
	if len(in.Plans) > maxPlans {
		return nil, badRouter("%d plans; it may have %d", len(in.Plans), maxPlans)
	}
	plans := map[string]atoll.Limits{}
	for name, l := range in.Plans {
		if name == "" || len(name) > maxName {
			return nil, badRouter("a plan's name has 1 to %d bytes", maxName)
		}
		var err error
		if plans[name], err = routerLimits("plan "+name, l); err != nil {
			return nil, err
		}
	}
	return plans, nil
}

func (a *API) routerOutboundIn(q *request, in *wire.RouterOutbound) (*atoll.RouterOutbound, error) {
	if in == nil {
		return nil, nil
	}
	name, err := atoll.ParseScriptName(in.Service)
	if err != nil {
		return nil, fmt.Errorf("router's outbound: %w", err)
	}
	if len(in.Parameters) > maxParameters {
		return nil, badRouter("%d parameters; outbound may have %d", len(in.Parameters), maxParameters)
	}
	for _, p := range in.Parameters {
		if p == "" || len(p) > maxName {
			return nil, badRouter("a parameter's name has 1 to %d bytes", maxName)
		}
	}
	_, err = a.Store.Script(q.Context(), atoll.ScriptRef{Account: q.zone.Account, Name: name})
	if fault.KindOf(err) == fault.NotFound {
		err = badRouter("the account has no script %q to be the outbound Worker", name)
	}
	return &atoll.RouterOutbound{Service: name, Parameters: in.Parameters}, err
}

// showRouter returns a router as the API has it.
func showRouter(r *atoll.Router) *wire.Router {
	if r == nil {
		return nil
	}
	limits := func(l atoll.Limits) wire.RouterLimits {
		return wire.RouterLimits{CPUMs: l.CPUMs, SubRequests: l.SubRequests}
	}
	out := &wire.Router{Kind: string(r.Kind), Namespace: string(r.Namespace), KVNamespaceID: r.KV, Limits: limits(r.Limits)}
	for name, l := range r.Plans {
		if out.Plans == nil {
			out.Plans = map[string]wire.RouterLimits{}
		}
		out.Plans[name] = limits(l)
	}
	if o := r.Outbound; o != nil {
		out.Outbound = &wire.RouterOutbound{Service: string(o.Service), Parameters: o.Parameters}
	}
	return out
}
