package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A node does not fork its children itself. A fork into a user namespace copies the page tables, which for a node with
// 1 GB of heap takes 100 ms and stalls its other threads meanwhile. It keeps a forker: this program, started by vfork,
// small for ever, that forks on demand with CLONE_PARENT, so that the children are the node's all the same: to wait for,
// to trace, and to die with (clone(2) forbids that flag beside CLONE_NEWUSER; the kernel has allowed it since 3.13).

// forkerArg is the argument that makes this program a forker; its orders come by descriptor 3.
const forkerArg = "fork"

// order is what the forker is asked for. The descriptors travel beside it: the child's 0, 1, 2, ..., and last its
// cgroup's if there is one.
type order struct {
	Argv       []string
	Namespaces uintptr
	UID, GID   int  // on the host, of the namespace's user 0
	Setgroups  bool // the groups of the node are to be left
	Cgroup     bool
}

// outcome is the forker's word on an order.
type outcome struct {
	Pid   int
	Errno syscall.Errno
	Err   string
}

// maxOrder bounds both, arguments included.
const maxOrder = 64 << 10

// forker is the node's end. Its methods are for the thread that started it: the children die with that.
type forker struct {
	pid  int
	sock int
}

func startForker(null *os.File) (*forker, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("connect forker: %w", err)
	}
	defer unix.Close(fds[1])
	n := null.Fd()
	attr := &syscall.ProcAttr{
		Dir:   "/",
		Files: []uintptr{n, n, n, uintptr(fds[1])},
		Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	}
	pid, err := syscall.ForkExec("/proc/self/exe", []string{argv0, forkerArg}, attr)
	if err != nil {
		unix.Close(fds[0])
		return nil, fmt.Errorf("start forker: %w", err)
	}
	return &forker{pid, fds[0]}, nil
}

// fork has o carried out and returns the new child's pid, not yet waited for.
func (f *forker) fork(o order, files []uintptr) (int, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return 0, err
	}
	if len(b) > maxOrder {
		return 0, fmt.Errorf("fork: %w", syscall.E2BIG)
	}
	fds := make([]int, len(files))
	for i, fd := range files {
		fds[i] = int(fd)
	}
	if err := retry(func() error { return unix.Sendmsg(f.sock, b, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL) }); err != nil {
		return 0, lost(err)
	}
	reply := make([]byte, maxOrder)
	n := 0
	err = retry(func() error { n, _, err = unix.Recvfrom(f.sock, reply, 0); return err })
	if err == nil && n == 0 {
		err = syscall.ECONNRESET
	}
	if err != nil {
		return 0, lost(err)
	}
	var a outcome
	if err := json.Unmarshal(reply[:n], &a); err != nil {
		return 0, lost(err)
	}
	if a.Errno != 0 {
		return 0, fmt.Errorf("fork: %w", a.Errno)
	}
	if a.Err != "" {
		return 0, errors.New("fork: " + a.Err)
	}
	return a.Pid, nil
}

// errForkerLost says that the forker is gone; another can be started.
var errForkerLost = errors.New("forker is lost")

func lost(err error) error {
	if errors.Is(err, syscall.EMSGSIZE) || errors.Is(err, syscall.ETOOMANYREFS) || errors.Is(err, syscall.EINVAL) {
		return err // the order was at fault
	}
	return fmt.Errorf("%w: %w", errForkerLost, err)
}

func (f *forker) close() {
	unix.Close(f.sock)
	_ = unix.Kill(f.pid, unix.SIGKILL)
	_ = retry(func() error { _, err := unix.Wait4(f.pid, nil, 0, nil); return err })
}

func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// serveForks is the forker's end: it forks until the node is gone.
func serveForks(sock int) {
	unix.CloseOnExec(sock)
	buf, oob := make([]byte, maxOrder), make([]byte, unix.CmsgSpace(4*maxFiles))
	for {
		var n, oobn int
		err := retry(func() (err error) {
			n, oobn, _, _, err = unix.Recvmsg(sock, buf, oob, unix.MSG_CMSG_CLOEXEC)
			return err
		})
		if err != nil || n == 0 {
			return
		}
		b, err := json.Marshal(carryOut(buf[:n], oob[:oobn]))
		if err != nil {
			return
		}
		if err := retry(func() error { return unix.Sendto(sock, b, unix.MSG_NOSIGNAL, nil) }); err != nil {
			return
		}
	}
}

// maxFiles is SCM_MAX_FD of linux/net/scm.h, how many descriptors one message can carry.
const maxFiles = 253

func carryOut(msg, oob []byte) outcome {
	fds, err := rights(oob)
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	if err != nil {
		return outcome{Err: err.Error()}
	}
	var o order
	if err := json.Unmarshal(msg, &o); err != nil {
		return outcome{Err: err.Error()}
	}
	attr := &syscall.ProcAttr{Dir: "/", Sys: o.attributes()}
	if o.Cgroup {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, fds[len(fds)-1]
	}
	for i, fd := range fds {
		if !o.Cgroup || i < len(fds)-1 {
			attr.Files = append(attr.Files, uintptr(fd))
		}
	}
	pid, err := syscall.ForkExec("/proc/self/exe", o.Argv, attr)
	var e syscall.Errno
	if errors.As(err, &e) {
		return outcome{Errno: e}
	}
	if err != nil {
		return outcome{Err: err.Error()}
	}
	return outcome{Pid: pid}
}

func rights(oob []byte) ([]int, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) != 1 {
		return nil, errors.Join(errors.New("no descriptors"), err)
	}
	return unix.ParseUnixRights(&msgs[0])
}

// setupCaps are what the set-up needs in the child's own user namespace. They are ambient, since with a user id of its
// own the child executes the set-up as a user its namespace has no name for, who would lose them (capabilities(7)).
var setupCaps = []uintptr{unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SETPCAP, unix.CAP_SYS_ADMIN, unix.CAP_SYS_RESOURCE}

// attributes leave the parent death signal to the child (dieWithParent): package syscall would look for the forker.
func (o order) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_PARENT | o.Namespaces}
	if o.Namespaces == 0 {
		return a
	}
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: o.UID, Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: o.GID, Size: 1}}
	a.GidMappingsEnableSetgroups = o.Setgroups
	a.AmbientCaps = setupCaps
	return a
}
