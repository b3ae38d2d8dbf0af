package history

import (
	"errors"
	"hash/crc32"
	"os"
)

// Follow records what was committed since it was last called. Where it fails it may be called again, or Restart.
func (l *Log) Follow() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.follow()
}

// Frames is how many frames the write-ahead log has, as of the last Follow.
func (l *Log) Frames() int { return int(l.wal.frame) }

func (l *Log) follow() error {
	there, err := l.wal.begin()
	if err != nil || !there {
		return err
	}
	t := &l.txn
	for {
		more, err := l.wal.next(t)
		if err != nil || !more {
			return err
		}
		if err := l.record(t); err != nil {
			return err
		}
		l.wal.done(t)
	}
}

// appender writes one record to the last file, after what is valid there.
type appender struct {
	l   *Log
	b   []byte
	at  int64
	crc uint32
}

const flushBytes = 1 << 20

func (a *appender) flush(all bool) error {
	if !all && len(a.b) < flushBytes {
		return nil
	}
	a.crc = crc32.Update(a.crc, castagnoli, a.b)
	return a.write()
}

func (a *appender) write() error {
	n, err := a.l.f.WriteAt(a.b, a.at)
	a.at += int64(n)
	a.b = a.b[:0]
	return err
}

// record adds a transaction. What it leaves where it fails is cut off.
func (l *Log) record(t *transaction) (err error) {
	if err := l.open(); err != nil {
		return err
	}
	last := &l.files[len(l.files)-1]
	a := &appender{l: l, b: l.buf[:0], at: last.size}
	l.dirty = true
	defer func() {
		if cap(a.b) <= 2*flushBytes {
			l.buf = a.b
		}
		if err != nil {
			err = errors.Join(err, l.f.Truncate(last.size))
			return
		}
		l.grown(a.at - last.size)
		last.size = a.at
	}()
	end := place{mark: l.end.mark, pages: t.size, salts: l.wal.salts, frame: t.first + uint32(len(t.pages)) - 1}
	if t.first1 {
		end.mark = stamp(t.head[:])
	}
	if end.mark < l.end.mark {
		return ErrDamaged
	}
	a.b = appendBegin(a.b, end.mark)
	if err := l.recordPages(a, t); err != nil {
		return err
	}
	from := len(a.b)
	a.crc = crc32.Update(a.crc, castagnoli, a.b)
	a.b = appendEnd(a.b, from, a.crc, end)
	if err := a.write(); err != nil {
		return err
	}
	l.end = end
	return nil
}

// recordPages adds the pages that were there before. One may have several frames, of which the last counts.
func (l *Log) recordPages(a *appender, t *transaction) error {
	before := l.end.pages
	final := make(map[uint32]uint32, min(len(t.pages), 1024))
	for i, page := range t.pages {
		if page <= before && page <= t.size {
			final[page] = uint32(i)
		}
	}
	x, was := &l.x, &l.was
	for i, page := range t.pages {
		if at, ok := final[page]; !ok || at != uint32(i) {
			continue
		}
		if err := l.wal.page(page, was); err != nil {
			return err
		}
		b, err := l.wal.at(t.first + uint32(i))
		if err != nil || b == nil {
			return errors.Join(err, ErrDamaged)
		}
		xor(x, was[:], b[frameHead:])
		a.b = appendPage(a.b, kindDelta, page, sum(was[:]), x)
		if err := a.flush(false); err != nil {
			return err
		}
	}
	for page := t.size + 1; page <= before; page++ {
		if err := l.wal.page(page, was); err != nil {
			return err
		}
		a.b = appendPage(a.b, kindFull, page, sum(was[:]), was)
		if err := a.flush(false); err != nil {
			return err
		}
	}
	return nil
}

// open opens the file to append to: the last one, unless that is large or old.
func (l *Log) open() error {
	if n := len(l.files); n > 0 {
		f := l.files[n-1]
		full := f.size >= l.opts.FileBytes || f.thin || l.end.mark.Time().Sub(f.from.Time()) > l.opts.Fine && f.from > 0
		if full && f.from != l.end.mark {
			if err := l.sync(); err != nil {
				return err
			}
			if l.f != nil {
				l.f.Close()
				l.f = nil
			}
			return l.create()
		}
		if l.f != nil {
			return nil
		}
		var err error
		l.f, err = os.OpenFile(l.path(f), os.O_RDWR, 0)
		return err
	}
	return l.create()
}

// create makes the next file.
func (l *Log) create() error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	next := file{from: l.end.mark}
	f, err := os.OpenFile(l.path(next), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	head := appendHeader(nil, 0, l.end)
	if _, err := f.WriteAt(head, 0); err != nil {
		return errors.Join(err, f.Close(), os.Remove(l.path(next)))
	}
	next.size = int64(len(head))
	l.f, l.dirty, l.made = f, true, true
	l.files = append(l.files, next)
	l.grown(next.size)
	return nil
}
