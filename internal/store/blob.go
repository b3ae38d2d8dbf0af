package store

import (
	"context"
	"encoding/hex"
	"fmt"
	"iter"
	"time"

	"atoll.dev/atoll/internal/sqlite"
)

// collectChunk is how many blobs are looked at in one transaction.
const collectChunk = 100

// CollectBlobs calls remove for each hash that no version refers to and none has referred to since the given time, and
// says how many remove has removed. Hashes are those of the blobs at hand that were not put since that time either.
//
// No version can begin to refer to a blob while remove deletes it, for that happens under the lock of writes. What a deploy
// does before its PutVersion is safe for as long as the time given is ago: it puts its blobs, or takes them from a version
// that was there when it began.
func (db *DB) CollectBlobs(ctx context.Context, hashes iter.Seq2[string, error], since time.Time, remove func(hash string) (bool, error)) (n int, err error) {
	var chunk []string
	flush := func() error {
		return db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
			for _, hash := range chunk {
				removed, err := collect(ctx, tx, hash, since, remove)
				if err != nil {
					return err
				}
				if removed {
					n++
				}
			}
			chunk = chunk[:0]
			return nil
		})
	}
	for hash, err := range hashes {
		if err != nil {
			return n, fmt.Errorf("collect blobs: %w", err)
		}
		if chunk = append(chunk, hash); len(chunk) < collectChunk {
			continue
		}
		if err := flush(); err != nil {
			return n, fmt.Errorf("collect blobs: %w", err)
		}
	}
	if len(chunk) > 0 {
		if err := flush(); err != nil {
			return n, fmt.Errorf("collect blobs: %w", err)
		}
	}
	return n, nil
}

const unreferencedQuery = `SELECT NOT EXISTS (SELECT 1 FROM version_blobs WHERE hash = ?1)
	AND NOT EXISTS (SELECT 1 FROM asset_files WHERE hash = ?1)
	AND NOT EXISTS (SELECT 1 FROM orphans WHERE hash = ?1 AND since >= ?2)`

func collect(ctx context.Context, tx sqlite.Session, hash string, since time.Time, remove func(hash string) (bool, error)) (bool, error) {
	h, err := hex.DecodeString(hash)
	if err != nil {
		return false, err
	}
	free, err := sqlite.One(ctx, tx, sqlite.Value[bool], unreferencedQuery, h, micros(since))
	if err != nil || !free {
		return false, err
	}
	removed, err := remove(hash)
	if err != nil {
		return false, err
	}
	if removed {
		if _, err := sqlite.Run(ctx, tx, "DELETE FROM asset_claims WHERE blob = ?", h); err != nil {
			return false, err
		}
	}
	_, err = sqlite.Run(ctx, tx, "DELETE FROM orphans WHERE hash = ?", h)
	return removed, err
}
