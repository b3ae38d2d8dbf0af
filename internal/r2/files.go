package r2

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// files is a directory of files that are written once, under names of their own: DIR/ab/abcdef.... Names by content would
// store equal objects once, but tell tenants of each other what they store, and need a count of users for each file.
type files struct {
	dir string

	mu      sync.Mutex
	writing map[string]bool // that no row names yet
}

var fileName = regexp.MustCompile(`^[0-9a-f]{32}$`)

func openFiles(dir string) (*files, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open objects: %w", noSpace(err))
	}
	for i := range 256 {
		if err := os.MkdirAll(filepath.Join(dir, fmt.Sprintf("%02x", i)), 0o700); err != nil {
			return nil, fmt.Errorf("open objects: %w", noSpace(err))
		}
	}
	if err := errors.Join(syncDir(dir), syncDir(filepath.Dir(dir))); err != nil {
		return nil, fmt.Errorf("open objects: %w", err)
	}
	return &files{dir: dir, writing: map[string]bool{}}, nil
}

func (f *files) path(name string) string { return filepath.Join(f.dir, name[:2], name) }

// create makes a new file, which is being written until release.
func (f *files) create() (*os.File, string, error) {
	name := atoll.NewID()
	f.mu.Lock()
	f.writing[name] = true
	f.mu.Unlock()
	file, err := os.OpenFile(f.path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		f.release(name)
		return nil, "", fmt.Errorf("create object: %w", noSpace(err))
	}
	return file, name, nil
}

// finish makes a file that was written durable, under its name.
func (f *files) finish(file *os.File, name string) error {
	if err := file.Sync(); err != nil {
		return fmt.Errorf("write object: %w", noSpace(err))
	}
	if err := syncDir(filepath.Dir(f.path(name))); err != nil {
		return fmt.Errorf("write object: %w", noSpace(err))
	}
	return nil
}

// release says that the fate of a file is decided: a row names it, or it is removed.
func (f *files) release(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.writing, name)
}

func (f *files) isWriting(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writing[name]
}

func (f *files) open(name string) (*os.File, error) { return os.Open(f.path(name)) }

func (f *files) remove(name string) error {
	if err := os.Remove(f.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove object: %w", err)
	}
	return nil
}

// syncDir makes the names in a directory durable, see NOTES in fsync(2).
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// noSpace adds the fault that a client may see to the error of a full disk.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", fault.New(fault.Full, CodeInternal, "The node has no disk space left for this."), err)
	}
	return err
}
