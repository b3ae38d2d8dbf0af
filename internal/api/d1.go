package api

import (
	"encoding/json"

	"atoll.dev/atoll/internal/d1"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/wire"
)

// database returns the database of the path, which is the account's.
func (a *API) database(q *request) (d1.Database, error) {
	return a.D1.Find(q.account, q.path("database"))
}

func showDatabase(d d1.Database) wire.D1Database {
	return wire.D1Database{UUID: string(d.ID), Name: d.Name, Version: "production", CreatedAt: wire.Time{Time: d.Created}, FileSize: d.Size, HistorySize: d.History,
		LocationHint: d.Location, Jurisdiction: d.Jurisdiction, ReadReplication: wire.D1ReadReplication{Mode: "disabled"}}
}

// checkReplication refuses what one node cannot do.
func checkReplication(r *wire.D1ReadReplication) error {
	if r == nil || r.Mode == "disabled" {
		return nil
	}
	return fault.Newf(fault.Invalid, 7400, "read_replication.mode %.32q is not available: a database on this node has one copy, so it must be \"disabled\"", r.Mode)
}

func (a *API) listDatabases(q *request) (any, error) {
	per, err := q.number("per_page", 1, 10_000, 1000)
	if err != nil {
		return nil, err
	}
	number, err := q.number("page", 1, 1<<30, 1)
	if err != nil {
		return nil, err
	}
	list, total := a.D1.List(q.account, q.URL.Query().Get("name"), number, per)
	out := make([]wire.D1Database, 0, len(list))
	for _, d := range list {
		out = append(out, showDatabase(d))
	}
	pages := (total + per - 1) / per
	return page{out, &wire.ResultInfo{Page: number, PerPage: per, Count: len(out), TotalCount: &total, TotalPages: &pages}}, nil
}

func (a *API) postDatabase(q *request) (any, error) {
	var in wire.D1Create
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if err := checkReplication(in.ReadReplication); err != nil {
		return nil, err
	}
	d, err := a.D1.Create(q.Context(), d1.Database{Account: q.account, Name: in.Name, Location: in.LocationHint, Jurisdiction: in.Jurisdiction})
	if err != nil {
		return nil, err
	}
	out := showDatabase(d)
	out.NumTables = new(int64)
	return out, nil
}

func (a *API) getDatabase(q *request) (any, error) {
	d, err := a.database(q)
	if err != nil {
		return nil, err
	}
	out := showDatabase(d)
	if q.URL.Query().Get("fields") != "" { // wrangler, looking for the id of a name
		return out, nil
	}
	n, err := a.D1.Tables(q.Context(), q.account, d.ID)
	if err != nil {
		return nil, err
	}
	out.NumTables = &n
	return out, nil
}

func (a *API) putDatabase(q *request) (any, error) {
	d, err := a.database(q)
	if err != nil {
		return nil, err
	}
	var in wire.D1Create
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if in.Name != "" && in.Name != d.Name {
		return nil, fault.New(fault.Invalid, 7400, "a database keeps its name")
	}
	if err := checkReplication(in.ReadReplication); err != nil {
		return nil, err
	}
	return showDatabase(d), nil
}

func (a *API) deleteDatabase(q *request) (any, error) {
	d, err := a.database(q)
	if err == nil {
		err = a.D1.Delete(q.Context(), q.account, d.ID)
	}
	return nil, err
}

func (a *API) queryDatabase(q *request) (any, error)    { return a.query(q, d1.Objects) }
func (a *API) queryDatabaseRaw(q *request) (any, error) { return a.query(q, d1.Columns) }

// query answers an array with one result for each statement.
func (a *API) query(q *request, f d1.Format) (any, error) {
	d, err := a.database(q)
	if err != nil {
		return nil, err
	}
	queries, done, err := a.D1.ReadQueries(q.account, q.Body, q.ContentLength, true)
	defer done()
	if err != nil {
		return nil, err
	}
	answer, err := a.D1.Query(q.Context(), q.account, d.ID, queries, f)
	if err != nil {
		return nil, err
	}
	defer answer.Release() // it is rendered at once, after this; what it takes until then is little
	return json.RawMessage(answer.Body), nil
}
