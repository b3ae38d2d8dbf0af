package sandbox

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// elfCache remembers which libraries a program needs, until its file changes.
type elfCache struct {
	mu    sync.Mutex
	known map[elfKey][]mount
}

type elfKey struct {
	path string
	size int64
	when time.Time
}

// libraries lists what must be in the root for the program at path to start: its loader and its shared libraries, at
// the paths they have here, which are the loader's built-in ones. A static program needs nothing.
func (c *elfCache) libraries(path string) ([]mount, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("find program: %w", err)
	}
	key := elfKey{path, info.Size(), info.ModTime()}
	c.mu.Lock()
	libs, ok := c.known[key]
	c.mu.Unlock()
	if ok {
		return libs, nil
	}
	libs, err = resolve(path)
	if err != nil {
		return nil, fmt.Errorf("find libraries of %s: %w", path, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[elfKey][]mount{}
	}
	c.known[key] = libs
	return libs, nil
}

func resolve(path string) ([]mount, error) {
	loader, err := interpreter(path)
	if err != nil || loader == "" {
		return nil, err
	}
	// The loader's own answer is the only one that cannot differ from what it will do; --list runs nothing of the program.
	list := exec.Command(loader, "--list", path)
	list.Env = []string{}
	out, err := list.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return nil, err
	}
	mounts := []mount{{Host: loader, Guest: loader, Exec: true, Run: true}}
	libc := ""
	for _, lib := range parseList(string(out)) {
		if lib == loader {
			continue
		}
		mounts = append(mounts, mount{Host: lib, Guest: lib, Exec: true})
		if strings.HasPrefix(filepath.Base(lib), "libc.") {
			libc = lib
		}
	}
	// glibc loads this one by name when a thread is cancelled or a stack is walked (pthread_cancel, backtrace).
	const unwind = "libgcc_s.so.1"
	if libc != "" && !strings.Contains(string(out), unwind) {
		gcc := filepath.Join(filepath.Dir(libc), unwind)
		mounts = append(mounts, mount{Host: gcc, Guest: gcc, Exec: true, Optional: true})
	}
	return mounts, nil
}

// interpreter is the program's loader, "" for a static program.
func interpreter(path string) (string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > 4096 {
			continue
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			return "", err
		}
		return string(bytes.TrimRight(b, "\x00")), nil
	}
	return "", nil
}

// parseList reads lines such as "libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f...)", as ldd(1) prints them.
func parseList(out string) []string {
	var libs []string
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if _, right, ok := strings.Cut(line, "=> "); ok {
			line = right
		}
		path, _, _ := strings.Cut(line, " (0x")
		if filepath.IsAbs(path) {
			libs = append(libs, path)
		}
	}
	return libs
}
