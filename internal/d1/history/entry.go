package history

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A file of the history begins with a header, and goes on with records, one for each commit: what its pages were before.
//
//	header  magic, level, where the history was when the file began, checksum
//	record  'B' with the commit's mark; any number of pages; 'E' with where the history is after it, and a checksum of all
//	page    'D', or 'F'; the page's number; the checksum of what it was; the length; and what changed in it
//
// 'D' is the difference between the page before the commit and after, 'F' one to zeros: the page is not there after it.
// A page that was not there before the commit has no entry.
const (
	magic      = "atolld1h"
	headerSize = len(magic) + 4 + placeSize + 4
	placeSize  = 24
	entrySize  = 12

	kindBegin = 'B'
	kindDelta = 'D'
	kindFull  = 'F'
	kindEnd   = 'E'
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// place is a commit, and the end of what is recorded in the write-ahead log.
type place struct {
	mark  Mark
	pages uint32 // of the database
	salts [2]uint32
	frame uint32 // how many frames of the log of these salts are recorded
}

func (p place) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(p.mark))
	for _, v := range []uint32{p.pages, p.salts[0], p.salts[1], p.frame} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func readPlace(b []byte) place {
	at := func(i int) uint32 { return binary.BigEndian.Uint32(b[i:]) }
	return place{Mark(binary.BigEndian.Uint64(b)), at(8), [2]uint32{at(12), at(16)}, at(20)}
}

func appendHeader(b []byte, level byte, p place) []byte {
	from := len(b)
	b = p.append(append(append(b, magic...), level, 0, 0, 0))
	return binary.BigEndian.AppendUint32(b, sum(b[from:]))
}

// appendEntry adds one with a number and a checksum, and room for what follows.
func appendEntry(b []byte, kind byte, page, sum uint32, size int) []byte {
	b = append(b, kind, 0, byte(size>>8), byte(size))
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, page), sum)
}

func appendBegin(b []byte, to Mark) []byte {
	return appendEntry(b, kindBegin, uint32(to>>32), uint32(to), 0)
}

// appendPage adds a page's entry; x is the difference.
func appendPage(b []byte, kind byte, page, sum uint32, x *[pageSize]byte) []byte {
	from := len(b)
	b = appendRuns(appendEntry(b, kind, page, sum, 0), x)
	binary.BigEndian.PutUint16(b[from+2:], uint16(len(b)-from-entrySize))
	return b
}

// appendEnd ends the record whose bytes so far have the checksum.
func appendEnd(b []byte, from int, crc uint32, p place) []byte {
	b = p.append(appendEntry(b, kindEnd, 0, 0, placeSize+4))
	return binary.BigEndian.AppendUint32(b, crc32.Update(crc, castagnoli, b[from:]))
}

// appendRuns adds what of x is not zero: pairs of how many zeros and how many others, and the others.
func appendRuns(b []byte, x *[pageSize]byte) []byte {
	const gap = 8 // fewer zeros than this do not end a run
	for i, end := 0, 0; ; {
		for i+8 <= pageSize && binary.LittleEndian.Uint64(x[i:]) == 0 {
			i += 8
		}
		for i < pageSize && x[i] == 0 {
			i++
		}
		if i == pageSize {
			return b
		}
		from, zeros := i, 0
		for ; i < pageSize && zeros < gap; i++ {
			if zeros++; x[i] != 0 {
				zeros = 0
			}
		}
		to := i - zeros
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(from-end)), uint64(to-from))
		b = append(b, x[from:to]...)
		end = to
	}
}

// xorRuns puts a difference into x.
func xorRuns(x *[pageSize]byte, runs []byte) error {
	for at := 0; len(runs) > 0; {
		skip, n := binary.Uvarint(runs)
		if n <= 0 || skip > pageSize {
			return ErrDamaged
		}
		size, m := binary.Uvarint(runs[n:])
		if m <= 0 || size > pageSize || at+int(skip)+int(size) > pageSize || len(runs)-n-m < int(size) {
			return ErrDamaged
		}
		at += int(skip)
		for i, v := range runs[n+m : n+m+int(size)] {
			x[at+i] ^= v
		}
		at += int(size)
		runs = runs[n+m+int(size):]
	}
	return nil
}

// xor is the difference of two pages.
func xor(x *[pageSize]byte, a, b []byte) {
	for i := 0; i < pageSize; i += 8 {
		binary.LittleEndian.PutUint64(x[i:], binary.LittleEndian.Uint64(a[i:])^binary.LittleEndian.Uint64(b[i:]))
	}
}

// ErrDamaged is the error of a history that is not what was written.
var ErrDamaged = errors.New("the history is damaged")

// entry is what a scanner has read. Its bytes are valid until the next one.
type entry struct {
	kind byte
	page uint32
	sum  uint32
	runs []byte
	to   Mark  // of a begin
	end  place // of an end
}

// scanner reads a file.
type scanner struct {
	r     *bufio.Reader
	off   int64 // after the last whole record
	read  int64
	crc   uint32
	buf   []byte
	begun bool
	level byte
	start place
}

func newScanner(r io.Reader) (*scanner, error) {
	s := &scanner{r: bufio.NewReaderSize(r, 64<<10), buf: make([]byte, 1<<16)}
	head, err := s.r.Peek(headerSize)
	if err != nil || string(head[:len(magic)]) != magic || sum(head[:headerSize-4]) != binary.BigEndian.Uint32(head[headerSize-4:]) {
		return nil, fmt.Errorf("header: %w", ErrDamaged)
	}
	s.level, s.start = head[len(magic)], readPlace(head[len(magic)+4:])
	s.r.Discard(headerSize)
	s.off, s.read = int64(headerSize), int64(headerSize)
	return s, nil
}

// next reads an entry: io.EOF is after the last whole record, ErrDamaged anywhere else.
func (s *scanner) next() (e entry, err error) {
	head := s.buf[:entrySize]
	if n, err := io.ReadFull(s.r, head); err != nil {
		if n == 0 && !s.begun && errors.Is(err, io.EOF) {
			return e, io.EOF
		}
		return e, ErrDamaged
	}
	size := int(binary.BigEndian.Uint16(head[2:]))
	e = entry{kind: head[0], page: binary.BigEndian.Uint32(head[4:]), sum: binary.BigEndian.Uint32(head[8:])}
	body := s.buf[entrySize : entrySize+min(size, len(s.buf)-entrySize)]
	if _, err := io.ReadFull(s.r, body); err != nil {
		return e, ErrDamaged
	}
	s.read += int64(entrySize + len(body))
	switch {
	case e.kind == kindBegin && !s.begun && size == 0:
		s.begun, s.crc, e.to = true, sum(head), Mark(e.page)<<32|Mark(e.sum)
	case (e.kind == kindDelta || e.kind == kindFull) && s.begun && e.page > 0:
		s.crc = crc32.Update(crc32.Update(s.crc, castagnoli, head), castagnoli, body)
		e.runs = body
	case e.kind == kindEnd && s.begun && size == placeSize+4:
		s.crc = crc32.Update(crc32.Update(s.crc, castagnoli, head), castagnoli, body[:placeSize])
		if s.crc != binary.BigEndian.Uint32(body[placeSize:]) {
			return e, ErrDamaged
		}
		e.end, s.begun, s.off = readPlace(body), false, s.read
	default:
		return e, ErrDamaged
	}
	return e, nil
}
