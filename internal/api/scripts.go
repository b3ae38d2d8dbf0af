package api

import (
	"fmt"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/wire"
)

// script returns the script of the path with its active version.
func (a *API) script(q *request) (*atoll.Script, error) {
	s, err := a.Store.Script(q.Context(), q.ref)
	if err != nil {
		return nil, fmt.Errorf("find script: %w", err)
	}
	return s, nil
}

// listScripts lists the scripts of the namespace or of the account by name: ?tags=a:yes,b:no selects, ?limit= and ?cursor=
// divide.
func (a *API) listScripts(q *request) (any, error) {
	tags, err := store.ParseTagFilter(q.URL.Query().Get("tags"))
	if err != nil {
		return nil, err
	}
	limit, err := q.number("limit", 1, 1000, 1000)
	if err != nil {
		return nil, err
	}
	filter := store.ScriptFilter{Tags: tags, Cursor: q.URL.Query().Get("cursor"), Limit: limit}
	list, next, err := a.Store.Scripts(q.Context(), q.account, q.namespace.Name, filter)
	if err != nil {
		return nil, fmt.Errorf("list scripts: %w", err)
	}
	out := make([]wire.ListedScript, 0, len(list))
	for _, s := range list {
		shown := wire.ListedScript{Script: showScript(s)}
		if s.Ref.Namespace != "" {
			shown.Nested = &shown.Script
		}
		out = append(out, shown)
	}
	return page{out, &wire.ResultInfo{PerPage: limit, Count: len(out), Cursor: next}}, nil
}

// getNamespaceScript returns one user Worker. (GET of an account script is its content.)
func (a *API) getNamespaceScript(q *request) (any, error) {
	s, err := a.script(q)
	if err != nil {
		return nil, err
	}
	shown := showScript(s)
	return wire.NamespaceScript{CreatedOn: shown.CreatedOn, ModifiedOn: shown.ModifiedOn, DispatchNamespace: string(q.namespace.Name), Script: shown}, nil
}

func (a *API) getBindings(q *request) (any, error) {
	s, err := a.script(q)
	if err != nil {
		return nil, err
	}
	if s.Version == nil {
		return []string{}, nil
	}
	return showBindings(s.Version), nil
}

func (a *API) getSettings(q *request) (any, error) {
	s, err := a.script(q)
	if err != nil {
		return nil, err
	}
	return showSettings(s)
}

func (a *API) getScriptSettings(q *request) (any, error) {
	s, err := a.script(q)
	if err != nil {
		return nil, err
	}
	return showScriptSettings(s), nil
}

// notServed is the answer to what Cloudflare has and this node has not yet, where a bare 404 would mislead.
func notServed(what string) func(*API, *request) (any, error) {
	return func(*API, *request) (any, error) {
		return nil, fault.Newf(fault.Invalid, 10015, "this node does not serve %s yet", what)
	}
}
