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

// A file of so many bytes or more is read beside no other such, so that a script with large ones has the small ones of others
// wait for nothing; of those, a few are read at once.
const (
	largeAlarms = 4 << 20
	smallReads  = 4
)

// steadyAfter is how long after its last change a file is known by its size and time: the kernel's clock has ticks of some
// milliseconds.
const steadyAfter = time.Second

// stamped is when the next alarm of a class is due as long as its files are as they were.
type stamped struct {
	state state
	at    time.Time
	ok    bool
}

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
	from := filepath.Join(s.dir(class), alarmsFile)
	before, err := stamp(from)
	if errors.Is(err, fs.ErrNotExist) {
		s.forgetAlarms(class)
		return at, false, nil
	}
	if err != nil {
		return at, false, err
	}
	s.alarmsMu.Lock()
	known, there := s.alarms[class]
	s.alarmsMu.Unlock()
	if there && known.state == before {
		return known.at, known.ok, nil
	}
	if at, ok, err = s.readCopy(ctx, from, before); err == nil && before.steady(time.Now()) {
		s.alarmsMu.Lock()
		s.alarms[class] = stamped{before, at, ok}
		s.alarmsMu.Unlock()
	}
	return at, ok, err
}

func (s *Store) forgetAlarms(class string) {
	s.alarmsMu.Lock()
	defer s.alarmsMu.Unlock()
	delete(s.alarms, class)
}

// readCopy reads a copy of the file, whose state is given.
func (s *Store) readCopy(ctx context.Context, from string, before state) (at time.Time, ok bool, err error) {
	reads := s.smallReads
	if before[0].size+before[1].size >= largeAlarms {
		reads = s.largeReads
	}
	select {
	case reads <- struct{}{}:
		defer func() { <-reads }()
	case <-ctx.Done():
		return at, false, context.Cause(ctx)
	}
	tmp, err := os.MkdirTemp(s.root, "alarms-")
	if err != nil {
		return at, false, err
	}
	defer os.RemoveAll(tmp)
	to := filepath.Join(tmp, alarmsFile)
	for _, suffix := range []string{"", "-wal"} {
		if err := copyFile(ctx, from+suffix, to+suffix); err != nil && !(suffix != "" && errors.Is(err, fs.ErrNotExist)) {
			return at, false, err
		}
	}
	if after, err := stamp(from); err != nil || after != before {
		return at, false, errors.Join(errTorn, err)
	}
	return readAlarms(ctx, to)
}

// state tells one state of a database's files, itself and its log, from another.
type state [2]struct {
	size int64
	at   time.Time
}

// steady tells whether a change that comes now would show.
func (st state) steady(now time.Time) bool {
	return now.Sub(st[0].at) > steadyAfter && now.Sub(st[1].at) > steadyAfter
}

func stamp(path string) (st state, err error) {
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
func copyFile(ctx context.Context, from, to string) error {
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
	const chunk = 16 << 20
	for left := int64(maxAlarms); err == nil && left > 0; left -= chunk {
		if err = context.Cause(ctx); err == nil {
			_, err = io.CopyN(out, in, chunk)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
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
