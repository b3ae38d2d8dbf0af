package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// argv0 is the name under which the program executes itself as the first program of a child.
const argv0 = "atoll-sandbox"

// setupFailed is the exit code of a child whose set-up failed; Start tells why.
const setupFailed = 125

// Main must be called before anything else in main(). In an ordinary run it returns at once; in a child it makes the
// sandbox from within and executes the program, so it never returns.
func Main() {
	if len(os.Args) != 2 || os.Args[0] != argv0 {
		return
	}
	// What follows is per thread (credentials, parent death signal, seccomp, Landlock), and the thread that executes the
	// program is the one that lives on.
	runtime.LockOSThread()
	if os.Args[1] == forkerArg {
		serveForks(3)
		os.Exit(0)
	}
	fd, err := strconv.Atoi(os.Args[1])
	if err != nil {
		os.Exit(setupFailed)
	}
	status := fd + 1
	if err := become(fd, status); err != nil {
		_, _ = unix.Write(status, []byte(err.Error()))
	}
	os.Exit(setupFailed)
}

// become carries out the plan in the file fd. It returns only to tell what failed.
func become(fd, status int) error {
	var pl plan
	b, err := io.ReadAll(io.NewSectionReader(preader(fd), 0, 1<<20))
	if err == nil {
		err = json.Unmarshal(b, &pl)
	}
	if err != nil {
		return fmt.Errorf("read plan: %w", err)
	}
	run, err := program(pl)
	if err != nil {
		return err
	}
	if err := dieWithParent(status); err != nil {
		return err
	}
	if err := protect(pl.OOMScore); err != nil {
		return err
	}
	if !pl.Plain {
		if err := isolate(pl, status); err != nil {
			return err
		}
	}
	// A write beyond the limit of a file is to fail, and not to end the program (setrlimit(2)).
	signal.Ignore(unix.SIGXFSZ)
	for _, r := range pl.Rlimits {
		if err := limit(r); err != nil {
			return err
		}
	}
	if !pl.Plain {
		if err := dropCaps(); err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if !pl.Plain {
		if err := confine(pl.Mounts); err != nil {
			return err
		}
	}
	// The plan, the status pipe, and whatever else the runtime has opened.
	if err := unix.CloseRange(uint(fd), ^uint(0)>>1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close descriptors: %w", err)
	}
	if !pl.Plain {
		if err := sealSyscalls(pl.Filter); err != nil {
			return err
		}
	}
	if pl.Probe {
		wait(status)
	}
	return run.exec()
}

// wait tells the thread's id on standard output, and ends when standard input does. Nothing but plain system calls: this
// thread has its filter already.
func wait(status int) {
	line := append(strconv.AppendInt(nil, int64(unix.Gettid()), 10), '\n')
	_, _ = unix.Write(1, line)
	_ = unix.Close(status)
	_, _ = unix.Read(0, line)
	os.Exit(0)
}

// isolate makes what is of the child's own namespaces: its root, its user, its name.
func isolate(pl plan, status int) error {
	root, err := openMounts(pl.Mounts)
	if err != nil {
		return err
	}
	if pl.OwnUID {
		if err := switchUser(); err != nil {
			return err
		}
		if err := dieWithParent(status); err != nil { // a change of user clears it
			return err
		}
	}
	forbidNamespaces()
	if err := root.enter(pl); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("worker")); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := unix.Setdomainname(nil); err != nil {
		return fmt.Errorf("clear domain name: %w", err)
	}
	return nil
}

// forbidNamespaces lets no user namespace be made inside this one, where a process would have every capability again
// (namespaces(7)). The system call filter forbids it too; in a container /proc/sys may be read-only.
func forbidNamespaces() {
	_ = os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0)
}

// dieWithParent asks for SIGKILL when the forking thread ends, and makes sure that it has not ended already: the status
// pipe then has no reader.
func dieWithParent(status int) error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("set parent death signal: %w", err)
	}
	ready := []unix.PollFd{{Fd: int32(status)}}
	if _, err := unix.Poll(ready, 0); err != nil && err != unix.EINTR {
		return fmt.Errorf("look for parent: %w", err)
	}
	if ready[0].Revents&unix.POLLERR != 0 {
		return errors.New("parent is gone")
	}
	return nil
}

// protect makes the child the kernel's first choice when memory runs out, and keeps its memory out of core dumps.
func protect(oomScore int) error {
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(oomScore)), 0); err != nil {
		return fmt.Errorf("set OOM score: %w", err)
	}
	// core(5): a kernel without core dumps has no such file.
	if err := os.WriteFile("/proc/self/coredump_filter", []byte("0"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("clear core dump filter: %w", err)
	}
	return nil
}

// switchUser becomes user 0 of the namespace, which is the child's own user on the host. Nothing in the namespace maps
// to the node's user any more.
func switchUser() error {
	// Raw calls: the wrappers change every thread, by signals, and only this one matters.
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); e != 0 {
		return fmt.Errorf("clear groups: %w", e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, 0, 0, 0); e != 0 {
		return fmt.Errorf("set group: %w", e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0); e != 0 {
		return fmt.Errorf("set user: %w", e)
	}
	// A change of user makes /proc/self another's, which the mounts still need.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("stay dumpable: %w", err)
	}
	return nil
}

// limit lowers r to its value, or keeps a hard limit that is lower yet.
func limit(r rlimit) error {
	var old unix.Rlimit
	if err := unix.Getrlimit(r.Resource, &old); err != nil {
		return fmt.Errorf("read limit %d: %w", r.Resource, err)
	}
	v := min(r.Value, old.Max)
	// Not unix.Setrlimit: package syscall would put back what it remembers of RLIMIT_NOFILE.
	if err := unix.Prlimit(0, r.Resource, &unix.Rlimit{Cur: v, Max: v}, nil); err != nil {
		return fmt.Errorf("set limit %d: %w", r.Resource, err)
	}
	return nil
}

// executable is a program with its arguments as execve(2) takes them: once the last restrictions hold, nothing should
// be computed any more. Its environment is empty.
type executable struct {
	path *byte
	argv []*byte
	envv []*byte
}

func program(pl plan) (*executable, error) {
	path, err := unix.BytePtrFromString(pl.Path)
	if err != nil {
		return nil, err
	}
	x := &executable{path: path, envv: []*byte{nil}}
	for _, a := range pl.Argv {
		p, err := unix.BytePtrFromString(a)
		if err != nil {
			return nil, err
		}
		x.argv = append(x.argv, p)
	}
	x.argv = append(x.argv, nil)
	return x, nil
}

func (x *executable) exec() error {
	_, _, e := unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(x.path)), uintptr(unsafe.Pointer(&x.argv[0])),
		uintptr(unsafe.Pointer(&x.envv[0])))
	return fmt.Errorf("execute program: %w", e)
}

// preader reads a descriptor at offsets: its position is the parent's.
type preader int

func (fd preader) ReadAt(b []byte, off int64) (int, error) {
	n, err := unix.Pread(int(fd), b, off)
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return max(n, 0), err
}
