package api

import (
	"bytes"
	"encoding/json"
	"fmt"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/auth"
	"atoll.dev/atoll/internal/egress"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/wire"
)

// egressRoutes are the rules of what Workers may reach. Whoever may deploy to a namespace may read its rules and not change
// them: they are there to bound what is deployed.
func egressRoutes() []endpoint {
	var all []endpoint
	for _, r := range []struct {
		pattern string
		read    auth.Permission
	}{
		{namespace, auth.NamespaceRead},
		{userWorkers + "/{script}", auth.NamespaceRead},
		{accountScripts + "/{script}", auth.AccountRead},
	} {
		all = append(all,
			endpoint{"GET", r.pattern + "/egress", r.read, (*API).getEgress},
			endpoint{"PUT", r.pattern + "/egress", auth.AccountWrite, (*API).putEgress},
			endpoint{"DELETE", r.pattern + "/egress", auth.AccountWrite, (*API).deleteEgress})
	}
	return all
}

// egressTarget names what the path's rules are of: a script, or with an empty name a namespace.
func egressTarget(q *request) atoll.ScriptRef {
	return atoll.ScriptRef{Account: q.account, Namespace: q.namespace.Name, Name: q.ref.Name}
}

// maxEgressScripts bounds the list of scripts that a namespace's rules come with.
const maxEgressScripts = 1000

func (a *API) getEgress(q *request) (any, error) {
	ref := egressTarget(q)
	ns, script, err := a.Store.EgressRules(q.Context(), ref)
	if err != nil {
		return nil, fmt.Errorf("get egress rules: %w", err)
	}
	if ref.Name != "" {
		return showEgress(script), nil
	}
	names, err := a.Store.EgressScripts(q.Context(), ref.Account, ref.Namespace, maxEgressScripts)
	if err != nil {
		return nil, fmt.Errorf("get egress rules: %w", err)
	}
	out := showEgress(ns)
	list := make([]string, 0, len(names))
	for _, n := range names {
		list = append(list, string(n))
	}
	out.Scripts = &list
	return out, nil
}

func showEgress(r *atoll.EgressRules) wire.EgressRules {
	if r == nil {
		return wire.EgressRules{Allow: []string{}, Deny: []string{}, Ports: []string{}}
	}
	return wire.EgressRules{Allow: orEmpty(r.Allow), Deny: orEmpty(r.Deny), Ports: orEmpty(r.Ports), TCP: r.TCP, ModifiedOn: &wire.Time{Time: r.Modified}}
}

// putEgress replaces the rules. A field it does not know is an error: a misspelt "deny" would let everything pass.
func (a *API) putEgress(q *request) (any, error) {
	b, err := q.read()
	if err != nil {
		return nil, err
	}
	var in wire.EgressRules
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil || dec.More() {
		return nil, fault.Newf(fault.Invalid, 10026, "could not parse the request body as egress rules {allow, deny, ports, tcp}: %v", err)
	}
	rules := atoll.EgressRules{Allow: in.Allow, Deny: in.Deny, Ports: in.Ports, TCP: in.TCP}
	if _, err := egress.Compile(rules); err != nil {
		return nil, err
	}
	ref := egressTarget(q)
	rules, err = a.Store.SetEgressRules(q.Context(), ref, rules)
	if err != nil {
		return nil, fmt.Errorf("set egress rules: %w", err)
	}
	a.lg.Info("egress rules changed", "account", ref.Account, "namespace", ref.Namespace, "script", ref.Name, "token", q.who.TokenID)
	a.EgressChanged(ref.Account, ref.Namespace, ref.Name)
	return showEgress(&rules), nil
}

func (a *API) deleteEgress(q *request) (any, error) {
	ref := egressTarget(q)
	if err := a.Store.DeleteEgressRules(q.Context(), ref); err != nil {
		return nil, fmt.Errorf("delete egress rules: %w", err)
	}
	a.lg.Info("egress rules removed", "account", ref.Account, "namespace", ref.Namespace, "script", ref.Name, "token", q.who.TokenID)
	a.EgressChanged(ref.Account, ref.Namespace, ref.Name)
	return nil, nil
}
