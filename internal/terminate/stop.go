package terminate

import (
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stop is the time in which a target's main thread is traced. It begins with the thread stopped.
type stop struct {
	t        *Target
	timeout  time.Duration // how long the thread may take to stop
	running  bool          // not in a ptrace stop
	borrowed bool          // the thread's registers are not its own but those of a call
	saved    registers     // where borrowed: its own
	mask     uint64        // where borrowed: the signals it blocks
	watching bool          // a watchpoint is set
}

// The bounds of what takes microseconds. A thread that takes longer waits for a disk, or is starved, or is stuck.
const (
	stopTimeout = 2 * time.Second
	callTimeout = time.Second
)

var (
	// errLate says that a stop did not come in time. The thread is running.
	errLate = errors.New("the thread does not stop")
	errCall = errors.New("the process does not bear a call")
)

// stopped calls f while the process's main thread is stopped, and lets the thread go on afterwards as if nothing had been.
func (t *Target) stopped(f func(*stop) error) error { return t.stoppedWithin(stopTimeout, f) }

// stoppedWithin is stopped for a thread that may take longer to stop.
func (t *Target) stoppedWithin(d time.Duration, f func(*stop) error) (err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended() {
		return ErrGone
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(t.pid); err != nil {
		if t.ending() {
			return ErrGone
		}
		return fmt.Errorf("seize: %w", t.explain(err))
	}
	s := &stop{t: t, timeout: d, running: true}
	defer func() { err = errors.Join(err, s.release()) }()
	if _, err := s.interrupt(); err != nil {
		return err
	}
	// If this thread ends, with the node, the process must not go on with borrowed registers.
	if err := unix.PtraceSetOptions(t.pid, unix.PTRACE_O_EXITKILL); err != nil {
		return t.explain(err)
	}
	return f(s)
}

// release gives the thread back what is its own and detaches.
func (s *stop) release() error {
	if s.running || s.t.ended() {
		return nil // either an error has been told already, or there is nothing to detach from
	}
	err := s.restore()
	if s.watching {
		err = errors.Join(err, s.watch(0))
	}
	err = errors.Join(err, s.t.explain(unix.PtraceDetach(s.t.pid)))
	if err != nil && s.t.ended() {
		return nil
	}
	return err
}

// event is why a thread has stopped.
type event struct {
	kind   eventKind
	signal unix.Signal // where signalled
}

type eventKind int

const (
	interrupted eventKind = iota // by PTRACE_INTERRUPT, or with its whole process (a group-stop)
	signalled                    // it is about to take a signal
	trapped                      // it has run into a watchpoint
)

// interrupt stops the thread. It returns another event than interrupted where the thread has run into a watchpoint, in
// which case the interruption is still to come.
func (s *stop) interrupt() (event, error) {
	if err := unix.PtraceInterrupt(s.t.pid); err != nil {
		return event{}, fmt.Errorf("interrupt: %w", s.t.explain(err))
	}
	late := after(s.timeout)
	for {
		e, err := s.wait(late)
		if err != nil || e.kind != signalled {
			return e, err
		}
		if err := s.cont(e.signal); err != nil {
			return event{}, err
		}
	}
}

// resume lets the thread go on with its own registers, taking signal, until its next stop. After errLate it is running.
func (s *stop) resume(late func() bool, signal unix.Signal) (event, error) {
	if err := s.restore(); err != nil {
		return event{}, err
	}
	if err := s.cont(signal); err != nil {
		return event{}, err
	}
	return s.wait(late)
}

func (s *stop) cont(signal unix.Signal) error {
	if err := unix.PtraceCont(s.t.pid, int(signal)); err != nil {
		return fmt.Errorf("continue: %w", s.t.explain(err))
	}
	s.running = true
	return nil
}

// wait waits for the next stop. A blocking wait could not be given up.
func (s *stop) wait(late func() bool) (event, error) {
	nap := 20 * time.Microsecond
	for n := 0; ; n++ {
		status, err := stopStatus(s.t.pid)
		if err != nil {
			return event{}, err
		}
		if status != 0 {
			s.running = false
			return s.classify(status)
		}
		if n < 10 { // often it is a matter of microseconds, when another processor does it
			continue
		}
		if s.t.ended() {
			return event{}, ErrGone
		}
		if late() {
			return event{}, errLate
		}
		pause(nap)
		nap = min(2*nap, time.Millisecond)
	}
}

func after(d time.Duration) (late func() bool) {
	end := time.Now().Add(d)
	return func() bool { return time.Now().After(end) }
}

// pause sleeps more precisely than the runtime's timers, which round up to a millisecond.
func pause(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&ts, nil)
}

// classify reads the status of a stop: a signal and, above its byte, a ptrace event (ptrace(2)).
func (s *stop) classify(status int) (event, error) {
	signal := unix.Signal(status & 0xff)
	if status>>8 == unix.PTRACE_EVENT_STOP {
		return event{kind: interrupted}, nil
	}
	if signal != unix.SIGTRAP {
		return event{signalled, signal}, nil
	}
	const trapHardware = 4 // TRAP_HWBKPT, sigaction(2)
	code, err := s.signalCode()
	if err != nil {
		return event{}, err
	}
	if s.watching && code == trapHardware {
		return event{kind: trapped}, nil
	}
	return event{signalled, signal}, nil
}

// stopStatus takes the status of a stop if there is one. It asks for stops only: the exit is for others to take.
func stopStatus(pid int) (int, error) {
	const all = 0x40000000 // __WALL
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WSTOPPED|unix.WNOHANG|all, nil)
	switch {
	case err == unix.EINTR:
		return 0, nil
	case err == unix.ECHILD:
		return 0, ErrGone
	case err != nil:
		return 0, fmt.Errorf("wait for stop: %w", err)
	case info.Signo == 0:
		return 0, nil
	}
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(&info), siginfoStatus))), nil
}

// siginfoStatus is the offset of si_status on machines of 64 bits.
const siginfoStatus = 24

// signalCode is si_code of the signal the thread is about to take.
func (s *stop) signalCode() (int32, error) {
	var info unix.Siginfo
	err := ptrace(unix.PTRACE_GETSIGINFO, s.t.pid, 0, unsafe.Pointer(&info))
	return info.Code, s.t.explain(err)
}

// call has the stopped thread call one of the engine's functions. An argument of isCurrent goes by reference.
func (s *stop) call(function int, arg uint64) (uint64, error) {
	if err := s.borrow(); err != nil {
		return 0, err
	}
	if err := s.enter(s.t.function(function), arg, function == isCurrent); err != nil {
		return 0, s.t.explain(err)
	}
	return s.returned()
}

// callWith has the stopped thread call one of the engine's functions with up to five arguments.
func (s *stop) callWith(function int, args ...uint64) error {
	if err := s.borrow(); err != nil {
		return err
	}
	if err := s.enterWith(s.t.function(function), args...); err != nil {
		return s.t.explain(err)
	}
	_, err := s.returned()
	return err
}

// returned lets the thread run until the call it was made to enter has returned.
func (s *stop) returned() (uint64, error) {
	late := after(callTimeout)
	for {
		if err := s.cont(0); err != nil {
			return 0, err
		}
		e, err := s.wait(late)
		if errors.Is(err, errLate) {
			return 0, fmt.Errorf("%w: %w", errCall, err)
		}
		if err != nil {
			return 0, err
		}
		switch {
		case e.kind == interrupted:
			continue // a left-over of interrupt
		case e.kind == trapped:
			return 0, fmt.Errorf("%w: it ran into the watchpoint", errCall)
		}
		pc, result, err := s.result()
		switch {
		case err != nil:
			return 0, s.t.explain(err)
		case e.signal == unix.SIGSEGV && pc == 0: // it has returned: there is nothing at address 0
			return result, nil
		}
		return 0, fmt.Errorf("%w: %v at %#x", errCall, e.signal, pc)
	}
}

// faults are the signals that a thread brings upon itself. Blocking them would kill the process.
const faults = 1<<(unix.SIGSEGV-1) | 1<<(unix.SIGBUS-1) | 1<<(unix.SIGILL-1) | 1<<(unix.SIGFPE-1) | 1<<(unix.SIGTRAP-1) |
	1<<(unix.SIGSYS-1) | 1<<(unix.SIGABRT-1)

// borrow saves the thread's registers for calls to follow, and has its signals wait.
func (s *stop) borrow() error {
	if s.borrowed {
		return nil
	}
	if err := s.saved.load(s.t.pid); err != nil {
		return fmt.Errorf("save registers: %w", s.t.explain(err))
	}
	if err := s.leaveSequence(); err != nil {
		return err
	}
	if err := ptrace(unix.PTRACE_GETSIGMASK, s.t.pid, 8, unsafe.Pointer(&s.mask)); err != nil {
		return fmt.Errorf("save signal mask: %w", s.t.explain(err))
	}
	s.borrowed = true
	all := ^uint64(faults)
	if err := ptrace(unix.PTRACE_SETSIGMASK, s.t.pid, 8, unsafe.Pointer(&all)); err != nil {
		return fmt.Errorf("set signal mask: %w", s.t.explain(err))
	}
	return nil
}

// restore gives the thread its registers back.
func (s *stop) restore() error {
	if !s.borrowed {
		return nil
	}
	if err := s.saved.store(s.t.pid); err != nil {
		return fmt.Errorf("restore registers: %w", s.t.explain(err))
	}
	if err := ptrace(unix.PTRACE_SETSIGMASK, s.t.pid, 8, unsafe.Pointer(&s.mask)); err != nil {
		return fmt.Errorf("restore signal mask: %w", s.t.explain(err))
	}
	s.borrowed = false
	return nil
}

// leaveSequence aborts the restartable sequence the thread may be in. The kernel does that when it lets a thread go on
// inside one (rseq(2)), but here the thread goes on elsewhere, and the kernel forgets. workerd's memory allocator would go
// on with another processor's data.
func (s *stop) leaveSequence() error {
	var conf struct {
		area            uint64
		size, sig       uint32
		flags, reserved uint32
	}
	err := ptrace(unix.PTRACE_GET_RSEQ_CONFIGURATION, s.t.pid, unsafe.Sizeof(conf), unsafe.Pointer(&conf))
	if err == unix.EIO || err == unix.EINVAL { // a kernel without them, or without telling
		return nil
	}
	if err != nil {
		return fmt.Errorf("find restartable sequences: %w", s.t.explain(err))
	}
	if conf.area == 0 {
		return nil
	}
	const current = 8 // offset of rseq_cs in struct rseq
	section, err := s.t.readWord(uintptr(conf.area) + current)
	if err != nil || section == 0 {
		return err
	}
	var b [32]byte // struct rseq_cs: version, flags, start, length, abort address
	if err := s.t.read(b[:], uintptr(section)); err != nil {
		return err
	}
	word := func(i int) uint64 { return *(*uint64)(unsafe.Pointer(&b[8*i])) }
	start, length, abort := word(1), word(2), word(3)
	if s.saved.pc()-start < length {
		s.saved.setPC(abort)
	}
	return nil
}

// pc is where the stopped thread is.
func (s *stop) pc() (uintptr, error) {
	var r unix.PtraceRegs
	err := unix.PtraceGetRegs(s.t.pid, &r)
	return uintptr(r.PC()), s.t.explain(err)
}

// threadPointer stops the thread for a moment to read its thread pointer.
func (t *Target) threadPointer() (tp uintptr, err error) {
	err = t.stopped(func(s *stop) error {
		tp, err = readThreadPointer(t.pid)
		return t.explain(err)
	})
	return tp, err
}

// ended tells whether the process has ended, so that its id may be another's.
func (t *Target) ended() bool { return t.endsWithin(0) }

// ending tells whether the process has ended or is about to: a thread that has been killed may not be traced any more.
func (t *Target) ending() bool { return t.endsWithin(100 * time.Millisecond) }

func (t *Target) endsWithin(d time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(t.pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(d.Milliseconds()))
	return t.pidfd < 0 || err == nil && n > 0
}

// explain makes ErrGone of the error by which ptrace tells that a thread it held has been killed.
func (t *Target) explain(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return ErrGone
	}
	return err
}

func ptrace(request, pid int, addr uintptr, data unsafe.Pointer) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(pid), addr, uintptr(data), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// registerSet reads or writes one of a thread's sets of registers and returns how long it is.
func registerSet(request, pid, set int, p unsafe.Pointer, size int) (int, error) {
	iov := unix.Iovec{Base: (*byte)(p)}
	iov.SetLen(size)
	err := ptrace(request, pid, uintptr(set), unsafe.Pointer(&iov))
	return int(iov.Len), err
}
