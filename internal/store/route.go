package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// Route sends the requests of a zone that match a pattern to a script of the zone's account, or to a router.
type Route struct {
	ID      string          // 32 hex digits; PutRoute makes it where it is empty
	Zone    string          // the zone's ID
	Account atoll.AccountID // the zone's; PutRoute ignores it
	Pattern string
	Script  atoll.ScriptName // empty where there is a router; without one, too, the pattern opts out
	Router  *atoll.Router    // nil: none
}

// RouteSpec is a route of ReplaceScriptRoutes.
type RouteSpec struct {
	Zone    string // the zone's ID
	Pattern string
}

const routeColumns = `SELECT r.id, r.zone, z.account, r.pattern, coalesce(s.name, ''), coalesce(n.name, ''), r.router
	FROM routes r CROSS JOIN zones z ON z.id = r.zone LEFT JOIN scripts s ON s.key = r.script
	LEFT JOIN namespaces n ON n.key = r.namespace `

func scanRoute(row sqlite.Row) (r Route, err error) {
	var namespace atoll.NamespaceName
	var router []byte
	if err := row.Scan(&r.ID, &r.Zone, &r.Account, &r.Pattern, &r.Script, &namespace, &router); err != nil || router == nil {
		return r, err
	}
	r.Router = &atoll.Router{}
	err = json.Unmarshal(router, r.Router)
	r.Router.Namespace = namespace // under the name that it has now
	return r, err
}

// Routes lists the zone's routes by pattern.
func (db *DB) Routes(ctx context.Context, zone string) (list []Route, err error) {
	_, err = getZone(ctx, db.reads, zone)
	if err == nil {
		list, err = sqlite.All(ctx, db.reads, scanRoute, routeColumns+"WHERE r.zone = ? ORDER BY r.pattern", zone)
	}
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return list, nil
}

// AllRoutes lists every route of the node.
func (db *DB) AllRoutes(ctx context.Context) ([]Route, error) {
	list, err := sqlite.All(ctx, db.reads, scanRoute, routeColumns+"ORDER BY r.zone, r.pattern")
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return list, nil
}

// Route returns one route of the zone.
func (db *DB) Route(ctx context.Context, zone, id string) (Route, error) {
	r, err := getRoute(ctx, db.reads, zone, id)
	if err != nil {
		return Route{}, fmt.Errorf("get route %s: %w", id, err)
	}
	return r, nil
}

func getRoute(ctx context.Context, s sqlite.Session, zone, id string) (Route, error) {
	if _, err := getZone(ctx, s, zone); err != nil {
		return Route{}, err
	}
	r, err := sqlite.One(ctx, s, scanRoute, routeColumns+"WHERE r.id = ? AND r.zone = ?", id, zone)
	if sqlite.Missing(err) {
		err = fault.New(fault.NotFound, 10009, "There is no route with this ID in the zone.")
	}
	return r, err
}

// PutRoute makes a route, or changes the one with r.ID. A pattern the zone has already is Conflict, 10020; a script that
// does not exist is NotFound, 10007; a router's dispatch namespace that does not is NotFound, 100119.
func (db *DB) PutRoute(ctx context.Context, r Route) (Route, error) {
	err := db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		z, err := getZone(ctx, tx, r.Zone)
		if err != nil {
			return err
		}
		r.Account = z.Account
		if r.ID != "" {
			if _, err := getRoute(ctx, tx, r.Zone, r.ID); err != nil {
				return err
			}
		} else {
			r.ID = atoll.NewID()
		}
		to, err := routeTarget(ctx, tx, r)
		if err != nil {
			return err
		}
		return putRoute(ctx, tx, r, to)
	})
	if err != nil {
		return Route{}, fmt.Errorf("put route %s: %w", r.Pattern, err)
	}
	return r, nil
}

// target is where a route leads, as its columns have it.
type target struct {
	script, namespace sql.NullInt64
	router            any // the JSON of an atoll.Router
}

func routeTarget(ctx context.Context, tx sqlite.Session, r Route) (to target, err error) {
	switch {
	case r.Router != nil:
		key, err := namespaceKey(ctx, tx, r.Account, r.Router.Namespace)
		if err == nil && r.Router.Namespace == "" {
			err = noNamespace()
		}
		if err != nil {
			return to, err
		}
		text, err := json.Marshal(r.Router)
		to.namespace, to.router = sql.NullInt64{Int64: key, Valid: true}, string(text)
		return to, err
	case r.Script != "":
		row, err := findScript(ctx, tx, atoll.ScriptRef{Account: r.Account, Name: r.Script})
		if err == nil {
			to.script = sql.NullInt64{Int64: row.key, Valid: true}
		}
		return to, err
	}
	return to, nil
}

func putRoute(ctx context.Context, tx sqlite.Session, r Route, to target) error {
	other, err := sqlite.One(ctx, tx, sqlite.Value[string], "SELECT id FROM routes WHERE zone = ? AND pattern = ?", r.Zone, r.Pattern)
	if err == nil && other != r.ID {
		return fault.New(fault.Conflict, 10020, "A route with the same pattern already exists.")
	}
	if err != nil && !sqlite.Missing(err) {
		return err
	}
	_, err = sqlite.Run(ctx, tx, `INSERT INTO routes (id, zone, pattern, script, namespace, router) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
		ON CONFLICT (id) DO UPDATE SET pattern = ?3, script = ?4, namespace = ?5, router = ?6`,
		r.ID, r.Zone, r.Pattern, to.script, to.namespace, to.router)
	return err
}

// DeleteRoute removes a route of the zone.
func (db *DB) DeleteRoute(ctx context.Context, zone, id string) error {
	err := db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		if _, err := getRoute(ctx, tx, zone, id); err != nil {
			return err
		}
		_, err := sqlite.Run(ctx, tx, "DELETE FROM routes WHERE id = ?", id)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete route %s: %w", id, err)
	}
	return nil
}

// ScriptRoutes lists the routes that lead to an account script.
func (db *DB) ScriptRoutes(ctx context.Context, acct atoll.AccountID, script atoll.ScriptName) (list []Route, err error) {
	row, err := findScript(ctx, db.reads, atoll.ScriptRef{Account: acct, Name: script})
	if err == nil {
		list, err = scriptRoutes(ctx, db.reads, row.key)
	}
	if err != nil {
		return nil, fmt.Errorf("list routes of %s: %w", script, err)
	}
	return list, nil
}

func scriptRoutes(ctx context.Context, s sqlite.Session, key int64) ([]Route, error) {
	return sqlite.All(ctx, s, scanRoute, routeColumns+"WHERE r.script = ? ORDER BY r.zone, r.pattern", key)
}

// ReplaceScriptRoutes makes the given routes the only ones that lead to an account script. Routes that stay keep their
// IDs; a pattern that leads elsewhere already is Conflict, 10020.
func (db *DB) ReplaceScriptRoutes(ctx context.Context, acct atoll.AccountID, script atoll.ScriptName, specs []RouteSpec) (list []Route, err error) {
	err = db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		row, err := findScript(ctx, tx, atoll.ScriptRef{Account: acct, Name: script})
		if err != nil {
			return err
		}
		old, err := scriptRoutes(ctx, tx, row.key)
		if err != nil {
			return err
		}
		for _, r := range old {
			if slices.Contains(specs, RouteSpec{r.Zone, r.Pattern}) {
				continue
			}
			if _, err := sqlite.Run(ctx, tx, "DELETE FROM routes WHERE id = ?", r.ID); err != nil {
				return err
			}
		}
		for i, spec := range specs {
			stays := func(r Route) bool { return r.Zone == spec.Zone && r.Pattern == spec.Pattern }
			if slices.ContainsFunc(old, stays) || slices.Contains(specs[:i], spec) {
				continue
			}
			if err := addRoute(ctx, tx, acct, spec, row.key); err != nil {
				return err
			}
		}
		list, err = scriptRoutes(ctx, tx, row.key)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("set routes of %s: %w", script, err)
	}
	return list, nil
}

func addRoute(ctx context.Context, tx sqlite.Session, acct atoll.AccountID, spec RouteSpec, script int64) error {
	z, err := getZone(ctx, tx, spec.Zone)
	if err != nil {
		return err
	}
	if z.Account != acct {
		return noZone(spec.Zone)
	}
	r := Route{ID: atoll.NewID(), Zone: z.ID, Pattern: spec.Pattern}
	return putRoute(ctx, tx, r, target{script: sql.NullInt64{Int64: script, Valid: true}})
}
