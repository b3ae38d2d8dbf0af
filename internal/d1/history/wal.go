package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// wal reads a database's write-ahead log, https://sqlite.org/fileformat2.html#the_write_ahead_log, as far as it is
// committed.
type wal struct {
	path string
	main *os.File // the database, as it was last checkpointed
	f    *os.File

	order  binary.ByteOrder // of the checksums
	salts  [2]uint32
	frame  uint32    // how many are read
	check  [2]uint32 // the checksum after them
	latest []uint32  // the last frame of each page, from 1

	chunk  []byte // frames that were read together
	first  uint32 // the first of them
	frames uint32
}

const (
	walHeader = 32
	frameHead = 24
	frameSize = frameHead + pageSize
)

func (w *wal) close() {
	if w.f != nil {
		w.f.Close()
	}
	*w = wal{path: w.path, main: w.main, chunk: w.chunk[:0]}
}

// begin reads the header, and starts anew where the log has. It tells whether there is a log.
func (w *wal) begin() (bool, error) {
	if w.f == nil {
		f, err := os.Open(w.path)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		w.f = f
	}
	w.frames = 0 // what was read ahead may be another now
	var head [walHeader]byte
	if _, err := w.f.ReadAt(head[:], 0); errors.Is(err, io.EOF) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	u32 := func(i int) uint32 { return binary.BigEndian.Uint32(head[i:]) }
	salts := [2]uint32{u32(16), u32(20)}
	if w.order != nil && salts == w.salts {
		return true, nil
	}
	var order binary.ByteOrder = binary.LittleEndian
	if u32(0)&1 != 0 {
		order = binary.BigEndian
	}
	check := walSum(order, [2]uint32{}, head[:24])
	if u32(0)&^1 != 0x377f0682 || u32(8) != pageSize || check != [2]uint32{u32(24), u32(28)} {
		return false, nil // it was never written whole: there is no frame of it
	}
	w.order, w.salts, w.check, w.frame = order, salts, check, 0
	clear(w.latest)
	return true, nil
}

func walSum(order binary.ByteOrder, s [2]uint32, b []byte) [2]uint32 {
	s0, s1 := s[0], s[1]
	if order == binary.ByteOrder(binary.LittleEndian) {
		for ; len(b) >= 8; b = b[8:] {
			s0 += binary.LittleEndian.Uint32(b) + s1
			s1 += binary.LittleEndian.Uint32(b[4:]) + s0
		}
		return [2]uint32{s0, s1}
	}
	for ; len(b) >= 8; b = b[8:] {
		s0 += binary.BigEndian.Uint32(b) + s1
		s1 += binary.BigEndian.Uint32(b[4:]) + s0
	}
	return [2]uint32{s0, s1}
}

// at returns a frame, from 1, and nil after the last there is. It is valid until the next one.
func (w *wal) at(n uint32) ([]byte, error) {
	if n < w.first || n >= w.first+w.frames {
		size := 8
		if w.frames > 0 && n == w.first+w.frames {
			size = 64
		}
		if cap(w.chunk) < size*frameSize {
			w.chunk = make([]byte, size*frameSize)
		}
		m, err := w.f.ReadAt(w.chunk[:size*frameSize], walHeader+int64(n-1)*frameSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		w.first, w.frames = n, uint32(m/frameSize)
		if w.frames == 0 {
			return nil, nil
		}
	}
	from := int(n-w.first) * frameSize
	return w.chunk[:cap(w.chunk)][from : from+frameSize], nil
}

// transaction is one that is committed.
type transaction struct {
	first  uint32   // frame
	pages  []uint32 // that the frames are of
	size   uint32   // of the database after it, in pages
	check  [2]uint32
	head   [pageSize]byte // the first page, where it is among them
	first1 bool
}

// next reads the next transaction, nil after the last.
func (w *wal) next(t *transaction) (bool, error) {
	t.first, t.pages, t.first1 = w.frame+1, t.pages[:0], false
	check := w.check
	for n := t.first; ; n++ {
		b, err := w.at(n)
		if err != nil || b == nil {
			return false, err
		}
		u32 := func(i int) uint32 { return binary.BigEndian.Uint32(b[i:]) }
		if u32(0) == 0 || [2]uint32{u32(8), u32(12)} != w.salts {
			return false, nil
		}
		check = walSum(w.order, walSum(w.order, check, b[:8]), b[frameHead:])
		if check != [2]uint32{u32(16), u32(20)} {
			return false, nil
		}
		if t.pages = append(t.pages, u32(0)); u32(0) == 1 {
			copy(t.head[:], b[frameHead:])
			t.first1 = true
		}
		if t.size = u32(4); t.size != 0 {
			t.check = check
			return true, nil
		}
	}
}

// done goes behind a transaction.
func (w *wal) done(t *transaction) {
	for i, page := range t.pages {
		if int(page) >= len(w.latest) {
			w.latest = append(w.latest, make([]uint32, max(int(page)+1-len(w.latest), len(w.latest)/2))...)
		}
		w.latest[page] = t.first + uint32(i)
	}
	w.frame, w.check = t.first+uint32(len(t.pages))-1, t.check
}

// page reads what a page is after the transactions that are done.
func (w *wal) page(page uint32, to *[pageSize]byte) error {
	if int(page) < len(w.latest) && w.latest[page] != 0 {
		n := w.latest[page]
		if n >= w.first && n < w.first+w.frames {
			copy(to[:], w.chunk[:cap(w.chunk)][int(n-w.first)*frameSize+frameHead:])
			return nil
		}
		if _, err := w.f.ReadAt(to[:], walHeader+int64(n-1)*frameSize+frameHead); err != nil {
			return fmt.Errorf("read frame %d of %s: %w", n, w.path, err)
		}
		return nil
	}
	n, err := w.main.ReadAt(to[:], int64(page-1)*pageSize)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	clear(to[n:])
	return err
}

// stamp is the mark that a database's first page has.
func stamp(page []byte) Mark {
	return Mark(binary.BigEndian.Uint32(page[68:]))<<32 | Mark(binary.BigEndian.Uint32(page[60:]))
}
