package objects

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	_ "atoll.dev/atoll/internal/sqlite" // the driver "sqlite"
)

// The engine keeps the alarms of a class's objects in a table of this file, from when one is set until its handler has
// succeeded or has been given up (workerd, src/workerd/server/alarm-scheduler.c++). Times are Unix nanoseconds.
const (
	alarmsFile  = "metadata.sqlite"
	alarmsQuery = "SELECT min(scheduled_time) FROM _cf_ALARM"
)

// maxAlarms bounds the file that is read for them, some 100 bytes an alarm.
const maxAlarms = 1 << 30

// errTorn says that the file was changed while it was copied.
var errTorn = errors.New("the alarms were changed meanwhile")

// NextAlarm tells when the next alarm of a class's objects is due, whether or not a process uses them. It reads a copy: the
// file belongs to the process, which must neither wait for the node nor find files of the node's beside it.
func (s *Store) NextAlarm(ctx context.Context, class string) (at time.Time, ok bool, err error) {
	if !isID(class) {
		return at, false, fmt.Errorf("%q is not the id of a class", class)
	}
	for range 5 {
		if at, ok, err = s.nextAlarm(ctx, class); err == nil {
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("read alarms of class %s: %w", class, err)
	}
	return at, ok, err
}

func (s *Store) nextAlarm(ctx context.Context, class string) (at time.Time, ok bool, err error) {
	tmp, err := os.MkdirTemp(s.root, "alarms-")
	if err != nil {
		return at, false, err
	}
	defer os.RemoveAll(tmp)
	from, to := filepath.Join(s.dir(class), alarmsFile), filepath.Join(tmp, alarmsFile)
	before, err := stamp(from)
	if errors.Is(err, fs.ErrNotExist) {
		return at, false, nil
	}
	if err != nil {
		return at, false, err
	}
	for _, suffix := range []string{"", "-wal"} {
		if err := copyFile(from+suffix, to+suffix); err != nil && !(suffix != "" && errors.Is(err, fs.ErrNotExist)) {
			return at, false, err
		}
	}
	if after, err := stamp(from); err != nil || after != before {
		return at, false, errors.Join(errTorn, err)
	}
	return readAlarms(ctx, to)
}

// stamp tells one state of a database's files from another.
func stamp(path string) (st [2]struct {
	size int64
	at   time.Time
}, err error) {
	for i, suffix := range []string{"", "-wal"} {
		info, err := os.Lstat(path + suffix)
		if i > 0 && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return st, err
		}
		st[i].size, st[i].at = info.Size(), info.ModTime()
	}
	return st, nil
}

// copyFile copies a regular file of a directory that a tenant's process may write to.
func copyFile(from, to string) error {
	in, err := os.OpenFile(from, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) // no link, and no pipe that is waited for
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > maxAlarms {
		return fmt.Errorf("%s is not a file of alarms", from)
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.LimitReader(in, maxAlarms))
	return errors.Join(err, out.Close())
}

// readAlarms reads a file that may be anything, as https://sqlite.org/security.html advises.
func readAlarms(ctx context.Context, path string) (at time.Time, ok bool, err error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=trusted_schema(0)&_pragma=cell_size_check(1)&_pragma=mmap_size(0)&_pragma=query_only(1)")
	if err != nil {
		return at, false, err
	}
	defer db.Close()
	var first sql.NullInt64
	if err := db.QueryRowContext(ctx, "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '_cf_ALARM'").Scan(&first); errors.Is(err, sql.ErrNoRows) {
		return at, false, nil
	} else if err != nil {
		return at, false, err
	}
	if err := db.QueryRowContext(ctx, alarmsQuery).Scan(&first); err != nil || !first.Valid {
		return at, false, err
	}
	return time.Unix(0, first.Int64), true, nil
}

// clean removes the copies of a node that was killed while it read.
func (s *Store) clean() error {
	torn, err := filepath.Glob(filepath.Join(s.root, "alarms-*"))
	for _, dir := range torn {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		return fmt.Errorf("remove copies of alarms: %w", err)
	}
	return nil
}

// classes lists the classes that have storage.
func (s *Store) classes() ([]string, error) {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return nil, fmt.Errorf("list storage of Durable Objects: %w", err)
	}
	var list []string
	for _, e := range entries {
		if isID(e.Name()) && e.IsDir() {
			list = append(list, e.Name())
		}
	}
	return list, nil
}
