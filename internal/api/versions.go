package api

import (
	"fmt"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/wire"
)

// listVersions lists a script's versions, newest first, a page of ten unless per_page says more. Every version kept can be
// deployed, so wrangler's ?deployable=true selects all.
func (a *API) listVersions(q *request) (any, error) {
	s, err := a.script(q)
	if err != nil {
		return nil, err
	}
	per, err := q.number("per_page", 1, 100, 10)
	if err != nil {
		return nil, err
	}
	number, err := q.number("page", 1, 1<<20, 1)
	if err != nil {
		return nil, err
	}
	list, total, err := a.Store.Versions(q.Context(), q.ref, per, (number-1)*per)
	if err != nil {
		return nil, fmt.Errorf("list versions: %w", err)
	}
	out := wire.Versions{Items: make([]wire.Version, 0, len(list))}
	for _, v := range list {
		out.Items = append(out.Items, a.showVersion(s, v))
	}
	pages := (total + per - 1) / per
	return page{out, &wire.ResultInfo{Page: number, PerPage: per, Count: len(list), TotalCount: &total, TotalPages: &pages}}, nil
}

func (a *API) getVersion(q *request) (any, error) {
	s, err := a.script(q)
	if err != nil {
		return nil, err
	}
	id, err := atoll.ParseVersionID(q.path("version"))
	if err != nil {
		return nil, err
	}
	v, err := a.Store.Version(q.Context(), q.ref, id)
	if err != nil {
		return nil, fmt.Errorf("find version: %w", err)
	}
	return a.showVersion(s, v), nil
}
