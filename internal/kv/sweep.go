package kv

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// sweep removes what expired, what deleted namespaces left and large values that nothing names, a transaction at a time
// so that writers get their turn.
func (s *Store) sweep(ctx context.Context) error {
	var errs []error
	for _, step := range []func(context.Context) (more bool, err error){s.sweepDead, s.sweepExpired} {
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = step(ctx); err != nil {
				errs = append(errs, err)
				break
			}
		}
	}
	return errors.Join(append(errs, s.sweepLarge(ctx))...)
}

const sweepRows = 500

func (s *Store) sweepExpired(ctx context.Context) (more bool, err error) {
	rows, err := s.readers.QueryContext(ctx, `SELECT ns, key FROM entries WHERE expires <= ? LIMIT ?`, s.now(), sweepRows)
	if err != nil {
		return false, fmt.Errorf("find expired keys: %w", err)
	}
	defer rows.Close()
	var keys []cacheKey
	for rows.Next() {
		var k cacheKey
		var name []byte
		if err := rows.Scan(&k.ns, &name); err != nil {
			return false, fmt.Errorf("find expired keys: %w", err)
		}
		k.key = Key(name)
		keys = append(keys, k)
	}
	if err := rows.Err(); err != nil || len(keys) == 0 {
		return false, err
	}
	rows.Close()
	spaces := s.spacesByNum(keys)
	err = s.writer.do(ctx, &write{apply: func(t *tx) error {
		for _, k := range keys {
			if sp := spaces[k.ns]; sp != nil && !t.isGone(sp) {
				if err := t.expire(sp, k, s.now()); err != nil {
					return err
				}
			}
		}
		return nil
	}})
	// Rows of deleted namespaces stay for sweepDead, so a full page of them must not be found again at once.
	return len(keys) == sweepRows && len(spaces) > 0, err
}

// expire deletes a key if it is still expired: it may have been put again since it was found.
func (t *tx) expire(sp *space, k cacheKey, now int64) error {
	var expired bool
	_, err := t.row(`SELECT expires <= ? FROM entries WHERE ns = ? AND key = ? AND expires IS NOT NULL`,
		[]any{now, k.ns, []byte(k.key)}, &expired)
	if err != nil || !expired {
		return err
	}
	return applyDelete(t, sp, k.key, false)
}

func (s *Store) spacesByNum(keys []cacheKey) map[int64]*space {
	found := map[int64]*space{}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, k := range keys {
		if sp := s.byNum[k.ns]; sp != nil {
			found[k.ns] = sp
		}
	}
	return found
}

func (s *Store) sweepDead(ctx context.Context) (more bool, err error) {
	err = s.writer.do(ctx, &write{apply: func(t *tx) error {
		more = false
		var ns int64
		found, err := t.row(`SELECT ns FROM dead LIMIT 1`, nil, &ns)
		if err != nil || !found {
			return err
		}
		more = true
		err = t.exec(`INSERT OR IGNORE INTO garbage SELECT large FROM (SELECT large FROM entries WHERE ns = ?
			ORDER BY key LIMIT ?) WHERE large IS NOT NULL`, ns, sweepRows)
		if err != nil {
			return err
		}
		err = t.exec(`DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE ns = ? ORDER BY key LIMIT ?)`,
			ns, sweepRows)
		if err != nil {
			return err
		}
		return t.exec(`DELETE FROM dead WHERE ns = ? AND NOT EXISTS (SELECT 1 FROM entries WHERE ns = dead.ns)`, ns)
	}})
	return more, err
}

// sweepLarge deletes the large values that no entry names and nobody writes or reads.
func (s *Store) sweepLarge(ctx context.Context) error {
	for after := int64(0); ctx.Err() == nil; {
		var large int64
		err := s.readers.QueryRowContext(ctx, `SELECT large FROM garbage WHERE large > ? ORDER BY large LIMIT 1`, after).
			Scan(&large)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err == nil {
			err = s.deleteLarge(ctx, large)
		}
		if err != nil {
			return fmt.Errorf("delete large values: %w", err)
		}
		after = large
	}
	return nil
}

func (s *Store) deleteLarge(ctx context.Context, large int64) error {
	err := s.writer.do(ctx, &write{apply: func(t *tx) error {
		var there bool // still: an entry may have taken it over since
		_, err := t.row(`SELECT EXISTS (SELECT 1 FROM garbage WHERE large = ?)`, []any{large}, &there)
		if err != nil || !there || !s.condemn(large) {
			return err
		}
		if err := t.exec(`DELETE FROM chunks WHERE large = ?`, large); err != nil {
			return err
		}
		return t.exec(`DELETE FROM garbage WHERE large = ?`, large)
	}})
	s.bury(large)
	return err
}
