package api

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"atoll.dev/atoll/internal/fault"
)

// maxSpoolMemory is how much of a spool stays in memory.
const maxSpoolMemory = 1 << 20

// spool is a body that has to be read twice, or later: in memory where it is small, else in a file without a name.
type spool struct {
	mem  []byte
	file *os.File // nil: all is in mem
	size int64
}

// newSpool reads r to its end. Past limit it reads on, to say by how much, but keeps nothing.
func newSpool(r io.Reader, limit int64) (*spool, error) {
	head, err := io.ReadAll(io.LimitReader(r, min(maxSpoolMemory, limit)+1))
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	s := &spool{mem: head, size: int64(len(head))}
	if s.size > maxSpoolMemory && s.size <= limit {
		if err := s.spill(io.LimitReader(r, limit+1-s.size)); err != nil {
			s.close()
			return nil, fmt.Errorf("read body: %w", err)
		}
	}
	if s.size > limit {
		s.close()
		rest, err := io.Copy(io.Discard, r)
		if err != nil {
			return nil, fmt.Errorf("read body: %w", err)
		}
		return nil, fault.Newf(fault.TooLarge, 10024, "Value length of %d exceeds limit of %d.", s.size+rest, limit)
	}
	return s, nil
}

// spill moves what is in memory to a file, and what r has after it.
func (s *spool) spill(r io.Reader) (err error) {
	if s.file, err = os.CreateTemp("", "atoll-body-*"); err != nil {
		return err
	}
	if err := os.Remove(s.file.Name()); err != nil {
		return err
	}
	s.size, err = io.Copy(s.file, io.MultiReader(bytes.NewReader(s.mem), r))
	s.mem = nil
	return err
}

// reader returns a reader from the start.
func (s *spool) reader() io.Reader {
	if s.file == nil {
		return bytes.NewReader(s.mem)
	}
	return io.NewSectionReader(s.file, 0, s.size)
}

func (s *spool) close() {
	if s.file != nil {
		s.file.Close() // removed already
	}
}
