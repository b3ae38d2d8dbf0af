package limits

import (
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// timer waits more precisely than the runtime's timers, which round to a millisecond. It is a timerfd that the runtime polls
// for. A system call that sleeps would have the runtime wake up every 20 us to see what else its thread could do, and so would,
// for a while, each call that it is told of.
type timer struct {
	fd      uintptr
	conn    syscall.RawConn // of fd
	close   func() error
	expired [8]byte
}

// newTimer returns a timer. Where there can be none, it is the runtime's.
func newTimer() *timer {
	t := &timer{close: func() error { return nil }}
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return t
	}
	f := os.NewFile(uintptr(fd), "timerfd")
	if t.conn, err = f.SyscallConn(); err != nil {
		_ = f.Close()
		return t
	}
	t.fd, t.close = uintptr(fd), f.Close
	return t
}

// wait waits. It is not called concurrently.
func (t *timer) wait(d time.Duration) {
	if t.conn == nil {
		time.Sleep(d)
		return
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(d, 1)))}
	_, _, err := unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, t.fd, 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	if err != 0 {
		time.Sleep(d)
		return
	}
	_ = t.conn.Read(func(fd uintptr) bool {
		_, _, err := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&t.expired)), uintptr(len(t.expired)))
		return err != unix.EAGAIN
	})
}
