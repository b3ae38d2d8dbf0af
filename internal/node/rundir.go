package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// dirLock keeps a second node out of a data directory. Its file names the holder's run directory: who comes after a node that
// was killed removes it.
type dirLock struct{ *os.File }

func lockDir(data string) (dirLock, error) {
	f, err := os.OpenFile(filepath.Join(data, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return dirLock{}, fmt.Errorf("open lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return dirLock{}, fmt.Errorf("lock %s: another node uses it: %w", data, err)
	}
	return dirLock{f}, nil
}

// makeRunDir makes the holder's run directory.
func (l dirLock) makeRunDir() (runDir, error) {
	var b [107]byte
	n, _ := l.ReadAt(b[:], 0) // it is empty where there was no node before
	if old := runDir(b[:n]); strings.HasPrefix(filepath.Base(string(old)), runPrefix) {
		_ = old.Close() // it is in nobody's way
	}
	run, err := makeRunDir()
	if err != nil {
		return "", err
	}
	if _, err := l.WriteAt([]byte(run), 0); err == nil { // on a full disk it stays behind where the node is killed
		_ = l.Truncate(int64(len(run)))
	}
	return run, nil
}

// runDir is the directory of the processes' sockets. Close removes it.
type runDir string

const runPrefix = "atoll-run-"

// makeRunDir makes one. The path of a socket may have 107 bytes (unix(7)), of which
// "/atoll-run-1234567890/isolates/<32 digits>/out/sock" takes 72: the data directory is no place for it, and a long
// $TMPDIR gives way to /tmp.
func makeRunDir() (runDir, error) {
	parent := os.TempDir()
	if len(parent) > 107-72 {
		parent = "/tmp"
	}
	run, err := os.MkdirTemp(parent, runPrefix)
	if err == nil {
		err = os.Chmod(run, 0o711)
	}
	if err != nil {
		return "", fmt.Errorf("make run directory: %w", err)
	}
	return runDir(run), nil
}

func (r runDir) isolates() string { return filepath.Join(string(r), "isolates") }

func (r runDir) Close() error { return os.RemoveAll(string(r)) }
