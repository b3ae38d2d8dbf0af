package d1

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// reserve makes sure that the file can become so large, where its file system knows how.
func reserve(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}
