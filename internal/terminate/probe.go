package terminate

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Probe tells why processes cannot be terminated here, nil where they can. It tries everything on a process of the
// engine, without ending anything in it.
func (e *Engine) Probe(pid int) error {
	t, err := e.Attach(pid)
	if err != nil {
		return denied(err, yamaScope)
	}
	defer t.Close()
	err = t.stopped(func(s *stop) error {
		if _, err := s.call(isCurrent, 0); err != nil {
			return err
		}
		if err := s.watch(t.slot(), t.function(taken)); err != nil {
			return fmt.Errorf("%w: %w", ErrNoWatch, err)
		}
		return nil
	})
	return denied(err, yamaScope)
}

const yamaScope = "/proc/sys/kernel/yama/ptrace_scope"

// denied adds to a refusal what an operator can do about it: Documentation/admin-guide/LSM/Yama.rst of the kernel.
func denied(err error, scopeFile string) error {
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		return err
	}
	scope, readErr := os.ReadFile(scopeFile)
	switch string(bytes.TrimSpace(scope)) {
	case "1":
		return fmt.Errorf("%w; the node must be an ancestor of the process (kernel.yama.ptrace_scope is 1)", err)
	case "2":
		return fmt.Errorf("%w; only with CAP_SYS_PTRACE, or set kernel.yama.ptrace_scope to 1", err)
	case "3":
		return fmt.Errorf("%w; ptrace is off (kernel.yama.ptrace_scope is 3, which only a reboot changes)", err)
	}
	if readErr == nil || errors.Is(readErr, os.ErrNotExist) {
		return fmt.Errorf("%w; a security module or a seccomp filter, such as a container's, denies ptrace", err)
	}
	return err
}
