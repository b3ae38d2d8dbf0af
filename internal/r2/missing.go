package r2

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
)

// Missing counts the files that a copy of a store's directory lacks. Nobody else may have the copy open.
func Missing(ctx context.Context, dir string) (n int, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("check a copy of r2: %w", err)
		}
	}()
	u := url.URL{Scheme: "file", Path: filepath.Join(dir, "r2.db"), RawQuery: "immutable=1"}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return 0, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, `SELECT file FROM objects WHERE file <> '' UNION SELECT file FROM parts WHERE file <> ''`)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	f := files{dir: filepath.Join(dir, "objects")}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return 0, err
		}
		if _, err := os.Stat(f.path(name)); errors.Is(err, fs.ErrNotExist) {
			n++
		} else if err != nil {
			return 0, err
		}
	}
	return n, rows.Err()
}
