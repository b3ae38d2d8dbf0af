package terminate

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Context names a request whose JavaScript a process runs or has run. A process never uses one twice. Work that goes on
// after the response, and timers, run in the context of their request.
type Context uint64

// None is no context: the process is idle, or does work that is no request's.
const None Context = 0

// ErrGone says that the process has ended.
var ErrGone = errors.New("the process has ended")

// Target is one workerd process.
type Target struct {
	engine *Engine
	pid    int
	pidfd  int
	stat   int     // /proc/PID/stat, open
	base   uintptr // where the executable is loaded
	thread uintptr // the main thread's thread pointer

	lastAddr    atomic.Uintptr // of the IoContext seen last: most of the time it is the one to be seen next
	lastIsolate atomic.Uintptr // likewise
	numbers     numbers

	mu   sync.Mutex  // one stop at a time
	held atomic.Bool // it is in a stop, by whoever has mu, and does not run
}

// Attach finds its way about a process that runs the engine's binary. It stops the process for some 50 microseconds.
// ErrNotReady is returned while the process is still being loaded.
func (e *Engine) Attach(pid int) (*Target, error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		err = ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("attach to process %d: %w", pid, err)
	}
	t := &Target{engine: e, pid: pid, pidfd: pidfd}
	if t.stat, err = unix.Open(fmt.Sprintf("/proc/%d/stat", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		err = t.locate()
	}
	if err != nil {
		if !errors.Is(err, ErrNotReady) && t.ending() {
			err = ErrGone
		}
		t.Close()
		return nil, fmt.Errorf("attach to process %d: %w", pid, err)
	}
	return t, nil
}

// Close releases what Attach took. The process goes on.
func (t *Target) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pidfd < 0 {
		return nil
	}
	err := unix.Close(t.pidfd)
	if t.stat >= 0 {
		err = errors.Join(err, unix.Close(t.stat))
	}
	t.pidfd, t.stat = -1, -1
	return err
}

// ErrNotReady says that a process has not come far enough to be attached to.
var ErrNotReady = errors.New("the process is not ready yet")

func (t *Target) locate() error {
	auxv, err := os.ReadFile("/proc/" + strconv.Itoa(t.pid) + "/auxv")
	if err != nil {
		return err
	}
	const atPhdr = 3 // getauxval(3)
	for ; len(auxv) >= 16; auxv = auxv[16:] {
		if binary.LittleEndian.Uint64(auxv) == atPhdr {
			t.base = uintptr(binary.LittleEndian.Uint64(auxv[8:]) - t.engine.phdr)
		}
	}
	id := make([]byte, len(t.engine.buildID)/2)
	if err := t.read(id, t.base+uintptr(t.engine.note)); err != nil {
		return err
	}
	if hex.EncodeToString(id) != t.engine.buildID {
		return errors.New("it runs another program")
	}
	if t.thread, err = t.threadPointer(); err != nil {
		return err
	}
	// Until the loader has come to it there are no thread-local variables.
	if t.thread == 0 {
		return ErrNotReady
	}
	if _, err := t.Current(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotReady, err)
	}
	return nil
}

// Sight is what a process is seen to do at one moment.
type Sight struct {
	// Current is the request whose JavaScript runs, and Place where the process keeps it; others may be kept there later.
	Current Context
	Place   uintptr
	// Event tells one event of Current from the next: a Durable Object handles all of its events in one context. It stands
	// for the newest in progress; 0: there is none. A look that sees an object's event for the first time numbers it.
	Event uintptr
	// Entered tells that the thread is in the isolate: it runs JavaScript, for Current or, where that is None, for nobody,
	// as when modules are evaluated or finalizers run.
	Entered bool
	// Collecting tells that the thread collects garbage, as far as that can be seen. It does so in the middle of whatever
	// allocates, for all that has been allocated before, and cannot be interrupted.
	Collecting bool
	// Started is the newest context the process has made. They are numbered in order.
	Started Context
}

// Look tells what the process does at this moment. It stops it for some 50 microseconds where an object's event is seen for
// the first time, and not otherwise. After an error that is ErrInDoubt the process should be killed.
func (t *Target) Look() (Sight, error) {
	guess := t.lastAddr.Load()
	isolate := t.lastIsolate.Load()
	var w words
	w.want(t.slot(), t.isolate(), t.base+uintptr(t.engine.counter))
	w.want(t.stateOf(isolate))
	if guess != 0 {
		w.want(guess+uintptr(t.engine.idField), guess+uintptr(t.engine.head), guess+uintptr(t.engine.actor))
	}
	err := w.read(t.pid)
	if err != nil && w.n == 3 && isolate != 0 { // there is another isolate by now
		t.lastIsolate.Store(0)
		return t.Look()
	}
	if err != nil && w.n < 4 {
		return Sight{}, err
	}
	addr := uintptr(w.value[0])
	sight := Sight{Entered: w.value[1] != 0, Started: Context(w.value[2])}
	switch entered := uintptr(w.value[1]); {
	case entered == 0:
	case entered == isolate:
		sight.Collecting = t.engine.state != 0 && uint16(w.value[3]) == collecting
	default:
		t.lastIsolate.Store(entered) // of a process that has one the next look knows
	}
	switch {
	case addr == 0:
		return sight, nil
	case addr == guess && w.n == 7:
		copy(w.value[:], w.value[4:])
	default:
		t.lastAddr.Store(addr)
		w = words{}
		w.want(addr+uintptr(t.engine.idField), addr+uintptr(t.engine.head), addr+uintptr(t.engine.actor))
		err = w.read(t.pid)
		if errors.Is(err, unix.EFAULT) { // the request has ended meanwhile
			return sight, nil
		}
		if err != nil {
			return sight, err
		}
	}
	sight.Current, sight.Place, sight.Event = Context(w.value[0]+1), addr, uintptr(w.value[1])
	if sight.Event != 0 && w.value[2] != 0 {
		sight.Event, err = t.numbered(sight)
		return sight, err
	}
	return sight, nil
}

// stateOf is the address of an isolate's state, or where none or no state is known of something else that can be read.
func (t *Target) stateOf(isolate uintptr) uintptr {
	if isolate == 0 || t.engine.state == 0 {
		return t.slot()
	}
	return isolate + uintptr(t.engine.state)
}

// Event tells which event a request seen at place has in progress, as Sight does; 0 where there is none.
func (t *Target) Event(c Context, place uintptr) (uintptr, error) {
	var w words
	w.want(place, place+uintptr(t.engine.idField), place+uintptr(t.engine.head), place+uintptr(t.engine.actor))
	err := w.read(t.pid)
	if errors.Is(err, unix.EFAULT) {
		return 0, nil
	}
	if err != nil || uintptr(w.value[0]) != t.base+uintptr(t.engine.vtable) || Context(w.value[1]+1) != c {
		return 0, err
	}
	event := uintptr(w.value[2])
	if event != 0 && w.value[3] != 0 {
		if n, err := t.number(event); err != nil || n != 0 {
			return n, err
		}
	}
	return event, nil
}

// Alive tells whether a request seen at place has work left: a response to send, or work after it.
func (t *Target) Alive(c Context, place uintptr) (bool, error) {
	var w words
	w.want(place, place+uintptr(t.engine.idField))
	err := w.read(t.pid)
	if errors.Is(err, unix.EFAULT) {
		return false, nil
	}
	return uintptr(w.value[0]) == t.base+uintptr(t.engine.vtable) && Context(w.value[1]+1) == c, err
}

// Asleep tells whether the process's main thread waits for something to do.
func (t *Target) Asleep() (bool, error) {
	var b [64]byte
	n, _, err := unix.RawSyscall6(unix.SYS_PREAD64, uintptr(t.stat), uintptr(unsafe.Pointer(&b)), uintptr(len(b)), 0, 0, 0)
	switch {
	case err == unix.ESRCH:
		return false, ErrGone
	case err != 0:
		return false, fmt.Errorf("read state: %w", err)
	}
	// The state follows the name, which is in parentheses and may hold some (proc_pid_stat(5)).
	i := bytes.LastIndexByte(b[:n], ')')
	if i < 0 || i+2 >= int(n) {
		return false, fmt.Errorf("read state: %q", b[:n])
	}
	return b[i+2] == 'S', nil
}

// Current returns the request whose JavaScript runs at this moment.
func (t *Target) Current() (Context, error) {
	s, err := t.Look()
	return s.Current, err
}

// slot is the address of the pointer to the current IoContext.
func (t *Target) slot() uintptr { return t.thread + uintptr(t.engine.slot) }

// isolate is the address of the pointer to the isolate that the thread has entered.
func (t *Target) isolate() uintptr { return t.thread + uintptr(t.engine.isolate) }

func (t *Target) function(i int) uintptr { return t.base + uintptr(t.engine.funcs[i]) }

// read fills b from the process's memory.
func (t *Target) read(b []byte, addr uintptr) error {
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	_, err := unix.ProcessVMReadv(t.pid, local, []unix.RemoteIovec{{Base: addr, Len: len(b)}}, 0)
	return memoryError(err)
}

func (t *Target) readWord(addr uintptr) (uint64, error) {
	var w words
	w.want(addr)
	err := w.read(t.pid)
	return w.value[0], err
}

// words reads a few words of a process's memory with one system call, in their order.
type words struct {
	remote [7]unix.RemoteIovec
	asked  int
	value  [7]uint64
	n      int // how many were read
}

func (w *words) want(addrs ...uintptr) {
	for _, a := range addrs {
		w.remote[w.asked] = unix.RemoteIovec{Base: a, Len: 8}
		w.asked++
	}
}

// read reads the words, as process_vm_readv(2) does. The runtime is not told of the call, which would have it watch over it:
// what is read is in memory, as the process is using it.
func (w *words) read(pid int) error {
	local := unix.Iovec{Base: (*byte)(unsafe.Pointer(&w.value))}
	local.SetLen(8 * w.asked)
	n, _, errno := unix.RawSyscall6(unix.SYS_PROCESS_VM_READV, uintptr(pid), uintptr(unsafe.Pointer(&local)), 1,
		uintptr(unsafe.Pointer(&w.remote)), uintptr(w.asked), 0)
	switch w.n = int(n) / 8; {
	case errno != 0:
		w.n = 0
		return memoryError(errno)
	case w.n < w.asked:
		return memoryError(unix.EFAULT)
	}
	return nil
}

func memoryError(err error) error {
	switch err {
	case nil:
		return nil
	case unix.ESRCH:
		return ErrGone
	}
	return fmt.Errorf("read memory: %w", err)
}

// write puts b into the process's memory.
func (t *Target) write(addr uintptr, b []byte) error {
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	n, err := unix.ProcessVMWritev(t.pid, local, []unix.RemoteIovec{{Base: addr, Len: len(b)}}, 0)
	if err == nil && n < len(b) {
		err = unix.EFAULT
	}
	return memoryError(err)
}
