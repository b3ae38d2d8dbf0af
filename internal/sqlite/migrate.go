package sqlite

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
)

// migrate runs those of files, migrations/*.sql in the order of their names, that the database has not seen, each in a
// transaction of its own. PRAGMA user_version is the number of those it has seen.
func (w *writer) migrate(ctx context.Context, files fs.FS) error {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		return err
	}
	slices.Sort(names)
	var have int
	if err := w.conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	if have > len(names) {
		return fmt.Errorf("the file has schema %d and this atoll knows %d: it was written by a newer release", have, len(names))
	}
	for i, name := range names[have:] {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		step := fmt.Sprintf("%s\n;PRAGMA user_version = %d", text, have+i+1)
		if err := w.migration(ctx, step); err != nil {
			return fmt.Errorf("migrate %s: %w", name, err)
		}
		w.lg.Info("schema changed", "migration", name)
	}
	return nil
}

func (w *writer) migration(ctx context.Context, step string) error {
	tx, err := w.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, step); err != nil {
		return err
	}
	return tx.Commit()
}
