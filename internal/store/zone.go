package store

import (
	"context"
	"time"

	"atoll.dev/atoll/internal/atoll"
)

// Zone is a domain whose requests the node answers.
type Zone struct {
	ID      string // 32 hex digits
	Account atoll.AccountID
	Name    string
	Created time.Time
}

// Route sends the requests of a zone that match a pattern to a script of the zone's account.
type Route struct {
	ID      string          // 32 hex digits; PutRoute makes it where it is empty
	Zone    string          // the zone's ID
	Account atoll.AccountID // the zone's; ignored by PutRoute
	Pattern string
	Script  atoll.ScriptName // empty: the pattern opts out
}

// RouteSpec is a route of ReplaceScriptRoutes.
type RouteSpec struct {
	Zone    string // the zone's ID
	Pattern string
}

// EnsureZone returns the account's zone of that name and makes it where it is missing.
func (db *DB) EnsureZone(ctx context.Context, acct atoll.AccountID, name string) (Zone, error) {
	return Zone{}, errTodo
}

// Zones lists the account's zones by name; all of the node with an empty account.
func (db *DB) Zones(ctx context.Context, acct atoll.AccountID) ([]Zone, error) { return nil, errTodo }

// Zone returns a zone by its ID; the error of a missing one is NotFound, 7003.
func (db *DB) Zone(ctx context.Context, id string) (Zone, error) { return Zone{}, errTodo }

// ZoneByName returns the account's zone of that name.
func (db *DB) ZoneByName(ctx context.Context, acct atoll.AccountID, name string) (Zone, error) {
	return Zone{}, errTodo
}

// Routes lists the zone's routes by pattern.
func (db *DB) Routes(ctx context.Context, zone string) ([]Route, error) { return nil, errTodo }

// AllRoutes lists every route of the node.
func (db *DB) AllRoutes(ctx context.Context) ([]Route, error) { return nil, errTodo }

// Route returns one route of the zone.
func (db *DB) Route(ctx context.Context, zone, id string) (Route, error) { return Route{}, errTodo }

// PutRoute makes a route, or changes the one with r.ID. A pattern the zone has already is Conflict, 10020; a script that
// does not exist is NotFound, 10007.
func (db *DB) PutRoute(ctx context.Context, r Route) (Route, error) { return Route{}, errTodo }

// DeleteRoute removes a route of the zone.
func (db *DB) DeleteRoute(ctx context.Context, zone, id string) error { return errTodo }

// ScriptRoutes lists the routes that lead to an account script.
func (db *DB) ScriptRoutes(ctx context.Context, acct atoll.AccountID, script atoll.ScriptName) ([]Route, error) {
	return nil, errTodo
}

// ReplaceScriptRoutes makes the given routes the only ones that lead to an account script.
func (db *DB) ReplaceScriptRoutes(ctx context.Context, acct atoll.AccountID, script atoll.ScriptName, specs []RouteSpec) ([]Route, error) {
	return nil, errTodo
}
