package kv

import (
	"bytes"
	"context"

	"atoll.dev/atoll/internal/fault"
)

// A bulk operation is cut into writes of these sizes, so that single writes get their turn between them.
const (
	bulkRows  = 500
	bulkBytes = 4 << 20
)

// BulkItem is one pair of a bulk put.
type BulkItem struct {
	Key      Key
	Value    []byte
	Expires  int64
	Metadata string
}

// PutMany stores pairs in order, not atomically. It returns the keys that failed and why the first of them did.
func (s *Store) PutMany(ctx context.Context, id NamespaceID, items []BulkItem) (failed []Key, err error) {
	sp, err := s.space(id)
	if err != nil {
		return nil, err
	}
	b := bulk{ctx: ctx, st: s, sp: sp}
	for _, it := range items {
		if len(it.Value) >= chunkSize {
			b.flush()
			err := s.Put(ctx, id, it.Key, bytes.NewReader(it.Value),
				PutOptions{Expires: it.Expires, Metadata: it.Metadata, Length: int64(len(it.Value))})
			if err != nil {
				b.fail(err, it.Key)
			}
			continue
		}
		b.add(item{it.Key, &entry{present: true, expires: it.Expires, metadata: it.Metadata,
			size: int64(len(it.Value)), data: it.Value}})
	}
	b.flush()
	return b.failed, b.err
}

// DeleteMany removes keys, not atomically. It returns the keys that failed and why the first of them did.
func (s *Store) DeleteMany(ctx context.Context, id NamespaceID, keys []Key) (failed []Key, err error) {
	sp, err := s.space(id)
	if err != nil {
		return nil, err
	}
	b := bulk{ctx: ctx, st: s, sp: sp}
	for _, k := range keys {
		b.add(item{k, absent})
	}
	b.flush()
	return b.failed, b.err
}

// bulk gathers items into writes.
type bulk struct {
	ctx    context.Context // of the one call it serves
	st     *Store
	sp     *space
	items  []item
	bytes  int
	failed []Key
	err    error
}

func (b *bulk) fail(err error, keys ...Key) {
	b.failed = append(b.failed, keys...)
	if b.err == nil {
		b.err = err
	}
}

func (b *bulk) add(it item) {
	if len(b.items) == bulkRows || b.bytes+len(it.entry.data) > bulkBytes {
		b.flush()
	}
	b.items = append(b.items, it)
	b.bytes += len(it.entry.data)
}

// flush writes what was gathered. A fault of one item refuses that item alone.
func (b *bulk) flush() {
	if len(b.items) == 0 {
		return
	}
	var refused []Key
	var first error
	err := b.st.writer.do(b.ctx, &write{space: b.sp, bytes: b.bytes, apply: func(t *tx) error {
		refused, first = nil, nil
		for _, it := range b.items {
			err := b.apply(t, it)
			if err != nil && fault.Of(err) == nil {
				return err
			}
			if err != nil {
				refused = append(refused, it.key)
				if first == nil {
					first = err
				}
			}
		}
		return nil
	}})
	if err != nil {
		for _, it := range b.items {
			b.fail(err, it.key)
		}
	} else if first != nil {
		b.fail(first, refused...)
	}
	b.items, b.bytes = nil, 0
}

func (b *bulk) apply(t *tx, it item) error {
	if it.entry.present {
		return b.st.applyPut(t, b.sp, it, false)
	}
	return applyDelete(t, b.sp, it.key, false)
}
