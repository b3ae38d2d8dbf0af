package d1

import (
	"context"
	"errors"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/d1/engine"
	"atoll.dev/atoll/internal/d1/history"
	"atoll.dev/atoll/internal/fault"
)

// Time travel: a database becomes again what it was after one of its commits,
// https://developers.cloudflare.com/d1/reference/time-travel/. That is a commit like any other, so that it is whole or
// nothing, and can itself be undone.

// BookmarkAt is the database's bookmark now, or, with a time that is not zero, the last one that is kept of those until then.
func (s *Store) BookmarkAt(ctx context.Context, acct atoll.AccountID, id ID, t time.Time) (string, error) {
	db, err := s.database(acct, id)
	if err != nil {
		return "", err
	}
	if err := db.mayTravel(t); err != nil {
		return "", err
	}
	var mark history.Mark
	err = db.exclusively(ctx, func() error {
		if mark = db.last.mark(); t.IsZero() {
			return nil
		}
		db.record()
		mark, err = db.history.At(t)
		return db.travelFault(err)
	})
	return bookmarkOf(mark).text(id), err
}

func (db *database) mayTravel(t time.Time) error {
	now := db.st.opts.Now()
	switch age := db.st.opts.HistoryAge; {
	case t.IsZero():
	case t.After(now):
		return fault.New(fault.Invalid, codeMalformed, "timestamp must be in the past")
	case t.Before(now.Add(-age)):
		return fault.Newf(fault.Invalid, codeMalformed, "timestamp must be within the last %d days", int(age.Hours()/24))
	case t.Before(db.Created):
		return fault.Newf(fault.Invalid, codeMalformed, "The database was made after that, at %s", db.Created.UTC().Format(time.RFC3339))
	}
	return nil
}

// travelFault makes of an error of the history what its caller is told.
func (db *database) travelFault(err error) error {
	switch {
	case errors.Is(err, history.ErrNotKept):
		oldest, _ := db.history.Oldest()
		return fault.Newf(fault.Invalid, codeMalformed, "The history of the database does not have that bookmark, or not any more. "+
			"The oldest is %s. Of what is more than a day old, it has the last one of each minute.", bookmarkOf(oldest).text(db.ID))
	case errors.Is(err, history.ErrDamaged):
		db.st.lg.Error("a database's history is damaged", "database", db.ID, "err", err)
		return fault.New(fault.Internal, codeQuery, "The history of the database is damaged there. Nothing was changed.")
	case err != nil && noSpace(err):
		return errDisk
	}
	return err
}

// Restored is what a restore has done.
type Restored struct {
	Bookmark string // of the restored database
	Previous string // of what it was just before, to undo it
	From     string // what it was restored to
}

// Restore makes a database what it was at a bookmark, or at a time, where the bookmark is empty. Calls that come meanwhile
// wait: not for the history to be read, but for what has changed since to be written.
func (s *Store) Restore(ctx context.Context, acct atoll.AccountID, id ID, mark string, t time.Time) (r Restored, err error) {
	db, err := s.database(acct, id)
	if err != nil {
		return r, err
	}
	if mark == "" {
		if mark, err = s.BookmarkAt(ctx, acct, id, t); err != nil {
			return r, err
		}
	}
	to, err := parseBookmark(id, mark)
	if err != nil {
		return r, err
	}
	if err := db.exclusively(ctx, func() error { return nil }); err != nil { // so that its history is known
		return r, err
	}
	w := db.history.Rewind(to.mark())
	defer w.Close()
	if err := w.Advance(ctx); err != nil {
		return r, db.travelFault(err)
	}
	err = db.exclusively(ctx, func() error {
		db.record()
		if err := w.Advance(ctx); err != nil {
			return db.travelFault(err)
		}
		r = Restored{Previous: db.last.text(id), From: to.text(id)}
		err := db.restore(ctx, w)
		r.Bookmark = db.last.text(id)
		return err
	})
	return r, err
}

// restore writes the pages back, in one transaction. The lead is held.
func (db *database) restore(ctx context.Context, w *history.Rewind) error {
	db.stmts.clear()
	err := db.rewrite(ctx, w)
	if err != nil && db.conn.InTransaction() {
		err = errors.Join(err, db.conn.Exec("ROLLBACK"))
	}
	if err != nil {
		err = db.travelFault(db.explain(err))
	}
	db.record()
	// The connection knows the schema and the size that there were.
	if e := errors.Join(db.closeFiles(), db.openFiles()); e != nil {
		db.st.lg.Error("open a database that was restored; the next call will", "database", db.ID, "err", e)
	}
	db.meter.Settle()
	return err
}

func (db *database) rewrite(ctx context.Context, w *history.Rewind) (err error) {
	if err := db.conn.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	now, err := db.page(0)
	if err != nil {
		return err
	}
	pages, err := db.conn.Pages()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pages.Close()) }()
	next := db.last.next(db.st.opts.Now())
	stamped := false
	b, first := make([]byte, engine.PageSize), make([]byte, engine.PageSize)
	if err := pages.Read(1, first); err != nil {
		return err
	}
	err = w.Each(func(p *history.Page) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if !p.Whole {
			if err := pages.Read(p.Number, b); err != nil {
				return err
			}
		}
		if err := p.Apply(b); err != nil {
			return err
		}
		if p.Number == 1 {
			stamped = true
			next.write(b)
			copy(b[40:44], first[40:44]) // the schema's cookie: for this connection it is the same to the end
		}
		return pages.Write(p.Number, b)
	})
	if err != nil {
		return err
	}
	if !stamped { // nothing has changed since
		return db.store(now, next, next.stamp()+"COMMIT")
	}
	if int64(w.Pages()) < now {
		if err := pages.Truncate(w.Pages()); err != nil {
			return err
		}
	}
	return db.store(int64(w.Pages()), next, "COMMIT")
}
