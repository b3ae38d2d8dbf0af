package store

import (
	"context"
	"encoding/json"
	"fmt"

	"atoll.dev/atoll/internal/sqlite"
)

// keepValidated bounds the memory of what was started before; the oldest is forgotten first.
const keepValidated = 10000

// Validated reports whether a version with this key was started before, and what MarkValidated kept of it.
func (db *DB) Validated(ctx context.Context, key string) (ok bool, started json.RawMessage, err error) {
	text, err := sqlite.One(ctx, db.reads, sqlite.Value[[]byte], "SELECT started FROM validated WHERE key = ?", key)
	if sqlite.Missing(err) {
		return false, nil, nil
	}
	if err != nil {
		return false, nil, fmt.Errorf("look for validation: %w", err)
	}
	return true, text, nil
}

// MarkValidated keeps what starting a version with this key has shown.
func (db *DB) MarkValidated(ctx context.Context, key string, started json.RawMessage) error {
	if started == nil {
		started = json.RawMessage("null")
	}
	err := db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		if _, err := sqlite.Run(ctx, tx, "INSERT OR REPLACE INTO validated (key, started) VALUES (?, ?)", key, string(started)); err != nil {
			return err
		}
		_, err := sqlite.Run(ctx, tx, "DELETE FROM validated WHERE seq <= (SELECT max(seq) FROM validated) - ?", keepValidated)
		return err
	})
	if err != nil {
		return fmt.Errorf("mark validated: %w", err)
	}
	return nil
}
