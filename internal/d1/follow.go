package d1

import (
	"context"
	"errors"
	"syscall"

	"atoll.dev/atoll/internal/d1/engine"
	"atoll.dev/atoll/internal/d1/history"
)

// What a database has committed is in its write-ahead log first. The history takes it from there, after each batch of calls
// was answered; a checkpoint, after which the log begins anew, waits until that is on the disk. So a process that is killed
// finds in the log what the history lacks.
//
// The history yields to the data: where it cannot be written, the oldest of it goes, and at last all.

// checkpointFrames is how many frames of the log are moved into the file together, SQLite's own number.
const checkpointFrames = 1000

func (db *database) startHistory() error {
	pages, err := db.page(0)
	if err != nil {
		return err
	}
	err = db.history.Start(db.file, db.path+"-wal", db.last.mark(), uint32(pages))
	db.followed = true
	db.moved = 0
	if err != nil {
		db.restartHistory(err)
	}
	return nil
}

// record has the history take what was committed.
func (db *database) record() {
	err := db.history.Follow()
	for err != nil && noSpace(err) {
		dropped, e := db.history.DropOldest()
		if e != nil || !dropped {
			break
		}
		err = db.history.Follow()
	}
	if err != nil {
		db.restartHistory(err)
	}
	if err := db.st.boundHistory(db.owner); err != nil {
		db.st.lg.Error("make a history smaller", "account", db.Account, "err", err)
	}
}

// restartHistory begins a new history. If even that fails, opening the database finds that the old one does not reach the
// database, and begins it then.
func (db *database) restartHistory(why error) {
	db.st.lg.Warn("the history of a database begins anew", "database", db.ID, "err", why)
	pages, err := db.page(0)
	if err == nil {
		err = db.history.Restart(db.last.mark(), uint32(pages))
	}
	if err != nil {
		db.st.lg.Error("begin a database's history anew", "database", db.ID, "err", err)
	}
}

// settle makes the history durable up to the last commit: then the log may be checkpointed.
func (db *database) settle() {
	db.record()
	if err := db.history.Sync(); err != nil {
		db.restartHistory(err)
	}
}

// follow records, and checkpoints where there is much to move. Whoever has the lead calls it once they have committed.
func (db *database) follow() {
	if !db.followed || !db.committed || db.gone.Load() {
		return
	}
	db.committed = false
	db.record()
	frames := db.history.Frames()
	if frames < db.moved {
		db.moved = 0 // the log has begun anew
	}
	if frames-db.moved < checkpointFrames {
		return
	}
	db.settle()
	db.moved = frames
	if err := db.conn.Exec("PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
		db.st.lg.Error("checkpoint", "database", db.ID, "err", err)
	}
}

func noSpace(err error) bool {
	var no syscall.Errno
	return errors.As(err, &no) && (no == syscall.ENOSPC || no == syscall.EDQUOT)
}

// diskFull tells a full disk from a database that has its full size.
func (db *database) diskFull(err error) bool {
	if noSpace(err) {
		return true
	}
	return errors.Is(err, engine.ErrFull) && !errors.Is(db.explain(err), errSize)
}

// makeSpace frees half of what the account's history takes, since data is worth more, and tells whether to try again. The log
// is emptied only where it has no room itself: what it holds is what deleting needs later.
func (db *database) makeSpace(err error) bool {
	before := db.owner.history.Load()
	if e := db.st.shrinkHistory(db.owner, before/2); e != nil {
		db.st.lg.Error("make a history smaller", "account", db.Account, "err", e)
	}
	if errors.Is(err, engine.ErrFull) {
		return db.checkpoint() == nil
	}
	return db.owner.history.Load() < before
}

// boundHistory drops the oldest of an account's history where there is more than there may be.
func (s *Store) boundHistory(o *owner) error {
	return s.shrinkHistory(o, s.opts.HistoryBytes)
}

func (s *Store) shrinkHistory(o *owner, most int64) error {
	if o.history.Load() <= most {
		return nil
	}
	var logs []*history.Log
	s.mu.RLock()
	for _, db := range o.names {
		logs = append(logs, db.history)
	}
	s.mu.RUnlock()
	for o.history.Load() > most {
		var oldest *history.Log
		var at history.Mark
		for _, l := range logs {
			if l.Bytes() == 0 {
				continue
			}
			if mark, _ := l.Oldest(); oldest == nil || mark < at {
				oldest, at = l, mark
			}
		}
		if oldest == nil {
			return nil
		}
		if dropped, err := oldest.DropOldest(); err != nil || !dropped {
			return err
		}
	}
	return nil
}

// ageHistory forgets what is older than the history is to be, and thins what is not new.
func (s *Store) ageHistory(ctx context.Context) {
	s.mu.RLock()
	list := make([]*database, 0, len(s.dbs))
	for _, db := range s.dbs {
		list = append(list, db)
	}
	s.mu.RUnlock()
	now := s.opts.Now()
	for _, db := range list {
		if ctx.Err() != nil {
			return
		}
		err := db.history.Expire(now.Add(-s.opts.HistoryAge))
		if err == nil {
			_, err = db.history.Thin(now)
		}
		if err != nil && !db.gone.Load() {
			s.lg.Error("thin a database's history", "database", db.ID, "err", err)
		}
	}
}
