package d1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/d1/engine"
	"atoll.dev/atoll/internal/fault"
)

// Import runs the SQL of a file that was received, in one transaction: where it fails, nothing has changed. The database
// answers nobody else meanwhile.
func (s *Store) Import(ctx context.Context, acct atoll.AccountID, id ID, token, etag string) (Progress, error) {
	db, err := s.database(acct, id)
	if err != nil {
		return Progress{}, err
	}
	t := s.transfer(acct, id, func(t *transfer) bool {
		return t.token == token && !t.from && t.sent && t.etag == strings.ToLower(etag)
	})
	if t == nil {
		return Progress{}, errTransfer
	}
	if err := db.exclusively(ctx, func() error { return nil }); err != nil { // so that its bookmark is known
		return Progress{}, err
	}
	j := s.start(db, t, func(ctx context.Context, j *job) error {
		f, err := os.Open(s.transferPath(token))
		if err != nil {
			return err
		}
		defer f.Close()
		return db.exclusively(ctx, func() error { return db.explain(db.load(ctx, f, j)) })
	})
	return s.wait(ctx, id, j), nil
}

// load runs the statements of a file.
func (db *database) load(ctx context.Context, r io.Reader, j *job) (err error) {
	start := time.Now()
	total := db.conn.TotalChanges()
	if err := db.conn.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		db.conn.Unguard()
		db.rest()
		db.stmts.clear()
		if err != nil && db.conn.InTransaction() {
			err = errors.Join(err, db.conn.Exec("ROLLBACK"))
		}
		db.pragmas = false
		err = errors.Join(err, db.conn.ResetPragmas(), db.measure())
		db.meter.Settle()
	}()
	j.sum = Imported{}
	for sql, err := range statementsOf(r) {
		if err != nil {
			return err
		}
		rows, err := db.runStatement(ctx, sql, nil, nil)
		if err != nil {
			return fmt.Errorf("statement %d: %w", j.sum.Queries+1, err)
		}
		j.sum.Queries++
		j.sum.Read += rows.Read
		j.sum.Written += rows.Written
		if err := db.mayGrow(); err != nil {
			return err
		}
	}
	db.conn.Unguard()
	if j.sum.Queries == 0 {
		return errNothing
	}
	if db.conn.DeferredViolations() {
		return engine.ErrForeignKey
	}
	if err := db.commit(true); err != nil {
		return err
	}
	j.sum.Bookmark, j.sum.Duration = db.last.text(db.ID), time.Since(start)
	j.sum.Changes, j.sum.Size = db.conn.TotalChanges()-total, db.live
	return nil
}

// mayGrow refuses what has become more than the account may store before it is committed.
func (db *database) mayGrow() error {
	if most := db.st.opts.AccountBytes; most > 0 && db.live > db.size.Load() && db.owner.bytes.Load()-db.size.Load()+db.live > most {
		return errAccount
	}
	return nil
}

// statementsOf reads the statements of a file, each of which fits into memory.
func statementsOf(r io.Reader) func(yield func(string, error) bool) {
	return func(yield func(string, error) bool) {
		const chunk = 1 << 20
		buf := make([]byte, 0, chunk+engine.MaxSQL)
		for {
			n, err := io.ReadFull(r, buf[len(buf):cap(buf)])
			buf = buf[:len(buf)+n]
			last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
			if err != nil && !last {
				yield("", err)
				return
			}
			text := string(buf)
			for text != "" {
				first, rest, ended := engine.SplitEnded(text)
				if !ended && !last {
					break
				}
				text = rest
				if !engine.Blank(first) && !yield(first, nil) {
					return
				}
			}
			if last {
				return
			}
			if len(text) > engine.MaxSQL {
				yield("", fault.New(fault.Invalid, codeQuery, "statement too long: SQLITE_TOOBIG"))
				return
			}
			buf = append(buf[:0], text...)
		}
	}
}
