package objects

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Usage returns how many bytes of the disk a class's objects take.
func (s *Store) Usage(class string) (bytes int64, err error) {
	if !isID(class) {
		return 0, fmt.Errorf("%q is not the id of a class", class)
	}
	dir, err := os.Open(s.dir(class))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("measure storage of class %s: %w", class, err)
	}
	defer dir.Close()
	for {
		entries, err := dir.ReadDir(1024)
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				continue // it is gone
			}
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				bytes += 512 * st.Blocks
			}
		}
		if errors.Is(err, io.EOF) {
			return bytes, nil
		}
		if err != nil {
			return 0, fmt.Errorf("measure storage of class %s: %w", class, err)
		}
	}
}
