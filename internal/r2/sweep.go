package r2

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/sqlite"
)

// sweep aborts the uploads that are too old, and removes the files that nothing names and nobody reads.
func (s *Store) sweep(ctx context.Context) error {
	return errors.Join(s.expire(ctx), s.removeGarbage(ctx))
}

const sweepRows = 500

func (s *Store) expire(ctx context.Context) error {
	before := millis(s.now().Add(-s.opts.UploadTTL))
	for ctx.Err() == nil {
		n := 0
		err := s.db.Write(ctx, func(ctx context.Context, tx sqlite.Session) error {
			list, err := sqlite.All(ctx, tx, scanUpload, uploadColumns+`WHERE created < ? ORDER BY created LIMIT ?`, before, sweepRows)
			if err != nil {
				return err
			}
			n = len(list)
			for _, u := range list {
				if err := s.expireOne(ctx, tx, u); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("abort old uploads: %w", err)
		}
		if n < sweepRows {
			return nil
		}
	}
	return nil
}

func (s *Store) expireOne(ctx context.Context, tx sqlite.Session, u uploadRow) error {
	type owner struct {
		bucket  int64
		account atoll.AccountID
	}
	o, err := sqlite.One(ctx, tx, func(r sqlite.Row) (o owner, err error) {
		err = r.Scan(&o.bucket, &o.account)
		return o, err
	}, `SELECT b.num, b.account FROM uploads u JOIN buckets b ON b.num = u.bucket WHERE u.num = ?`, u.num)
	if err != nil {
		return err
	}
	if err := s.closeUpload(ctx, tx, o.bucket, o.account, u); err != nil {
		return err
	}
	return dropParts(ctx, tx, u.num)
}

// garbageFile is a file that no row names any more.
type garbageFile struct{ file, version string }

func (s *Store) removeGarbage(ctx context.Context) error {
	for after := ""; ctx.Err() == nil; {
		list, err := sqlite.All(ctx, s.db.Reads(), func(r sqlite.Row) (g garbageFile, err error) {
			err = r.Scan(&g.file, &g.version)
			return g, err
		}, `SELECT file, version FROM garbage WHERE file > ? ORDER BY file LIMIT ?`, after, sweepRows)
		if err != nil {
			return fmt.Errorf("find garbage: %w", err)
		}
		if len(list) == 0 {
			return nil
		}
		after = list[len(list)-1].file
		if err := s.removeFiles(ctx, list); err != nil {
			return err
		}
	}
	return nil
}

// removeFiles removes those of the files that nobody reads. Whoever begins to read one now finds, after its pin, that its
// row is gone.
func (s *Store) removeFiles(ctx context.Context, list []garbageFile) error {
	var removed []string
	for _, g := range list {
		if s.pins.held(g.version) {
			continue
		}
		if err := s.files.remove(g.file); err != nil {
			return err
		}
		removed = append(removed, g.file)
	}
	if len(removed) == 0 {
		return nil
	}
	return s.db.Write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		for _, file := range removed {
			if _, err := sqlite.Run(ctx, tx, `DELETE FROM garbage WHERE file = ?`, file); err != nil {
				return err
			}
		}
		return nil
	})
}

// removeOrphans removes the files that a crash left before a row named them.
func (s *Store) removeOrphans(ctx context.Context) error {
	removed := 0
	for i := range 256 {
		dir := filepath.Join(s.files.dir, fmt.Sprintf("%02x", i))
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		for err == nil && ctx.Err() == nil {
			var names []string
			names, err = f.Readdirnames(1000)
			for _, name := range names {
				n, err := s.removeOrphan(ctx, name)
				if err != nil {
					f.Close()
					return err
				}
				removed += n
			}
		}
		f.Close()
	}
	if removed > 0 {
		s.lg.Info("removed files of uploads that were cut off", "files", removed)
	}
	return nil
}

func (s *Store) removeOrphan(ctx context.Context, name string) (removed int, err error) {
	// In this order: a file that is not being written now has its row by now, if it ever gets one.
	if !fileName.MatchString(name) || s.files.isWriting(name) {
		return 0, nil
	}
	named, err := sqlite.One(ctx, s.db.Reads(), sqlite.Value[bool], `SELECT EXISTS (SELECT 1 FROM objects WHERE file = ?1)
		OR EXISTS (SELECT 1 FROM parts WHERE file = ?1) OR EXISTS (SELECT 1 FROM garbage WHERE file = ?1)`, name)
	if err != nil || named {
		return 0, err
	}
	return 1, s.files.remove(name)
}
