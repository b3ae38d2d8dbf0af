package hop

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Conn is a stream socket whose small reads and writes are system calls that the Go scheduler is not told of. They never
// block, since the socket does not; but under load the kernel often takes longer for one than the 20 us after which the
// scheduler gives the processor to another thread, and the two threads' waking each other then costs more than all the
// rest of a request. It may be used as net.Conn says.
type Conn struct {
	socket
	raw     syscall.RawConn
	in, out half
}

// socket is a *net.TCPConn or *net.UnixConn.
type socket interface {
	net.Conn
	syscall.Conn
	CloseRead() error
	CloseWrite() error
}

// half is one direction of a Conn.
type half struct {
	mu   sync.Mutex
	call func(fd uintptr) bool
	p    []byte
	n    int
	err  syscall.Errno
}

// most is how many bytes are copied in one call: a processor must not be kept for longer than that takes.
const most = 64 << 10

// NewConn returns c as a Conn where it is a stream socket, or as it is.
func NewConn(c net.Conn) net.Conn {
	s, ok := c.(socket)
	if !ok {
		return c
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return c
	}
	q := &Conn{socket: s, raw: raw}
	q.in.call = q.in.do(syscall.SYS_READ)
	q.out.call = q.out.do(syscall.SYS_WRITE)
	return q
}

// tracked is the call of do by the standard library's functions, which tell the race detector.
func (h *half) tracked(trap, fd uintptr) (uintptr, syscall.Errno) {
	call := syscall.Read
	if trap == syscall.SYS_WRITE {
		call = syscall.Write
	}
	n, err := call(int(fd), h.p)
	errno, _ := err.(syscall.Errno)
	return uintptr(max(n, 0)), errno
}

// do returns a function for syscall.RawConn that makes the given call once and asks to wait where it would block.
func (h *half) do(trap uintptr) func(fd uintptr) bool {
	return func(fd uintptr) bool {
		for {
			var n uintptr
			var err syscall.Errno
			if underRace {
				n, err = h.tracked(trap, fd)
			} else {
				n, _, err = syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(h.p))), uintptr(len(h.p)))
			}
			if err == syscall.EINTR {
				continue
			}
			h.n, h.err = int(n), err
			return err != syscall.EAGAIN
		}
	}
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return c.socket.Read(p)
	}
	h := &c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	h.p = p[:min(len(p), most)]
	err := c.raw.Read(h.call)
	h.p = nil
	switch {
	case err != nil:
		return 0, err
	case h.err != 0:
		return 0, c.failed("read", h.err)
	case h.n == 0:
		return 0, io.EOF
	}
	return h.n, nil
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (n int, err error) {
	if len(p) == 0 || len(p) > most {
		return c.socket.Write(p)
	}
	h := &c.out
	h.mu.Lock()
	defer h.mu.Unlock()
	for n < len(p) {
		h.p = p[n:]
		err := c.raw.Write(h.call)
		h.p = nil
		if err == nil && h.err != 0 {
			err = c.failed("write", h.err)
		}
		if err != nil {
			return n, err
		}
		n += h.n
	}
	return n, nil
}

// vectored writes more than one slice at once.
type vectored interface{ writev(parts [3][]byte) error }

// writev sends the parts one after the other, by writev(2).
func (c *Conn) writev(parts [3][]byte) error {
	h := &c.out
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		var iov [3]unix.Iovec
		n := 0
		for _, p := range parts {
			if len(p) > 0 {
				iov[n].Base = unsafe.SliceData(p)
				iov[n].SetLen(len(p))
				n++
			}
		}
		if n == 0 {
			return nil
		}
		var wrote int
		var errno syscall.Errno
		err := c.raw.Write(func(fd uintptr) bool {
			if underRace {
				_, _ = syscall.Write(-1, nil) // tells the race detector, and fails
			}
			k, _, e := syscall.RawSyscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&iov)), uintptr(n))
			wrote, errno = int(k), e
			return e != syscall.EAGAIN
		})
		switch {
		case err != nil:
			return err
		case errno == syscall.EINTR:
			continue
		case errno != 0:
			return c.failed("write", errno)
		}
		for i := range parts {
			k := min(wrote, len(parts[i]))
			parts[i] = parts[i][k:]
			wrote -= k
		}
	}
}

func (c *Conn) failed(op string, err syscall.Errno) error {
	return &net.OpError{Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// ReadFrom implements io.ReaderFrom: by sendfile(2) and splice(2) where the kernel can.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) {
	if to, ok := c.socket.(*net.TCPConn); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c}, r)
}

// Listener makes a Conn of every connection that it accepts.
type Listener struct{ net.Listener }

// Accept implements net.Listener.
func (l Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return NewConn(c), nil
}

// errPeek is why a connection's end could not be waited for.
var errPeek = errors.New("not a socket")

// peek waits until something comes or the other end has gone, and tells which; it takes nothing.
func peek(c net.Conn) (gone bool, err error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false, errPeek
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false, fmt.Errorf("peek: %w", err)
	}
	var one [1]byte
	var perr error
	err = raw.Read(func(fd uintptr) bool {
		var n int
		n, _, perr = unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		gone = n <= 0
		return perr != unix.EAGAIN && perr != unix.EINTR
	})
	if err != nil {
		return false, fmt.Errorf("peek: %w", err)
	}
	return gone, nil
}
