package r2

import (
	"context"
	"fmt"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// Delete deletes up to MaxDelete objects, all or none. One that is not there is none the less deleted.
func (s *Store) Delete(ctx context.Context, ref Ref, keys ...string) error {
	b, err := s.bucket(ref)
	if err == nil && len(keys) > MaxDelete {
		err = fault.Newf(fault.Invalid, CodeArgument, "At most %d objects can be deleted at once, not %d.", MaxDelete, len(keys))
	}
	for _, key := range keys {
		if err == nil {
			err = CheckKey(key)
		}
	}
	if err == nil && len(keys) > 0 {
		err = s.db.WriteFor(ctx, b.num, func(ctx context.Context, tx sqlite.Session) error {
			for _, key := range keys {
				if err := s.delete(ctx, tx, b, key); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("delete objects: %w", err)
	}
	s.kick()
	return nil
}

func (s *Store) delete(ctx context.Context, tx sqlite.Session, b *bucket, key string) error {
	o, err := sqlite.One(ctx, tx, scanObject(false), `SELECT `+objectColumns+` FROM objects WHERE bucket = ? AND key = ?`, b.num, []byte(key))
	if sqlite.Missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.dropBody(ctx, tx, &o); err != nil {
		return err
	}
	if _, err := sqlite.Run(ctx, tx, `DELETE FROM objects WHERE num = ?`, o.num); err != nil {
		return err
	}
	return s.count(ctx, tx, b, -1, -o.Size, -o.head)
}
