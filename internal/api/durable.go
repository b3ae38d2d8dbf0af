package api

import (
	"fmt"

	"atoll.dev/atoll/internal/wire"
)

// listDurableObjectNamespaces lists the classes of the account's scripts and of its dispatch namespaces'.
func (a *API) listDurableObjectNamespaces(q *request) (any, error) {
	size, err := q.number("per_page", 1, 1000, 20)
	if err != nil {
		return nil, err
	}
	at, err := q.number("page", 1, 1<<30, 1)
	if err != nil {
		return nil, err
	}
	list, total, err := a.Store.Classes(q.Context(), q.account, size, (at-1)*size)
	if err != nil {
		return nil, err
	}
	out := make([]wire.DurableObjectNamespace, 0, len(list))
	for _, c := range list {
		out = append(out, wire.DurableObjectNamespace{ID: c.ID, Name: string(c.Script.Name) + "_" + c.Name, Script: string(c.Script.Name),
			Class: c.Name, UseSQLite: c.SQLite, DispatchNamespace: string(c.Script.Namespace)})
	}
	pages := (total + size - 1) / size
	return page{out, &wire.ResultInfo{Page: at, PerPage: size, Count: len(out), TotalCount: &total, TotalPages: &pages}}, nil
}

// listDurableObjects lists the objects of a class that have stored something. An object that has not leaves no trace.
func (a *API) listDurableObjects(q *request) (any, error) {
	class, err := a.Store.Class(q.Context(), q.account, q.path("class"))
	if err != nil {
		return nil, err
	}
	limit, err := q.number("limit", 1, 10_000, 1000)
	if err != nil {
		return nil, err
	}
	ids, more, err := a.Objects.List(class.ID, q.URL.Query().Get("cursor"), limit)
	if err != nil {
		return nil, fmt.Errorf("list objects: %w", err)
	}
	out := make([]wire.DurableObject, 0, len(ids))
	for _, id := range ids {
		out = append(out, wire.DurableObject{ID: id, HasStoredData: true})
	}
	info := &wire.ResultInfo{Count: len(out)}
	if more {
		info.Cursor = ids[len(ids)-1]
		info.Cursors = &wire.Cursors{After: info.Cursor} // where the SDKs since their fifth version look
	}
	return page{out, info}, nil
}
