package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
)

// magic begins every file of SQLite's: https://www.sqlite.org/fileformat2.html#the_database_header
const magic = "SQLite format 3\x00"

// IsDatabase reports whether the file at path is one of SQLite's.
func IsDatabase(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, len(magic))
	n, _ := f.Read(head) // a short file is none
	return string(head[:n]) == magic, nil
}

// Copy makes a file at to, page by page, of the database at from as it is at one moment, and of what its write-ahead log
// holds. Another process may have it open meanwhile, and write; this process must not, as it would lose its locks.
func Copy(ctx context.Context, from, to string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("copy %s: %w", from, Full(err))
		}
	}()
	if from, err = filepath.Abs(from); err != nil {
		return err
	}
	if to, err = filepath.Abs(to); err != nil {
		return err
	}
	u := url.URL{Scheme: "file", Path: from, RawQuery: "mode=ro&_pragma=busy_timeout(10000)"}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Raw(func(driver any) error {
		source, ok := driver.(interface {
			NewBackup(string) (*sqlite.Backup, error)
		})
		if !ok {
			return errors.New("the driver has no backups")
		}
		b, err := source.NewBackup((&url.URL{Scheme: "file", Path: to}).String())
		if err != nil {
			return err
		}
		// All pages in one step: a copy in several would begin anew with each write in between.
		_, err = b.Step(-1)
		return errors.Join(err, b.Finish())
	})
}
