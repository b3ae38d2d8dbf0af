package api

import (
	"fmt"
	"strings"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/wire"
)

// showRoute returns a Worker route as the API has it.
func showRoute(r store.Route) wire.Route {
	return wire.Route{ID: r.ID, Pattern: r.Pattern, Script: string(r.Script), ZoneID: r.Zone}
}

func showRoutes(list []store.Route) []wire.Route {
	out := make([]wire.Route, 0, len(list))
	for _, r := range list {
		out = append(out, showRoute(r))
	}
	return out
}

func (a *API) listRoutes(q *request) (any, error) {
	list, err := a.Store.Routes(q.Context(), q.zone.ID)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return paged(q, showRoutes(list))
}

func (a *API) getRoute(q *request) (any, error) {
	r, err := a.Store.Route(q.Context(), q.zone.ID, q.path("route"))
	if err != nil {
		return nil, fmt.Errorf("find route: %w", err)
	}
	return showRoute(r), nil
}

// postRoute makes a route. Making one that is there already, with the same script, succeeds: clients repeat a request whose
// answer they lost.
func (a *API) postRoute(q *request) (any, error) {
	r, err := q.route("")
	if err != nil {
		return nil, err
	}
	list, err := a.Store.Routes(q.Context(), q.zone.ID)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	for _, old := range list {
		if old.Pattern == r.Pattern && old.Script == r.Script {
			return showRoute(old), nil
		}
	}
	return a.storeRoute(q, r)
}

func (a *API) putRoute(q *request) (any, error) {
	old, err := a.Store.Route(q.Context(), q.zone.ID, q.path("route"))
	if err != nil {
		return nil, fmt.Errorf("find route: %w", err)
	}
	r, err := q.route(old.ID)
	if err != nil {
		return nil, err
	}
	return a.storeRoute(q, r)
}

func (a *API) storeRoute(q *request, r store.Route) (any, error) {
	r, err := a.Store.PutRoute(q.Context(), r)
	if err != nil {
		return nil, fmt.Errorf("store route: %w", err)
	}
	a.RoutesChanged()
	return showRoute(r), nil
}

func (a *API) deleteRoute(q *request) (any, error) {
	if err := a.Store.DeleteRoute(q.Context(), q.zone.ID, q.path("route")); err != nil {
		return nil, fmt.Errorf("delete route: %w", err)
	}
	a.RoutesChanged()
	return map[string]string{"id": q.path("route")}, nil
}

// route reads a route of the path's zone from the body.
func (q *request) route(id string) (store.Route, error) {
	var in wire.Route
	if err := q.decode(&in); err != nil {
		return store.Route{}, err
	}
	if err := checkPattern(in.Pattern, q.zone.Name); err != nil {
		return store.Route{}, err
	}
	r := store.Route{ID: id, Zone: q.zone.ID, Account: q.zone.Account, Pattern: in.Pattern}
	if in.Script != "" {
		name, err := atoll.ParseScriptName(in.Script)
		if err != nil {
			return store.Route{}, err
		}
		r.Script = name
	}
	return r, nil
}

// getScriptRoutes lists the routes that lead to an account script.
func (a *API) getScriptRoutes(q *request) (any, error) {
	if _, err := a.Store.Script(q.Context(), q.ref); err != nil {
		return nil, fmt.Errorf("find script: %w", err)
	}
	list, err := a.Store.ScriptRoutes(q.Context(), q.account, q.ref.Name)
	if err != nil {
		return nil, fmt.Errorf("list routes of script: %w", err)
	}
	return paged(q, showRoutes(list))
}

// putScriptRoutes makes the given routes the only ones that lead to an account script.
func (a *API) putScriptRoutes(q *request) (any, error) {
	var in []wire.Route
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if len(in) > maxRoutes {
		return nil, fault.Newf(fault.Invalid, 10022, "%d routes; a script may have %d", len(in), maxRoutes)
	}
	specs := make([]store.RouteSpec, 0, len(in))
	for _, r := range in {
		zone, err := a.zoneFor(q, q.account, r)
		if err != nil {
			return nil, err
		}
		if err := checkPattern(r.Pattern, zone.Name); err != nil {
			return nil, err
		}
		specs = append(specs, store.RouteSpec{Zone: zone.ID, Pattern: r.Pattern})
	}
	list, err := a.Store.ReplaceScriptRoutes(q.Context(), q.account, q.ref.Name, specs)
	if err != nil {
		return nil, fmt.Errorf("replace routes of script: %w", err)
	}
	a.RoutesChanged()
	return showRoutes(list), nil
}

// maxRoutes is how many routes a zone has at Cloudflare.
const maxRoutes = 1000

// checkPattern checks a route's pattern as Cloudflare documents it (Workers, Configuration, Routes): a host that may begin
// with a wildcard, and a path that may end with one, without a query. The host lies in the zone, or is "*" alone, which
// stands for every custom hostname of the zone.
func checkPattern(pattern, zone string) error {
	refuse := func(why string) error {
		return fault.Newf(fault.Invalid, 10022, "route pattern %q %s", pattern, why)
	}
	host, path, _ := strings.Cut(pattern, "/")
	name := strings.TrimPrefix(strings.TrimPrefix(host, "*"), ".")
	switch {
	case pattern == "" || len(pattern) > 2048:
		return refuse("must have 1 to 2048 bytes")
	case strings.Contains(pattern, "://"):
		return refuse("must have no scheme: routes match http and https")
	case strings.ContainsAny(pattern, "?#"):
		return refuse("must have no query")
	case strings.Contains(strings.TrimSuffix(path, "*"), "*"):
		return refuse("may have a wildcard at the end of its path only")
	case host == "*":
		return nil
	case !isHostname(name):
		return refuse("must begin with a lower-case host name, with a wildcard at most at its beginning")
	case name != zone && !strings.HasSuffix(name, "."+zone):
		return refuse("is not in zone " + zone)
	}
	return nil
}
