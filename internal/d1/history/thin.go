package history

import (
	"bufio"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"time"
)

// levelThin is a file that has one record a minute.
const levelThin = 1

// Thin makes the files that are older than Options.Fine have one record a minute, and tells how many it has thinned. The
// last one is left as it is. At most one goroutine does so.
func (l *Log) Thin(now time.Time) (n int, err error) {
	for {
		l.mu.Lock()
		var old *file
		for i, f := range l.files {
			if i+1 < len(l.files) && !f.thin && now.Sub(l.files[i+1].from.Time()) > l.opts.Fine {
				old = &f
				break
			}
		}
		l.mu.Unlock()
		if old == nil {
			return n, nil
		}
		err := l.thin(*old)
		if errors.Is(err, ErrDamaged) { // nobody gets to what is before
			err = errors.Join(err, l.dropTo(old.from))
		}
		if err != nil {
			return n, err
		}
		n++
	}
}

// dropTo removes the files up to one.
func (l *Log) dropTo(from Mark) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.files) > 1 && l.files[0].from <= from {
		if err := l.remove(0); err != nil {
			return err
		}
	}
	return nil
}

// thin rewrites a file, and puts the new one in its place.
func (l *Log) thin(f file) (err error) {
	in, err := os.Open(l.path(f))
	if err != nil {
		return err
	}
	defer in.Close()
	s, err := newScanner(io.NewSectionReader(in, 0, f.size))
	if err != nil {
		return err
	}
	if s.level == levelThin { // by an earlier process
		l.replace(f, file{from: f.from, size: f.size, thin: true}, "")
		return nil
	}
	out, err := os.CreateTemp(l.dir, "thin-*")
	if err != nil {
		return err
	}
	defer func() {
		out.Close()
		if err != nil {
			os.Remove(out.Name())
		}
	}()
	w := &thinner{w: bufio.NewWriterSize(out, 64<<10), change: changes{dir: l.dir}, pages: s.start.pages}
	defer w.change.close()
	w.write(appendHeader(nil, levelThin, s.start))
	if err := w.all(s); err != nil {
		return err
	}
	if err := errors.Join(w.w.Flush(), out.Sync()); err != nil {
		return err
	}
	return l.replace(f, file{from: f.from, size: w.size, thin: true}, out.Name())
}

// replace puts a file in another one's place, unless that is gone.
func (l *Log) replace(old, next file, name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, f := range l.files {
		if f != old {
			continue
		}
		if name != "" {
			if err := os.Rename(name, l.path(f)); err != nil {
				return err
			}
		}
		l.files[i] = next
		l.grown(next.size - old.size)
		return nil
	}
	if name != "" {
		return os.Remove(name)
	}
	return nil
}

// thinner writes records that are made of several.
type thinner struct {
	w      *bufio.Writer
	size   int64
	change changes
	pages  uint32 // before the commits in change
	held   bool   // there are some
	last   place
}

func (w *thinner) write(b []byte) error {
	w.size += int64(len(b))
	_, err := w.w.Write(b)
	return err
}

func (w *thinner) all(s *scanner) error {
	for {
		e, err := s.next()
		if errors.Is(err, io.EOF) {
			return w.flush()
		}
		if err != nil {
			return err
		}
		switch e.kind {
		case kindBegin:
			if w.held && (minute(e.to) != minute(w.last.mark) || len(w.change.slots) > memPages/2) {
				if err := w.flush(); err != nil {
					return err
				}
			}
		case kindEnd:
			w.held, w.last = true, e.end
		default:
			if e.page <= w.pages {
				if err := w.change.add(e); err != nil {
					return err
				}
			}
		}
	}
}

func minute(m Mark) int64 { return m.Time().Unix() / 60 }

// flush writes what is held as one record.
func (w *thinner) flush() error {
	if !w.held {
		return nil
	}
	b := appendBegin(nil, w.last.mark)
	crc := sum(b)
	if err := w.write(b); err != nil {
		return err
	}
	err := w.change.each(func(p *Page) error {
		kind := byte(kindDelta)
		if p.Whole {
			kind = kindFull
		}
		b = appendPage(b[:0], kind, p.Number, p.sum, &p.diff)
		crc = crc32.Update(crc, castagnoli, b)
		return w.write(b)
	})
	if err != nil {
		return err
	}
	w.change.close()
	w.held, w.pages = false, w.last.pages
	return w.write(appendEnd(b[:0], 0, crc, w.last))
}
