package kv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A value above maxInline bytes is kept as chunks under a number of its own and never changes: a put stages its chunks,
// then an entry takes them over; so neither side ever holds a value whole. Until an entry names it, and after, a large
// value stands in the table garbage, and is deleted unless someone pins it.
const (
	maxInline = 1 << 20
	chunkSize = 1 << 20
)

// pins are the large values in use: being written or read.
type pins struct {
	mu    sync.Mutex
	refs  map[int64]int
	dying map[int64]bool // being deleted
}

// pin keeps the chunks of one large value from being deleted.
type pin struct {
	st    *Store
	large int64
	once  sync.Once
}

// pin returns nil where the value is being deleted.
func (s *Store) pin(large int64) *pin {
	s.pins.mu.Lock()
	defer s.pins.mu.Unlock()
	if s.pins.dying[large] {
		return nil
	}
	s.pins.refs[large]++
	return &pin{st: s, large: large}
}

// pinRead is pin for a reader, whose entry may be so old that the value is not being deleted but gone.
func (s *Store) pinRead(ctx context.Context, large int64) (*pin, error) {
	p := s.pin(large)
	if p == nil {
		return nil, nil
	}
	var there bool
	err := s.readers.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM chunks WHERE large = ? AND seq = 0)`, large).
		Scan(&there)
	if err != nil || !there {
		p.release()
		return nil, err
	}
	return p, nil
}

func (p *pin) release() {
	p.once.Do(func() {
		ps := &p.st.pins
		ps.mu.Lock()
		defer ps.mu.Unlock()
		if ps.refs[p.large]--; ps.refs[p.large] == 0 {
			delete(ps.refs, p.large)
		}
	})
}

// condemn marks a value as being deleted, unless it is pinned.
func (s *Store) condemn(large int64) bool {
	s.pins.mu.Lock()
	defer s.pins.mu.Unlock()
	if s.pins.refs[large] > 0 {
		return false
	}
	s.pins.dying[large] = true
	return true
}

// bury takes the mark away, whether the value was deleted or could not be.
func (s *Store) bury(large int64) {
	s.pins.mu.Lock()
	defer s.pins.mu.Unlock()
	delete(s.pins.dying, large)
}

// Close lets go of a value.
func (v Value) Close() error {
	if v.pin != nil {
		v.pin.release()
	}
	return nil
}

// Bytes returns the whole value. The caller must not change it.
func (v Value) Bytes() ([]byte, error) {
	if v.pin == nil {
		return v.data, nil
	}
	b := make([]byte, 0, v.Size)
	_, err := v.WriteTo(writerFunc(func(p []byte) (int, error) {
		b = append(b, p...)
		return len(p), nil
	}))
	return b, err
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// WriteTo writes the value, holding at most a chunk of it in memory.
func (v Value) WriteTo(w io.Writer) (int64, error) {
	if v.pin == nil {
		n, err := w.Write(v.data)
		return int64(n), err
	}
	var written int64
	for seq := 0; written < v.Size; seq++ {
		var chunk []byte
		err := v.pin.st.readers.QueryRowContext(context.Background(),
			`SELECT data FROM chunks WHERE large = ? AND seq = ?`, v.pin.large, seq).Scan(&chunk)
		if err != nil {
			return written, fmt.Errorf("read chunk %d of large value %d: %w", seq, v.pin.large, err)
		}
		n, err := w.Write(chunk)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// stage writes chunk and then the rest of body as chunks, and returns the pin on them and their size. The caller releases
// the pin once an entry names the value or the put failed. Past MaxValue it reads on, to say by how much, but writes no
// more.
func (s *Store) stage(ctx context.Context, sp *space, chunk []byte, body io.Reader) (*pin, int64, error) {
	p := s.pin(s.nextLarge.Add(1))
	size, last := int64(0), false
	for seq := 0; ; seq++ {
		size += int64(len(chunk))
		if size > MaxValue {
			p.release()
			rest, err := io.Copy(io.Discard, body)
			return nil, 0, errors.Join(valueTooLarge(size+rest), err)
		}
		if len(chunk) > 0 {
			if err := s.stageChunk(ctx, sp, p.large, seq, chunk); err != nil {
				p.release()
				return nil, 0, err
			}
		}
		if last {
			return p, size, nil
		}
		n, err := readChunk(chunk[:chunkSize], body)
		chunk = chunk[:n]
		last = errors.Is(err, io.EOF)
		if err != nil && !last {
			p.release()
			return nil, 0, fmt.Errorf("read value: %w", err)
		}
	}
}

// readChunk reads until b is full or the reader ends, and returns the reader's own error: io.ReadFull has
// io.ErrUnexpectedEOF for a last chunk that is short, and so has net/http for a body that broke off, of which nothing may
// be kept.
func readChunk(b []byte, r io.Reader) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = r.Read(b[n:])
		n += m
	}
	return n, err
}

func (s *Store) stageChunk(ctx context.Context, sp *space, large int64, seq int, data []byte) error {
	return s.writer.do(ctx, &write{space: sp, bytes: len(data), apply: func(t *tx) error {
		if seq == 0 {
			if err := t.exec(`INSERT OR IGNORE INTO garbage (large) VALUES (?)`, large); err != nil {
				return err
			}
		}
		return t.exec(`INSERT OR REPLACE INTO chunks (large, seq, data) VALUES (?, ?, ?)`, large, seq, data)
	}})
}
