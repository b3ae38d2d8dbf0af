package kv

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"

	"atoll.dev/atoll/internal/fault"
)

// Value is what a key held when it was read. Its reader must Close it.
type Value struct {
	Size     int64
	Metadata string // JSON; "" means none
	Expires  int64  // Unix seconds; 0 means never
	Cached   bool   // it came from memory

	data []byte
	pin  *pin // for a value in chunks
}

// Get returns the value of a key and whether there is one. What is in memory costs neither I/O nor allocation.
func (s *Store) Get(ctx context.Context, id NamespaceID, key Key) (Value, bool, error) {
	sp, err := s.space(id)
	if err != nil {
		return Value{}, false, err
	}
	k := cacheKey{sp.num, key}
	for {
		e, cached := s.cache.get(k), true
		if e == nil {
			if e, cached, err = s.read(ctx, k); err != nil {
				return Value{}, false, err
			}
		}
		e = e.live(s.now())
		v := Value{Size: e.size, Metadata: e.metadata, Expires: e.expires, Cached: cached, data: e.data}
		if e.large == 0 {
			return v, e.present, nil
		}
		if v.pin, err = s.pinRead(ctx, e.large); err != nil {
			return Value{}, false, fmt.Errorf("read kv key: %w", err)
		}
		if v.pin != nil {
			return v, true, nil
		}
		// The large value was replaced since its entry was read, and its chunks are being deleted: look again.
	}
}

func (s *Store) read(ctx context.Context, k cacheKey) (*entry, bool, error) {
	// The read serves whoever else waits for this key, so it does not end with one caller's context.
	ctx = context.WithoutCancel(ctx)
	e, cached, err := s.cache.load(k, func() (*entry, error) {
		var expires, large sql.NullInt64
		var metadata sql.NullString
		e := &entry{present: true}
		err := s.readers.QueryRowContext(ctx,
			`SELECT expires, metadata, size, large, value FROM entries WHERE ns = ? AND key = ?`, k.ns, []byte(k.key)).
			Scan(&expires, &metadata, &e.size, &large, &e.data)
		if errors.Is(err, sql.ErrNoRows) {
			return absent, nil
		}
		e.expires, e.metadata, e.large = expires.Int64, metadata.String, large.Int64
		return e, err
	})
	if err != nil {
		return nil, false, fmt.Errorf("read kv key: %w", err)
	}
	return e, cached, nil
}

// ListOptions select a page of keys.
type ListOptions struct {
	Prefix string
	Limit  int    // 1 to MaxList; 0 means MaxList
	Cursor string // of the page before; "" means the first
}

// Page is a page of keys in the order of their bytes.
type Page struct {
	Keys   []KeyInfo
	Cursor string // of the next page; "" means that this is the last
}

// KeyInfo is a key without its value.
type KeyInfo struct {
	Name     Key
	Expires  int64
	Metadata string
}

// List returns a page of the keys that start with a prefix.
func (s *Store) List(ctx context.Context, id NamespaceID, o ListOptions) (Page, error) {
	sp, err := s.space(id)
	if err != nil {
		return Page{}, err
	}
	if err := checkLength(o.Prefix); err != nil {
		return Page{}, err
	}
	if o.Limit == 0 {
		o.Limit = MaxList
	}
	after, err := parseCursor(o.Cursor)
	if err != nil {
		return Page{}, err
	}
	from, op := []byte(o.Prefix), ">="
	if o.Cursor != "" && after >= o.Prefix {
		from, op = []byte(after), ">"
	}
	// 0xff is in no UTF-8, so no key that starts with the prefix sorts after this.
	to := append([]byte(o.Prefix), 0xff)
	rows, err := s.readers.QueryContext(ctx, `SELECT key, expires, metadata FROM entries
		WHERE ns = ? AND key `+op+` ? AND key <= ? AND (expires IS NULL OR expires > ?) ORDER BY key LIMIT ?`,
		sp.num, from, to, s.now(), o.Limit+1)
	if err != nil {
		return Page{}, fmt.Errorf("list kv keys: %w", err)
	}
	defer rows.Close()
	return readPage(rows, o.Limit)
}

func readPage(rows *sql.Rows, limit int) (Page, error) {
	var p Page
	for rows.Next() {
		if len(p.Keys) == limit {
			p.Cursor = base64.RawURLEncoding.EncodeToString([]byte(p.Keys[limit-1].Name))
			break
		}
		var k KeyInfo
		var name []byte
		var expires sql.NullInt64
		var metadata sql.NullString
		if err := rows.Scan(&name, &expires, &metadata); err != nil {
			return Page{}, fmt.Errorf("list kv keys: %w", err)
		}
		k.Name, k.Expires, k.Metadata = Key(name), expires.Int64, metadata.String
		p.Keys = append(p.Keys, k)
	}
	return p, rows.Err()
}

func parseCursor(s string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) > MaxKey {
		return "", fault.New(fault.Invalid, codeMalformed, "Invalid cursor.")
	}
	return string(b), nil
}
