// Package history keeps what the commits of a SQLite database have replaced, so that what it was after any of them can be
// made again: from what it is now backwards, commit by commit.
//
// A Log takes the commits from the database's write-ahead log, before a checkpoint moves them into the file and the log
// begins anew. It keeps the difference of each page in a few files of its own. It writes nothing to the database, and knows
// nothing of SQL; package d1 decides when a checkpoint may be, and puts pages back.
//
// Invariant: the files, the oldest first, are a chain of records without a gap that ends where the Log is. Where the chain
// would break, it begins anew: there may be less history than was wanted, and never a wrong one. Each page has a checksum
// of what it was, so that what does not fit is found, and not handed out.
//
// Concurrency: Start, Follow, Sync, Stop and Restart are for whoever may write to the database, one at a time. Everything
// else may be called at any time.
package history

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const pageSize = 4096

// Mark names a commit: seconds since 1970, and below them the number of the commit in its second, which begins with the
// milliseconds. Marks of a database grow.
type Mark uint64

// Ticks are how many commits a millisecond may have.
const Ticks = 1 << 21

// Time is when the commit was.
func (m Mark) Time() time.Time {
	return time.Unix(int64(m>>32), int64(min(999, uint32(m)/Ticks))*int64(time.Millisecond))
}

// Options are how a Log keeps; the zero value is for production.
type Options struct {
	FileBytes int64         // how large a file grows before the next one; 0 means 16 MB
	Fine      time.Duration // for how long each commit is kept, before it is one a minute; 0 means a day
	Grown     func(int64)   // is told how many bytes more there are, or fewer; may be nil
}

// Log is the history of one database.
type Log struct {
	dir  string
	opts Options

	mu    sync.Mutex
	files []file   // the oldest first
	known bool     // end is, and the size of what is valid in the last file
	end   place    // of the chain
	f     *os.File // the last file
	dirty bool     // something of it is not on the disk
	made  bool     // its name is not

	bytes atomic.Int64

	wal    wal
	buf    []byte
	txn    transaction
	x, was [pageSize]byte
}

// file is one of the history: the records after from, until the next one's.
type file struct {
	from Mark
	size int64
	thin bool
}

// Open lists what is in dir, which need not be there.
func Open(dir string, opts Options) (*Log, error) {
	opts.FileBytes = cmp.Or(opts.FileBytes, 16<<20)
	opts.Fine = cmp.Or(opts.Fine, 24*time.Hour)
	if opts.Grown == nil {
		opts.Grown = func(int64) {}
	}
	l := &Log{dir: dir, opts: opts}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		from, err := strconv.ParseUint(e.Name(), 16, 64)
		info, err2 := e.Info()
		if err != nil || err2 != nil || len(e.Name()) != 16 {
			os.Remove(filepath.Join(dir, e.Name())) // was under way
			continue
		}
		l.files = append(l.files, file{from: Mark(from), size: info.Size()})
		l.grown(info.Size())
	}
	return l, nil
}

func (l *Log) path(f file) string { return filepath.Join(l.dir, fmt.Sprintf("%016x", uint64(f.from))) }

// Bytes is how much the history takes.
func (l *Log) Bytes() int64 { return l.bytes.Load() }

func (l *Log) grown(n int64) {
	l.bytes.Add(n)
	l.opts.Grown(n)
}

// Start begins to follow a database that has been opened: main is its file, pages its size, last the last commit.
func (l *Log) Start(main *os.File, walPath string, last Mark, pages uint32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wal.close()
	l.wal.path, l.wal.main = walPath, main
	var head [pageSize]byte
	if err := l.wal.page(1, &head); err != nil {
		return err
	}
	if !l.known {
		if err := l.recover(last); err != nil {
			return err
		}
	}
	if len(l.files) > 0 && stamp(head[:]) <= l.end.mark && l.end.mark <= last {
		found, err := l.find()
		if err != nil {
			return err
		}
		if found {
			if err := l.follow(); err != nil || l.end.mark == last {
				return err
			}
		}
	}
	return l.restart(last, pages)
}

// recover reads the last file. What is of a commit after last is cut off: a backup has the history as it was after the
// database was copied.
func (l *Log) recover(last Mark) error {
	for len(l.files) > 0 {
		f := &l.files[len(l.files)-1]
		end, valid, err := l.measure(*f, last)
		if err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}
		if err != nil || f.from > last {
			if err := l.remove(len(l.files) - 1); err != nil {
				return err
			}
			continue
		}
		if valid < f.size {
			if err := os.Truncate(l.path(*f), valid); err != nil {
				return err
			}
			l.grown(valid - f.size)
			f.size = valid
		}
		l.end = end
		break
	}
	l.known = true
	return nil
}

// measure finds the end of the last record in a file that is whole, and not after last.
func (l *Log) measure(f file, last Mark) (end place, valid int64, err error) {
	in, err := os.Open(l.path(f))
	if err != nil {
		return end, 0, err
	}
	defer in.Close()
	s, err := newScanner(in)
	if err != nil {
		return end, 0, err
	}
	if s.start.mark != f.from {
		return end, 0, ErrDamaged
	}
	end, valid = s.start, s.off
	for {
		e, err := s.next()
		if errors.Is(err, io.EOF) || errors.Is(err, ErrDamaged) || e.kind == kindEnd && e.end.mark > last {
			return end, valid, nil
		}
		if err != nil {
			return end, valid, err
		}
		if e.kind == kindEnd {
			end, valid = e.end, s.off
		}
	}
}

// find goes to where the write-ahead log is recorded, and tells whether it is as it was then. A log of other salts has begun
// since, which it does only after a checkpoint, of which all was recorded.
func (l *Log) find() (bool, error) {
	there, err := l.wal.begin()
	if err != nil || !there || l.wal.salts != l.end.salts {
		return err == nil, err
	}
	t := &l.txn
	for l.wal.frame < l.end.frame {
		if more, err := l.wal.next(t); err != nil || !more {
			return false, err
		}
		l.wal.done(t)
	}
	return l.wal.frame == l.end.frame, nil
}

// Restart forgets all there is, and begins a history where the database is now.
func (l *Log) Restart(last Mark, pages uint32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.restart(last, pages)
}

func (l *Log) restart(last Mark, pages uint32) error {
	for len(l.files) > 0 {
		if err := l.remove(len(l.files) - 1); err != nil {
			return err
		}
	}
	l.known, l.end = true, place{mark: last, pages: pages}
	there, err := l.wal.begin()
	if err != nil || !there {
		return err
	}
	t := &l.txn
	for {
		more, err := l.wal.next(t)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		l.wal.done(t)
	}
	l.end.salts, l.end.frame = l.wal.salts, l.wal.frame
	return nil
}

// remove removes a file. mu is held.
func (l *Log) remove(i int) error {
	f := l.files[i]
	if i == len(l.files)-1 && l.f != nil {
		l.f.Close()
		l.f, l.dirty, l.made = nil, false, false
	}
	if err := os.Remove(l.path(f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l.files = slices.Delete(l.files, i, i+1)
	l.grown(-f.size)
	return nil
}

// Oldest is the oldest commit that is kept; false where the last one there was is not known.
func (l *Log) Oldest() (Mark, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.files) > 0 {
		return l.files[0].from, true
	}
	return l.end.mark, l.known
}

// DropOldest removes the oldest file, and tells whether there was one.
func (l *Log) DropOldest() (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.files) == 0 {
		return false, nil
	}
	return true, l.remove(0)
}

// Expire removes the files of which nothing was the database's state after the time.
func (l *Log) Expire(before time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.files) > 1 && l.files[1].from.Time().Before(before) {
		if err := l.remove(0); err != nil {
			return err
		}
	}
	if len(l.files) != 1 {
		return nil
	}
	newest := l.end.mark.Time()
	if !l.known { // no file is written to before it is
		info, err := os.Stat(l.path(l.files[0]))
		if err != nil {
			return err
		}
		newest = info.ModTime()
	}
	if newest.Before(before) {
		return l.remove(0)
	}
	return nil
}

// Sync makes what was recorded durable: a checkpoint may follow.
func (l *Log) Sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sync()
}

func (l *Log) sync() error {
	if l.f == nil || !l.dirty {
		return nil
	}
	if err := l.f.Sync(); err != nil {
		return err
	}
	if l.made {
		for _, name := range []string{l.dir, filepath.Dir(l.dir)} {
			dir, err := os.Open(name)
			if err != nil {
				return err
			}
			if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
				return err
			}
		}
	}
	l.dirty, l.made = false, false
	return nil
}

// Stop closes the files.
func (l *Log) Stop() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.sync()
	if l.f != nil {
		err = errors.Join(err, l.f.Close())
		l.f = nil
	}
	l.wal.close()
	l.wal.chunk = nil
	return err
}

// Remove stops, and removes everything.
func (l *Log) Remove() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wal.close()
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
	for _, f := range l.files {
		l.grown(-f.size)
	}
	l.files = nil
	return os.RemoveAll(l.dir)
}
