package api

import (
	"time"

	"atoll.dev/atoll/internal/d1"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/wire"
)

// databaseAt is the path's database, and the time that the query has; zero where it has none.
func (a *API) databaseAt(q *request) (d d1.Database, t time.Time, err error) {
	if d, err = a.database(q); err != nil {
		return d, t, err
	}
	text := q.URL.Query().Get("timestamp")
	if text == "" {
		return d, t, nil
	}
	if t, err = time.Parse(time.RFC3339, text); err != nil || t.Unix() <= 0 {
		err = fault.Newf(fault.Invalid, 7400, "timestamp %.40q is not a date and time such as 2026-01-31T12:34:56.789Z", text)
	}
	return d, t, err
}

// getBookmark tells what the database's bookmark is, or was: https://developers.cloudflare.com/d1/reference/time-travel/
func (a *API) getBookmark(q *request) (any, error) {
	d, t, err := a.databaseAt(q)
	if err != nil {
		return nil, err
	}
	mark, err := a.D1.BookmarkAt(q.Context(), q.account, d.ID, t)
	return wire.D1Bookmark{Bookmark: mark}, err
}

func (a *API) restoreDatabase(q *request) (any, error) {
	d, t, err := a.databaseAt(q)
	if err != nil {
		return nil, err
	}
	mark := q.URL.Query().Get("bookmark")
	if (mark == "") == t.IsZero() {
		return nil, fault.New(fault.Invalid, 7400, "give either a bookmark or a timestamp to restore to")
	}
	r, err := a.D1.Restore(q.Context(), q.account, d.ID, mark, t)
	if err != nil {
		return nil, err
	}
	return wire.D1Restored{Bookmark: r.Bookmark, Previous: r.Previous, Message: "Database restored to what it was at bookmark " + r.From}, nil
}
