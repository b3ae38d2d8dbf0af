package api

import (
	"fmt"
	"reflect"
	"strings"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/route"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/wire"
)

// showRoute returns a Worker route as the API has it.
func showRoute(r store.Route) wire.Route {
	return wire.Route{ID: r.ID, Pattern: r.Pattern, Script: string(r.Script), Router: showRouter(r.Router), ZoneID: r.Zone}
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

// postRoute makes a route. Making one that is there already, leading to the same, succeeds: clients repeat a request whose
// answer they lost.
func (a *API) postRoute(q *request) (any, error) {
	r, err := a.routeIn(q, "")
	if err != nil {
		return nil, err
	}
	list, err := a.Store.Routes(q.Context(), q.zone.ID)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	for _, old := range list {
		if old.Pattern == r.Pattern && old.Script == r.Script && reflect.DeepEqual(old.Router, r.Router) {
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
	r, err := a.routeIn(q, old.ID)
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

// routeIn reads a route of the path's zone from the body.
func (a *API) routeIn(q *request, id string) (store.Route, error) {
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
	if in.Router == nil {
		return r, nil
	}
	if in.Script != "" {
		return store.Route{}, badRouter("a route leads to a script or to a router, not to both")
	}
	var err error
	r.Router, err = a.routerIn(q, in.Pattern, *in.Router)
	return r, err
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

// checkPattern checks that a pattern is one, and that its host lies in the zone, or is "*" alone, which stands for every
// custom hostname of the zone.
func checkPattern(pattern, zone string) error {
	p, err := route.ParsePattern(pattern)
	if err != nil {
		return err
	}
	if name := bareHost(p); name != "" && name != zone && !strings.HasSuffix(name, "."+zone) {
		return fault.Newf(fault.Invalid, 10022, "invalid route pattern %q: its host is not in zone %s", pattern, zone)
	}
	return nil
}

// bareHost returns a pattern's host without its wildcard, empty for "*".
func bareHost(p route.Pattern) string {
	return strings.TrimPrefix(strings.TrimPrefix(p.Host(), "*"), ".")
}
