package history

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"
)

// ErrNotKept is the error of a commit that the history does not have, or not any more.
var ErrNotKept = errors.New("the history does not have this commit")

// errMoved is the error of a history that was cut while it was read.
var errMoved = errors.New("the history has changed meanwhile; try again")

// part is a file to be read, up to what was valid.
type part struct {
	file
	*os.File
}

func (p part) scan() (*scanner, error) { return newScanner(io.NewSectionReader(p.File, 0, p.size)) }

// parts opens the files that have something after the commit, the oldest first. The caller closes them.
func (l *Log) parts(after Mark) (list []part, end place, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, f := range l.files {
		if i+1 < len(l.files) && l.files[i+1].from <= after {
			continue
		}
		in, err := os.Open(l.path(f))
		if err != nil {
			closeParts(list)
			return nil, end, err
		}
		list = append(list, part{f, in})
	}
	return list, l.end, nil
}

func closeParts(list []part) {
	for _, p := range list {
		p.Close()
	}
}

// At returns the last commit that is kept of those up to the time. It is of a Log that was started.
func (l *Log) At(t time.Time) (Mark, error) {
	list, end, err := l.parts(0)
	if err != nil {
		return 0, err
	}
	defer closeParts(list)
	if !end.mark.Time().After(t) {
		return end.mark, nil
	}
	for len(list) > 1 && !list[1].from.Time().After(t) {
		list[0].Close()
		list = list[1:]
	}
	if len(list) == 0 || list[0].from.Time().After(t) {
		return 0, ErrNotKept
	}
	found := list[0].from
	s, err := list[0].scan()
	if err != nil {
		return 0, err
	}
	for {
		e, err := s.next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return 0, err
		}
		if e.kind == kindEnd {
			if e.end.mark.Time().After(t) {
				return found, nil
			}
			found = e.end.mark
		}
	}
}

// Rewind finds what has to change for a database to become what it was. One goroutine uses it.
type Rewind struct {
	log    *Log
	to     Mark
	pages  uint32
	known  bool // pages is
	file   Mark // what was read last, and how far
	off    int64
	at     Mark // the last commit of it
	change changes
}

// Rewind begins to go back to a commit.
func (l *Log) Rewind(to Mark) *Rewind { return &Rewind{log: l, to: to, change: changes{dir: l.dir}} }

// Close frees what is kept.
func (r *Rewind) Close() { r.change.close() }

// Pages is how many the database had then.
func (r *Rewind) Pages() uint32 { return r.pages }

// Advance reads what was recorded since it was last called, or since the commit.
func (r *Rewind) Advance(ctx context.Context) error {
	list, end, err := r.log.parts(max(r.to, r.file))
	if err != nil {
		return err
	}
	defer closeParts(list)
	switch {
	case !r.known && r.to == end.mark:
		r.pages, r.known, r.at = end.pages, true, end.mark
		if n := len(list); n > 0 {
			r.file, r.off = list[n-1].from, list[n-1].size
		}
		return nil
	case r.known && r.off == 0: // there was no file
		if len(list) > 0 {
			r.file, r.off = list[0].from, int64(headerSize)
		}
	case !r.known && (len(list) == 0 || list[0].from > r.to):
		return ErrNotKept
	}
	if len(list) > 0 && r.known && (list[0].from != r.file || list[0].size < r.off) {
		return errMoved
	}
	for _, p := range list {
		if err := r.read(ctx, p); err != nil {
			return err
		}
		if !r.known {
			return ErrNotKept
		}
	}
	return nil
}

// read takes the records of one file, from where the last call has ended.
func (r *Rewind) read(ctx context.Context, p part) error {
	s, err := p.scan()
	if err != nil {
		return err
	}
	from := int64(0)
	if r.off != 0 && p.from == r.file {
		from = r.off
	}
	if s.start.mark != p.from || r.off != 0 && from == 0 && p.from != r.at {
		return ErrDamaged // it is not the next one
	}
	r.at = p.from
	if s.start.mark == r.to {
		r.pages, r.known = s.start.pages, true
	}
	skip := false
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		e, err := s.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch e.kind {
		case kindBegin:
			if skip = s.off < from || e.to <= r.to; !skip && !r.known {
				return ErrNotKept
			}
		case kindEnd:
			if r.at = e.end.mark; r.at == r.to {
				r.pages, r.known = e.end.pages, true
			}
		default:
			if !skip && e.page <= r.pages {
				if err := r.change.add(e); err != nil {
					return err
				}
			}
		}
	}
	r.file, r.off = p.from, s.off
	return nil
}

// Page is one that has to change: by the difference, or to it where it is whole.
type Page struct {
	Number uint32
	Whole  bool
	diff   [pageSize]byte
	sum    uint32
}

// Apply makes of the page as it is now what it was. Where it is whole, b may be anything.
func (p *Page) Apply(b []byte) error {
	if p.Whole {
		copy(b, p.diff[:])
	} else {
		var x [pageSize]byte
		xor(&x, b, p.diff[:])
		copy(b, x[:])
	}
	if sum(b) != p.sum {
		return fmt.Errorf("page %d: %w", p.Number, ErrDamaged)
	}
	return nil
}

// Each calls f for every page that has to change.
func (r *Rewind) Each(f func(*Page) error) error { return r.change.each(f) }

// changes are those of pages over a number of commits. Beyond what fits into memory they are in a file without a name.
type changes struct {
	dir   string
	slots map[uint32]slot
	spill *os.File
	next  int64
	mem   int
}

type slot struct {
	diff  *[pageSize]byte // nil: in the file
	at    int64
	sum   uint32
	whole bool
}

// memPages is how many pages are kept in memory.
const memPages = 2048

var diffs = sync.Pool{New: func() any { return new([pageSize]byte) }}

func (c *changes) close() {
	for _, s := range c.slots {
		if s.diff != nil {
			diffs.Put(s.diff)
		}
	}
	if c.spill != nil {
		c.spill.Close()
	}
	*c = changes{dir: c.dir}
}

// add takes the change of a page by a commit after those that it has. What came after a page was gone does not matter.
func (c *changes) add(e entry) error {
	s, there := c.slots[e.page]
	switch {
	case there && s.whole:
		return nil
	case !there:
		return c.insert(e)
	}
	if s.whole = e.kind == kindFull; s.whole {
		c.slots[e.page] = s
	}
	if s.diff != nil {
		return xorRuns(s.diff, e.runs)
	}
	var x [pageSize]byte
	if _, err := c.spill.ReadAt(x[:], s.at); err != nil {
		return err
	}
	if err := xorRuns(&x, e.runs); err != nil {
		return err
	}
	_, err := c.spill.WriteAt(x[:], s.at)
	return err
}

func (c *changes) insert(e entry) error {
	if c.slots == nil {
		c.slots = map[uint32]slot{}
	}
	x := diffs.Get().(*[pageSize]byte)
	clear(x[:])
	s := slot{sum: e.sum, whole: e.kind == kindFull, diff: x}
	if err := xorRuns(x, e.runs); err != nil {
		return err
	}
	if c.mem++; c.mem > memPages {
		if c.spill == nil {
			var err error
			if c.spill, err = os.CreateTemp(c.dir, "rewind-*"); err != nil {
				return err
			}
			os.Remove(c.spill.Name())
		}
		s.at, s.diff = c.next, nil
		c.next += pageSize
		_, err := c.spill.WriteAt(x[:], s.at)
		diffs.Put(x)
		if err != nil {
			return err
		}
	}
	c.slots[e.page] = s
	return nil
}

func (c *changes) each(f func(*Page) error) error {
	p := new(Page)
	for _, number := range slices.Sorted(maps.Keys(c.slots)) {
		s := c.slots[number]
		p.Number, p.Whole, p.sum = number, s.whole, s.sum
		if s.diff != nil {
			p.diff = *s.diff
		} else if _, err := c.spill.ReadAt(p.diff[:], s.at); err != nil {
			return err
		}
		if err := f(p); err != nil {
			return err
		}
	}
	return nil
}
