package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Process is one child. Its exit is watched by its pidfd and it is reaped only then: a blocking wait would swallow the
// stops that ptrace reports to a supervisor of the same child.
type Process struct {
	pid   int
	lent  grant
	pidfd *os.File
	setup *os.File // what goes wrong before the program runs; at its end once it does
	done  chan struct{}
	state ExitState // set before done is closed
}

// ExitState says how a process ended.
type ExitState struct {
	Code   int            // exit code, -1 where a signal ended it
	Signal syscall.Signal // 0 where it exited
	CPU    time.Duration  // user and system time of all its threads
}

func (e ExitState) String() string {
	if e.Signal != 0 {
		return "signal: " + e.Signal.String()
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

func (s *Sandbox) newProcess(pid int, lent grant, setup *os.File) (*Process, error) {
	// Nobody but newProcess waits for the child, so the pid is still its own. Non-blocking, so that the runtime's poller
	// and not a thread waits for its end.
	pidfd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
		setup.Close()
		return nil, fmt.Errorf("watch process: %w", err)
	}
	p := &Process{pid: pid, lent: lent, pidfd: os.NewFile(uintptr(pidfd), "pidfd"), setup: setup, done: make(chan struct{})}
	s.adopt(p)
	go func() {
		p.wait()
		s.forget(p)
		close(p.done)
	}()
	return p, nil
}

// ready waits until the program has been executed; where the set-up fails, the process is gone when it returns.
func (p *Process) ready() error {
	said, err := io.ReadAll(p.setup)
	p.setup.Close()
	if err == nil && len(said) > 0 {
		err = errors.New(string(said))
	}
	if err != nil {
		_ = p.Kill()
		<-p.done
	}
	return err
}

// Pid is the process's id in the node's PID namespace.
func (p *Process) Pid() int { return p.pid }

// UID is the user the process is on the host, -1 where it shares the node's.
func (p *Process) UID() int { return p.lent.uid }

// Done is closed once the process has ended and been reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitState tells how the process ended; it waits for Done.
func (p *Process) ExitState() ExitState {
	<-p.done
	return p.state
}

// Kill sends SIGKILL. It is no error if the process has already ended.
func (p *Process) Kill() error { return p.Signal(syscall.SIGKILL) }

// Signal sends sig by the pidfd, which cannot hit a later process of the same id.
func (p *Process) Signal(sig syscall.Signal) error {
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return nil // reaped: the descriptor is closed
	}
	if conn.Control(func(fd uintptr) { err = unix.PidfdSendSignal(int(fd), sig, nil, 0) }) != nil {
		return nil
	}
	if err != nil && err != unix.ESRCH {
		return fmt.Errorf("signal process %d: %w", p.pid, err)
	}
	return nil
}

// CPUTime is what all threads of the process have used so far, by its CPU clock: the clock id is made of the pid as
// in clock_getcpuclockid(3), with 2 for the scheduler's precise count. It is read for every request and many times a second,
// and does not wait: the runtime need not be told of the call, which would have it watch over it.
func (p *Process) CPUTime() (time.Duration, error) {
	var ts unix.Timespec
	_, _, err := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, uintptr(^p.pid<<3|2), uintptr(unsafe.Pointer(&ts)), 0)
	if err != 0 {
		select {
		case <-p.done:
			return p.state.CPU, nil
		default:
			return 0, fmt.Errorf("read CPU clock of process %d: %w", p.pid, err)
		}
	}
	return time.Duration(ts.Nano()), nil
}

// LimitFiles lowers what each file that the process writes to may come to, until it is called again: a write beyond that fails
// with EFBIG. The limit that the process was started with is the most there is.
func (p *Process) LimitFiles(bytes uint64) error {
	var l unix.Rlimit
	if err := unix.Prlimit(p.pid, unix.RLIMIT_FSIZE, nil, &l); err != nil {
		return fmt.Errorf("read limits of process %d: %w", p.pid, err)
	}
	l.Cur = min(bytes, l.Max)
	if err := unix.Prlimit(p.pid, unix.RLIMIT_FSIZE, &l, nil); err != nil {
		return fmt.Errorf("set limits of process %d: %w", p.pid, err)
	}
	return nil
}

// wait blocks until the process has exited, then reaps it.
func (p *Process) wait() {
	defer p.pidfd.Close()
	conn, err := p.pidfd.SyscallConn()
	if err == nil {
		err = conn.Read(func(fd uintptr) bool {
			ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(ready, 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
	}
	if err != nil { // no poller: let a thread wait
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(p.pidfd.Fd()), Events: unix.POLLIN}}, -1)
	}
	var ws unix.WaitStatus
	var ru unix.Rusage
	for {
		_, err = unix.Wait4(p.pid, &ws, 0, &ru)
		if err != unix.EINTR {
			break
		}
	}
	p.state = ExitState{Code: -1, CPU: time.Duration(ru.Utime.Nano() + ru.Stime.Nano())}
	if err == nil && ws.Signaled() {
		p.state.Signal = ws.Signal()
	} else if err == nil {
		p.state.Code = ws.ExitStatus()
	}
}
