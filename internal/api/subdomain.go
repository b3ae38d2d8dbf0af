package api

import (
	"fmt"
	"strings"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/wire"
)

// getSubdomain returns the account's workers.dev name. One that was never set is the first label of the node's zone:
// wrangler gives up a deploy, at its very end, where there is none.
func (a *API) getSubdomain(q *request) (any, error) {
	name, err := a.Store.Subdomain(q.Context(), q.account)
	if fault.KindOf(err) == fault.NotFound {
		name, _, _ = strings.Cut(a.Zone, ".")
	} else if err != nil {
		return nil, fmt.Errorf("find subdomain: %w", err)
	}
	return wire.Subdomain{Subdomain: name}, nil
}

func (a *API) putSubdomain(q *request) (any, error) {
	var in wire.Subdomain
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if !isHostname(in.Subdomain) || strings.Contains(in.Subdomain, ".") {
		return nil, fault.Newf(fault.Invalid, 10032, "subdomain %q is not one label of a host name", in.Subdomain)
	}
	if err := a.Store.SetSubdomain(q.Context(), q.account, in.Subdomain); err != nil {
		return nil, fmt.Errorf("set subdomain: %w", err)
	}
	a.RoutesChanged()
	return in, nil
}

func (a *API) deleteSubdomain(q *request) (any, error) {
	if err := a.Store.SetSubdomain(q.Context(), q.account, ""); err != nil {
		return nil, fmt.Errorf("remove subdomain: %w", err)
	}
	a.RoutesChanged()
	return nil, nil
}

func (a *API) getScriptSubdomain(q *request) (any, error) {
	enabled, previews, err := a.Store.ScriptSubdomain(q.Context(), q.ref)
	if err != nil {
		return nil, fmt.Errorf("find subdomain of script: %w", err)
	}
	return wire.ScriptSubdomain{Enabled: enabled, PreviewsEnabled: previews}, nil
}

func (a *API) postScriptSubdomain(q *request) (any, error) {
	var in wire.ScriptSubdomainChange
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if in.Enabled == nil {
		return nil, fault.New(fault.Invalid, 10026, "the body needs enabled, true or false")
	}
	_, previews, err := a.Store.ScriptSubdomain(q.Context(), q.ref)
	if err != nil {
		return nil, fmt.Errorf("find subdomain of script: %w", err)
	}
	if in.PreviewsEnabled != nil {
		previews = *in.PreviewsEnabled
	}
	return a.setScriptSubdomain(q, *in.Enabled, previews)
}

func (a *API) deleteScriptSubdomain(q *request) (any, error) {
	return a.setScriptSubdomain(q, false, false)
}

func (a *API) setScriptSubdomain(q *request, enabled, previews bool) (any, error) {
	if err := a.Store.SetScriptSubdomain(q.Context(), q.ref, enabled, previews); err != nil {
		return nil, fmt.Errorf("set subdomain of script: %w", err)
	}
	a.RoutesChanged()
	return wire.ScriptSubdomain{Enabled: enabled, PreviewsEnabled: previews}, nil
}
