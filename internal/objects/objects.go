// Package objects keeps the storage of Durable Objects: a directory for each class, in which the engine keeps one SQLite file
// for each object, and one with the alarms of all of them.
//
// It is not where objects run, and it knows nothing of scripts: package isolate starts a process with the directories of
// its classes, package store knows which classes there are.
//
// # Invariant
//
// A class's directory is used by one process at a time. The kernel sees to it: whoever takes the directory locks a file
// beside it, by an open file description that the process inherits, so that the lock is held until the last of the two has
// ended, also when the node is killed and another one starts before its processes are gone.
//
// # Concurrency
//
// A Store may be used concurrently.
package objects

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"atoll.dev/atoll/internal/durable"
)

// Store is the storage of all Durable Objects of a node.
type Store struct {
	lg   *slog.Logger
	root string

	smallReads, largeReads chan struct{} // hold a token for each file of alarms that is being read

	alarmsMu sync.Mutex
	alarms   map[string]stamped // by class
}

// Open opens DIR/objects, and makes it where it is missing.
func Open(lg *slog.Logger, dir string) (*Store, error) {
	root, err := filepath.Abs(filepath.Join(dir, "objects"))
	if err == nil {
		err = os.MkdirAll(root, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("open storage of Durable Objects: %w", err)
	}
	return &Store{lg: lg, root: root, alarms: map[string]stamped{},
		smallReads: make(chan struct{}, smallReads), largeReads: make(chan struct{}, 1)}, nil
}

// Root is the directory that holds those of the classes, each named by its class's id.
func (s *Store) Root() string { return s.root }

func (s *Store) dir(class string) string  { return filepath.Join(s.root, class) }
func (s *Store) lock(class string) string { return filepath.Join(s.root, class+".lock") }

// lockPause is how long to wait for a process to end before looking again.
const lockPause = 5 * time.Millisecond

// Take waits until nobody uses the class's directory, makes it where it is missing, and locks it. The lock is held while
// any descriptor of the file that is returned is open, in whichever process.
func (s *Store) Take(ctx context.Context, class string) (dir string, lock *os.File, err error) {
	if !isID(class) {
		return "", nil, fmt.Errorf("%q is not the id of a class", class)
	}
	lock, err = s.acquire(ctx, class)
	if err != nil {
		return "", nil, fmt.Errorf("lock storage of class %s: %w", class, err)
	}
	if err := durable.MakeDir(s.dir(class), 0o700); err != nil {
		lock.Close()
		return "", nil, fmt.Errorf("make storage of class %s: %w", class, err)
	}
	return s.dir(class), lock, nil
}

func (s *Store) acquire(ctx context.Context, class string) (*os.File, error) {
	for {
		f, err := s.try(class)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(lockPause):
		}
	}
}

// try locks the class's file; EWOULDBLOCK where somebody else has.
func (s *Store) try(class string) (*os.File, error) {
	path := s.lock(class)
	// To read only: the process that inherits it cannot fill it.
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	// Whoever removes a class removes the file under its lock: it may be another one by now.
	var locked, named unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &locked); err != nil {
		f.Close()
		return nil, err
	}
	if err := unix.Stat(path, &named); err != nil || named.Ino != locked.Ino {
		f.Close()
		return nil, unix.EWOULDBLOCK
	}
	return f, nil
}

// isID tells whether a class's id can be the name of a directory.
func isID(class string) bool {
	if len(class) != 32 {
		return false
	}
	return strings.Trim(class, "0123456789abcdef") == ""
}

// Sweep deletes the storage of every class that is not known, unless a process uses it, which makes it busy. Known is asked
// for once the storage has been listed: what is made meanwhile stays.
func (s *Store) Sweep(known func() (func(class string) bool, error)) (busy bool, err error) {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return false, fmt.Errorf("list storage of Durable Objects: %w", err)
	}
	if len(entries) == 0 {
		return false, nil
	}
	keep, err := known()
	if err != nil {
		return false, fmt.Errorf("list classes of Durable Objects: %w", err)
	}
	var errs []error
	for _, e := range entries {
		class := strings.TrimSuffix(e.Name(), ".lock")
		if !isID(class) || keep(class) {
			continue
		}
		switch err := s.remove(class); {
		case errors.Is(err, unix.EWOULDBLOCK):
			busy = true
		case err != nil:
			errs = append(errs, fmt.Errorf("delete storage of class %s: %w", class, err))
		default:
			s.lg.Info("storage of Durable Objects deleted", "class", class)
		}
	}
	return busy, errors.Join(errs...)
}

// remove deletes a class's directory and its lock.
func (s *Store) remove(class string) error {
	f, err := s.try(class)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.RemoveAll(s.dir(class)); err != nil {
		return err
	}
	if err := os.Remove(s.lock(class)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
