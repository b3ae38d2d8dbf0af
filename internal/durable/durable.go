// Package durable writes files that survive a power cut: single files that are replaced whole (WriteFile), and a store of
// blobs named by the SHA-256 of their content (Blobs). It is not a database and knows nothing of who needs a blob; package
// store keeps the references.
//
// Invariant: a path that this package has returned success for holds the whole content, on disk, and never a part of it.
// All functions and methods may be called concurrently; one directory of Blobs belongs to one process.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"atoll.dev/atoll/internal/fault"
)

// WriteFile makes path hold data: after a crash at any moment it has the old content or the new. The file's mode is perm,
// whatever the umask is.
func WriteFile(path string, data []byte, perm fs.FileMode) (err error) {
	defer func() { err = noSpace(err) }()
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	f, err := os.CreateTemp(dir, "."+base+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name()) // fails once renamed
	defer f.Close()
	if err := f.Chmod(perm); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncDir(dir)
}

// syncDir makes the names in a directory durable: rename(2) alone is not, see NOTES in fsync(2).
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// noSpace adds the fault that a client may see to the error of a full disk or an exhausted quota.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", fault.New(fault.Full, 10013, "The node has no disk space left for this."), err)
	}
	return err
}

// MakeDir makes a directory whose parent exists, where it is missing.
func MakeDir(path string, perm fs.FileMode) error {
	err := os.Mkdir(path, perm)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	return noSpace(err)
}
