package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// magic begins every file of SQLite's: https://www.sqlite.org/fileformat2.html#the_database_header
const magic = "SQLite format 3\x00"

// IsDatabase reports whether the file at path is one of SQLite's.
func IsDatabase(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) // neither link nor pipe
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, len(magic))
	n, _ := f.Read(head) // a short file is none
	return string(head[:n]) == magic, nil
}

// copyQuery opens a file that may be anything, as https://sqlite.org/security.html advises: pages are copied as bytes, nothing of
// the schema is run, a journal that somebody has left beside it is not played back, and no page is mapped.
const copyQuery = "mode=ro&_pragma=busy_timeout(10000)&_pragma=trusted_schema(0)&_pragma=cell_size_check(1)&_pragma=mmap_size(0)&_pragma=query_only(1)"

// Damaged reports whether an error says that a file is no database, or one that was damaged or left in the middle of a write.
func Damaged(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT:
		return true
	}
	return e.Code() == sqlite3.SQLITE_READONLY_ROLLBACK || e.Code() == sqlite3.SQLITE_IOERR_SHORT_READ
}

// Copy makes a file at to, page by page, of the database at from as it is at one moment, and of what its write-ahead log
// holds. An exact one is the same to the byte, so that D1's history, which has checksums of pages, fits it; for that the schema
// is parsed, which another program may have written, so it is for files that this one's engines alone write to. Another process may have it open meanwhile, and write; this process must not, as it would lose its locks.
func Copy(ctx context.Context, from, to string, exact bool) (err error) {
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
	u := url.URL{Scheme: "file", Path: from, RawQuery: copyQuery}
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
	if !exact {
		return copyPages(conn, to)
	}
	// SQLite's way to copy changes the header. What it was is in the first page, read in the transaction that the copy is taken in.
	if _, err := conn.ExecContext(ctx, "BEGIN"); err != nil {
		return err
	}
	var first []byte
	if err := conn.QueryRowContext(ctx, "SELECT data FROM sqlite_dbpage('main') WHERE pgno = 1").Scan(&first); err != nil {
		first = nil // of an engine whose schema this one does not know, or empty
	}
	if err := copyPages(conn, to); err != nil || first == nil {
		return err
	}
	return overwrite(to, first)
}

func copyPages(conn *sql.Conn, to string) error {
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
		if end := b.Finish(); err == nil { // which says the same again
			err = end
		}
		return err
	})
}

// overwrite writes the first page of a database that nobody has open.
func overwrite(path string, page []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(page, 0)
	return errors.Join(err, f.Close())
}
