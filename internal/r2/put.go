package r2

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/sqlite"
)

// PutOptions are what is stored with an object, and on what condition.
type PutOptions struct {
	HTTP   HTTPMetadata
	Custom []Field
	If     *Condition
	Sums   map[string][]byte // by algorithm; nil: compute this one and keep it
	Class  string            // empty: the bucket's
	Key    *CustomerKey
	Length int64 // of the content; -1 where it is not known
	// Announced gives the checksums that follow the content; it is called when that has been read.
	Announced func() (map[string][]byte, error)
}

// Put stores an object. Where the condition does not hold, its error is errPrecondition's.
func (s *Store) Put(ctx context.Context, ref Ref, key string, body io.Reader, o PutOptions) (Object, error) {
	b, err := s.bucket(ref)
	if err == nil {
		err = CheckKey(key)
	}
	if err == nil {
		err = checkMetadata(o.HTTP, o.Custom)
	}
	if o.Class == "" && b != nil {
		o.Class = *b.class.Load()
	}
	if err == nil {
		err = checkClass(o.Class)
	}
	if err == nil && o.Length > MaxPut {
		err = errTooLarge()
	}
	if err != nil {
		return Object{}, fmt.Errorf("put object: %w", err)
	}
	res, err := s.reserve(ctx, ref, o.Length)
	if err != nil {
		return Object{}, fmt.Errorf("put object: %w", err)
	}
	defer res.release()
	c, err := s.take(ctx, res, body, o, maxInline)
	if err != nil {
		return Object{}, fmt.Errorf("put object: %w", err)
	}
	out := row{Object: Object{Key: key, Version: atoll.NewID(), Size: c.size, ETag: hex.EncodeToString(c.md5), Uploaded: s.now(),
		Class: o.Class, HTTP: o.HTTP, Custom: o.Custom, Sums: c.sums, KeySum: o.Key.Sum()},
		head: headSize(key, o.HTTP, o.Custom), file: c.file, salt: c.salt, data: c.data}
	err = s.commit(ctx, b, c.file, func(ctx context.Context, tx sqlite.Session) error {
		return s.replace(ctx, tx, b, &out, o.If)
	})
	if err != nil {
		return Object{}, fmt.Errorf("put object: %w", err)
	}
	return out.Object, nil
}

// commit runs a write that names the file, if there is one, and removes the file if that did not happen.
func (s *Store) commit(ctx context.Context, b *bucket, file string, fn func(context.Context, sqlite.Session) error) error {
	done := false
	err := s.db.WriteFor(ctx, b.num, func(ctx context.Context, tx sqlite.Session) error {
		err := fn(ctx, tx)
		done = err == nil
		return err
	})
	if file != "" {
		if err != nil && !done {
			s.discard(file)
		}
		// Where a commit failed nobody knows what a crash now would bring back; the next start looks for the file's row.
		s.files.release(file)
	}
	s.kick()
	return err
}

// replace stores an object in place of the one that has its key.
func (s *Store) replace(ctx context.Context, tx sqlite.Session, b *bucket, o *row, cond *Condition) error {
	old, err := sqlite.One(ctx, tx, scanObject(false), `SELECT `+objectColumns+` FROM objects WHERE bucket = ? AND key = ?`, b.num, []byte(o.Key))
	there := err == nil
	if err != nil && !sqlite.Missing(err) {
		return err
	}
	var was *Object
	if there {
		was = &old.Object
	}
	if !cond.Holds(was) {
		return errPrecondition()
	}
	var objects, bytes, head int64 = 1, o.Size, o.head
	if there {
		objects, bytes, head = 0, bytes-old.Size, head-old.head
		if err := s.dropBody(ctx, tx, &old); err != nil {
			return err
		}
		if _, err := sqlite.Run(ctx, tx, `DELETE FROM objects WHERE num = ?`, old.num); err != nil {
			return err
		}
	}
	if err := s.count(ctx, tx, b, objects, bytes, head); err != nil {
		return err
	}
	_, err = sqlite.Run(ctx, tx, `INSERT INTO objects (bucket, key, version, size, etag, uploaded, class, http, custom, sums, keysum, head, upload, file, salt, data)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, nullif(?, 0), nullif(?, ''), ?, ?)`,
		b.num, []byte(o.Key), o.Version, o.Size, o.ETag, millis(o.Uploaded), o.Class, encode(o.HTTP), encode(o.Custom), encode(o.Sums),
		o.KeySum, o.head, o.upload, o.file, o.salt, o.data)
	return err
}

// count changes the figures of a bucket and its account. The bucket may be gone by now.
func (s *Store) count(ctx context.Context, tx sqlite.Session, b *bucket, objects, bytes, head int64) error {
	n, err := sqlite.Run(ctx, tx, `UPDATE buckets SET objects = objects + ?, bytes = bytes + ?, head = head + ? WHERE num = ?`, objects, bytes, head, b.num)
	if err == nil && n == 0 {
		err = errNoBucket()
	}
	if err != nil {
		return err
	}
	return s.charge(ctx, tx, b.ref.Account, bytes+head)
}

// dropBody gives the files of an object that is replaced or deleted to the sweep.
func (s *Store) dropBody(ctx context.Context, tx sqlite.Session, o *row) error {
	if o.file != "" {
		_, err := sqlite.Run(ctx, tx, `INSERT INTO garbage (file, version) VALUES (?, ?)`, o.file, o.Version)
		return err
	}
	if o.upload == 0 {
		return nil
	}
	if _, err := sqlite.Run(ctx, tx, `INSERT INTO garbage (file, version) SELECT file, ? FROM parts WHERE upload = ?`, o.Version, o.upload); err != nil {
		return err
	}
	_, err := sqlite.Run(ctx, tx, `DELETE FROM parts WHERE upload = ?`, o.upload)
	return err
}
