package api

import (
	"time"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/wire"
)

// timestamp reads the query's; the zero time where there is none.
func (q *request) timestamp() (time.Time, error) {
	text := q.URL.Query().Get("timestamp")
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Unix() <= 0 {
		return t, fault.Newf(fault.Invalid, 7400, "timestamp %.40q is not a date and time such as 2026-01-31T12:34:56.789Z", text)
	}
	return t, nil
}

// getBookmark tells what the database's bookmark is, or was: https://developers.cloudflare.com/d1/reference/time-travel/
func (a *API) getBookmark(q *request) (any, error) {
	d, err := a.database(q)
	if err != nil {
		return nil, err
	}
	t, err := q.timestamp()
	if err != nil {
		return nil, err
	}
	mark, err := a.D1.BookmarkAt(q.Context(), q.account, d.ID, t)
	return wire.D1Bookmark{Bookmark: mark}, err
}

func (a *API) restoreDatabase(q *request) (any, error) {
	d, err := a.database(q)
	if err != nil {
		return nil, err
	}
	t, err := q.timestamp()
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
