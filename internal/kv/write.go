package kv

import (
	"context"
	"database/sql"
	"fmt"
	"io"

	"atoll.dev/atoll/internal/fault"
)

// Put stores a value, which it reads to the end.
func (s *Store) Put(ctx context.Context, id NamespaceID, key Key, body io.Reader, o PutOptions) error {
	sp, err := s.space(id)
	if err != nil {
		return err
	}
	if o.Length > MaxValue {
		return valueTooLarge(o.Length)
	}
	data, err := readHead(body, o.Length)
	if err != nil {
		return fmt.Errorf("read value: %w", err)
	}
	e := &entry{present: true, expires: o.Expires, metadata: o.Metadata, size: int64(len(data)), data: data}
	if len(data) == chunkSize {
		p, size, err := s.stage(ctx, sp, data, body)
		if err != nil {
			return fmt.Errorf("put large kv value: %w", err)
		}
		defer p.release()
		e.size, e.large, e.data = size, p.large, nil
	}
	return s.writer.do(ctx, &write{space: sp, bytes: len(e.data), apply: func(t *tx) error {
		return s.applyPut(t, sp, item{key, e}, true)
	}})
}

// readHead reads a value up to chunkSize bytes; fewer mean that it is whole.
func readHead(body io.Reader, length int64) ([]byte, error) {
	if length <= 0 {
		data, err := io.ReadAll(io.LimitReader(body, chunkSize))
		if len(data) == chunkSize {
			data = data[:chunkSize:chunkSize]
		}
		return data, err
	}
	data := make([]byte, min(length, chunkSize))
	_, err := io.ReadFull(body, data)
	return data, err
}

// item is a key and what it shall hold.
type item struct {
	key   Key
	entry *entry
}

func (s *Store) applyPut(t *tx, sp *space, it item, fresh bool) error {
	if t.isGone(sp) {
		return errNamespace()
	}
	e := it.entry
	was, old, err := t.old(sp, it.key)
	if err != nil {
		return err
	}
	bytes := footprint(it.key, e)
	if limit := s.opts.AccountBytes; limit > 0 && bytes > was && sp.owner.Load()+t.owners[sp.account]+bytes-was > limit {
		return fault.Newf(fault.Full, codeFull, "the account's KV storage limit of %d bytes is reached", limit)
	}
	if err := t.replace(old, e.large); err != nil {
		return err
	}
	err = t.exec(`INSERT INTO entries (ns, key, expires, metadata, size, large, value) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (ns, key) DO UPDATE SET expires = excluded.expires, metadata = excluded.metadata,
		size = excluded.size, large = excluded.large, value = excluded.value`,
		sp.num, []byte(it.key), orNull(e.expires), sql.NullString{String: e.metadata, Valid: e.metadata != ""}, e.size,
		orNull(e.large), e.data)
	if err != nil {
		return err
	}
	added := int64(0)
	if was == 0 {
		added = 1
	}
	t.count(sp, added, bytes-was)
	t.changes = append(t.changes, change{cacheKey{sp.num, it.key}, e, fresh})
	return nil
}

func orNull(n int64) sql.NullInt64 { return sql.NullInt64{Int64: n, Valid: n != 0} }

// footprint is what an entry counts for in its account's usage; never 0.
func footprint(key Key, e *entry) int64 {
	return int64(len(key)+len(e.metadata)) + e.size
}

// old returns the footprint of what a key holds, 0 where it holds nothing, and the number of its large value.
func (t *tx) old(sp *space, key Key) (bytes, large int64, err error) {
	var l sql.NullInt64
	_, err = t.row(`SELECT length(key) + octet_length(coalesce(metadata, '')) + size, large FROM entries
		WHERE ns = ? AND key = ?`, []any{sp.num, []byte(key)}, &bytes, &l)
	return bytes, l.Int64, err
}

// replace lets an entry that names the large value old name new instead; 0 is none.
func (t *tx) replace(old, new int64) error {
	if old != 0 && old != new {
		if err := t.exec(`INSERT OR IGNORE INTO garbage (large) VALUES (?)`, old); err != nil {
			return err
		}
	}
	if new != 0 {
		return t.exec(`DELETE FROM garbage WHERE large = ?`, new)
	}
	return nil
}

// Delete removes a key; that there is none is no error.
func (s *Store) Delete(ctx context.Context, id NamespaceID, key Key) error {
	sp, err := s.space(id)
	if err != nil {
		return err
	}
	return s.writer.do(ctx, &write{space: sp, apply: func(t *tx) error {
		return applyDelete(t, sp, key, true)
	}})
}

func applyDelete(t *tx, sp *space, key Key, fresh bool) error {
	if t.isGone(sp) {
		return errNamespace()
	}
	bytes, large, err := t.old(sp, key)
	if err != nil {
		return err
	}
	if bytes != 0 {
		if err := t.replace(large, 0); err != nil {
			return err
		}
		if err := t.exec(`DELETE FROM entries WHERE ns = ? AND key = ?`, sp.num, []byte(key)); err != nil {
			return err
		}
		t.count(sp, -1, -bytes)
	}
	t.changes = append(t.changes, change{cacheKey{sp.num, key}, absent, fresh})
	return nil
}
