package history

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

func TestRuns(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var x, y [pageSize]byte
		for range random.IntN(20) {
			from := random.IntN(pageSize)
			for i := from; i < min(pageSize, from+random.IntN(200)); i++ {
				x[i] = byte(random.IntN(3))
			}
		}
		runs := appendRuns(nil, &x)
		if len(runs) > pageSize+8 {
			t.Fatalf("%d bytes", len(runs))
		}
		if err := xorRuns(&y, runs); err != nil || x != y {
			t.Fatalf("%v: not the same after %d bytes", err, len(runs))
		}
	}
}

// record is a whole file of one commit.
func record() []byte {
	var x [pageSize]byte
	x[7], x[4000] = 1, 2
	b := appendHeader(nil, 0, place{mark: 5, pages: 3})
	from := len(b)
	b = appendBegin(b, 9)
	b = appendPage(b, kindDelta, 1, 11, &x)
	b = appendPage(b, kindFull, 3, 12, &x)
	return appendEnd(b, len(b), sum(b[from:]), place{mark: 9, pages: 2, frame: 4})
}

// FuzzScan reads files that are not what was written: it ends, and a record is the one that was written or none.
func FuzzScan(f *testing.F) {
	whole := record()
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(append(bytes.Clone(whole), whole[headerSize:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := newScanner(bytes.NewReader(b))
		if err != nil {
			return
		}
		c := changes{dir: t.TempDir()}
		defer c.close()
		for {
			e, err := s.next()
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, ErrDamaged) {
					t.Fatal(err)
				}
				break
			}
			if e.kind == kindDelta || e.kind == kindFull {
				if err := c.add(e); err != nil && !errors.Is(err, ErrDamaged) {
					t.Fatal(err)
				}
			}
		}
		if s.off > int64(len(b)) {
			t.Fatalf("%d bytes of %d", s.off, len(b))
		}
	})
}

// TestEveryBitCounts finds each bit of a record that is another.
func TestEveryBitCounts(t *testing.T) {
	whole := record()
	for i := headerSize; i < len(whole); i++ {
		b := bytes.Clone(whole)
		b[i] ^= 1 << (i % 8)
		s, err := newScanner(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = s.next()
		}
		if s.off != int64(headerSize) || !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d: %v after %d bytes", i, err, s.off)
		}
	}
}
