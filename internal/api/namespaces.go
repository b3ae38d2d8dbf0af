package api

import (
	"fmt"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/wire"
)

// showNamespace returns a dispatch namespace as the API has it.
func (a *API) showNamespace(ns atoll.Namespace) wire.Namespace {
	return wire.Namespace{
		NamespaceID: ns.ID, NamespaceName: string(ns.Name), ID: ns.ID, Name: string(ns.Name),
		CreatedOn: wire.Time{Time: ns.Created}, CreatedBy: a.author(ns.Account),
		ModifiedOn: wire.Time{Time: ns.Modified}, ModifiedBy: a.author(ns.Account),
		ScriptCount: ns.Scripts, TrustedWorkers: ns.Trusted,
	}
}

func (a *API) listNamespaces(q *request) (any, error) {
	list, err := a.Store.Namespaces(q.Context(), q.account)
	if err != nil {
		return nil, fmt.Errorf("list dispatch namespaces: %w", err)
	}
	out := make([]wire.Namespace, 0, len(list))
	for _, ns := range list {
		out = append(out, a.showNamespace(ns))
	}
	return paged(q, out)
}

func (a *API) postNamespace(q *request) (any, error) {
	var in wire.NamespaceChange
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if in.Name == nil {
		return nil, fault.New(fault.Invalid, 100118, "a dispatch namespace needs a name")
	}
	name, err := atoll.ParseNamespaceName(*in.Name)
	if err != nil {
		return nil, err
	}
	ns, err := a.Store.CreateNamespace(q.Context(), q.account, name, in.TrustedWorkers != nil && *in.TrustedWorkers)
	if err != nil {
		return nil, fmt.Errorf("create dispatch namespace: %w", err)
	}
	a.lg.Info("dispatch namespace created", "account", q.account, "namespace", name, "token", q.who.TokenID)
	a.NamespaceChanged(q.account, name) // dispatch bindings may have been waiting for the name
	return a.showNamespace(ns), nil
}

func (a *API) getNamespace(q *request) (any, error) {
	return a.showNamespace(q.namespace), nil
}

// putNamespace renames a namespace and sets its trust. PUT and PATCH are the same: wrangler's PUT has only a name.
func (a *API) putNamespace(q *request) (any, error) {
	var in wire.NamespaceChange
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	change := store.NamespaceChange{Trusted: in.TrustedWorkers}
	if in.Name != nil && *in.Name != string(q.namespace.Name) {
		name, err := atoll.ParseNamespaceName(*in.Name)
		if err != nil {
			return nil, err
		}
		change.Name = &name
	}
	ns, err := a.Store.UpdateNamespace(q.Context(), q.account, q.namespace.Name, change)
	if err != nil {
		return nil, fmt.Errorf("update dispatch namespace: %w", err)
	}
	a.lg.Info("dispatch namespace changed", "account", q.account, "namespace", q.namespace.Name, "name", ns.Name, "trusted", ns.Trusted, "token", q.who.TokenID)
	a.NamespaceChanged(q.account, q.namespace.Name)
	if ns.Name != q.namespace.Name {
		a.NamespaceChanged(q.account, ns.Name)
	}
	return a.showNamespace(ns), nil
}

// deleteNamespace deletes a namespace with its scripts.
func (a *API) deleteNamespace(q *request) (any, error) {
	if err := a.Store.DeleteNamespace(q.Context(), q.account, q.namespace.Name); err != nil {
		return nil, fmt.Errorf("delete dispatch namespace: %w", err)
	}
	a.lg.Info("dispatch namespace deleted", "account", q.account, "namespace", q.namespace.Name, "scripts", q.namespace.Scripts, "token", q.who.TokenID)
	a.NamespaceChanged(q.account, q.namespace.Name)
	return nil, nil
}
