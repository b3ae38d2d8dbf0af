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
		Limits:  wire.NamespaceLimits{CPUMs: ns.Settings.CPUMs, SubRequests: ns.Settings.SubRequests, MemoryMB: ns.Settings.MemoryMB},
		Jitless: ns.Settings.Jitless,
	}
}

// settingsChange returns what a request changes of a namespace's settings. Zero would mean "not set" further on, which
// clients say with null.
func settingsChange(in wire.NamespaceChange) (func(*atoll.NamespaceSettings), error) {
	limits := in.Limits.Value
	if in.Limits.Sent && limits == nil { // null is each of them null
		limits = &wire.LimitsChange{CPUMs: wire.Some[int64](nil), SubRequests: wire.Some[int64](nil), MemoryMB: wire.Some[int](nil)}
	}
	if limits == nil {
		limits = &wire.LimitsChange{}
	}
	apply := func(s *atoll.NamespaceSettings) {
		change(&s.CPUMs, limits.CPUMs, -1)
		change(&s.SubRequests, limits.SubRequests, -1)
		change(&s.MemoryMB, limits.MemoryMB, -1)
		change(&s.Jitless, in.Jitless, false)
	}
	var alone atoll.NamespaceSettings
	apply(&alone)
	return apply, alone.Validate()
}

// change sets a field to what was sent: null is its zero value, and a sent zero is instead.
func change[T comparable](field *T, sent wire.Optional[T], instead T) {
	var zero T
	switch {
	case !sent.Sent:
	case sent.Value == nil:
		*field = zero
	case *sent.Value == zero:
		*field = instead // out of bounds where zero is
	default:
		*field = *sent.Value
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
	set, err := settingsChange(in)
	if err != nil {
		return nil, err
	}
	var settings atoll.NamespaceSettings
	set(&settings)
	ns, err := a.Store.CreateNamespace(q.Context(), q.account, name, in.TrustedWorkers != nil && *in.TrustedWorkers, settings)
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

// putNamespace renames a namespace, sets its trust and its settings. PUT and PATCH are the same: wrangler's PUT has only a
// name.
func (a *API) putNamespace(q *request) (any, error) {
	var in wire.NamespaceChange
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	set, err := settingsChange(in)
	if err != nil {
		return nil, err
	}
	change := store.NamespaceChange{Trusted: in.TrustedWorkers, Settings: set}
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
	a.lg.Info("dispatch namespace changed", "account", q.account, "namespace", q.namespace.Name, "name", ns.Name, "trusted", ns.Trusted, "settings", ns.Settings, "token", q.who.TokenID)
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
