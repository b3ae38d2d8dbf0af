package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Bind is a file, socket or directory of the host that the child sees. As root, the child's user id is one of its own:
// what it is to open must let others do so, a socket to connect to needs mode 0666 (guard it by its directory's mode),
// and a Writable directory is given to that user with all that is in it.
type Bind struct {
	Host  string // absolute path here
	Guest string // absolute path inside; the directories above it are made
	// Writable lets the child change it. Nothing writable can be executed.
	Writable bool
}

// Limits bound what a process may use. Zero fields take the default named.
type Limits struct {
	Files     uint64 // RLIMIT_NOFILE; 4096
	Threads   uint64 // RLIMIT_NPROC; 64
	Data      uint64 // RLIMIT_DATA in bytes; no limit
	TmpBytes  uint64 // size of the private /tmp; 16 MiB
	OOMScore  int    // oom_score_adj; 500, so that the kernel ends a tenant before the node
	FileBytes uint64 // RLIMIT_FSIZE; no limit
}

// Command is one program to run.
type Command struct {
	Path   string   // of an executable; bound into the root with the libraries it names
	Args   []string // after the program's name; visible to whoever can list processes
	Stdin  *os.File // nil is /dev/null, here and below
	Stdout *os.File
	Stderr *os.File
	Files  []*os.File // become descriptors 3, 4, ...
	Binds  []Bind
	Limits Limits
}

// Guest is the path by which a child opens b: b.Guest, but b.Host where the node runs insecurely.
func (s *Sandbox) Guest(b Bind) string {
	if s.opts.Insecure {
		return b.Host
	}
	return b.Guest
}

// Start runs cmd and returns once the program has been executed. The files stay the caller's to close.
func (s *Sandbox) Start(cmd Command) (*Process, error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	defer s.idle.Done()
	pl, err := s.plan(cmd)
	if err != nil {
		return nil, fmt.Errorf("plan sandbox of %s: %w", filepath.Base(cmd.Path), err)
	}
	p, err := s.spawn(cmd, pl)
	if err != nil {
		return nil, fmt.Errorf("start %s in sandbox: %w", filepath.Base(cmd.Path), err)
	}
	if err := p.ready(); err != nil {
		return nil, fmt.Errorf("set up sandbox of %s: %w", filepath.Base(cmd.Path), err)
	}
	return p, nil
}

// give makes uid the owner of the writable directories, whose files may stem from a process with another.
func give(binds []Bind, uid int) error {
	if uid < 0 {
		return nil
	}
	for _, b := range binds {
		if !b.Writable {
			continue
		}
		err := filepath.WalkDir(b.Host, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, uid, uid)
		})
		if err != nil {
			return fmt.Errorf("give %s to the process: %w", b.Host, err)
		}
	}
	return nil
}

// spawn forks this program as the child's first program and hands it its plan.
func (s *Sandbox) spawn(cmd Command, pl plan) (p *Process, err error) {
	uid := -1
	if !pl.Plain {
		uid, pl.OwnUID = s.uids.get()
	}
	defer func() {
		if p == nil {
			s.uids.put(uid)
		}
	}()
	if err := give(cmd.Binds, uid); err != nil {
		return nil, err
	}
	plan, err := planFile(pl)
	if err != nil {
		return nil, err
	}
	defer plan.Close()
	status, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()

	files := []*os.File{s.orNull(cmd.Stdin), s.orNull(cmd.Stdout), s.orNull(cmd.Stderr)}
	files = append(append(files, cmd.Files...), plan, theirs)
	fds := make([]uintptr, len(files))
	for i, f := range files {
		fds[i] = f.Fd()
	}
	pidfd := -1
	attr := &syscall.ProcAttr{Dir: "/", Files: fds, Sys: s.attributes(pl, uid, &pidfd)}
	f := fork{argv: []string{argv0, strconv.Itoa(3 + len(cmd.Files))}, attr: attr, reply: make(chan forked, 1)}
	s.forks <- f
	got := <-f.reply
	runtime.KeepAlive(files)
	if got.err != nil {
		status.Close()
		return nil, forkError(got.err)
	}
	return s.newProcess(got.pid, pidfd, uid, status)
}

func (s *Sandbox) orNull(f *os.File) *os.File {
	if f == nil {
		return s.null
	}
	return f
}

// namespaces are those a child never shares with the node.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS |
	unix.CLONE_NEWNET

// setupCaps are what the set-up needs in the child's own user namespace. They are ambient, since with a user id of its
// own the child executes the set-up as a user its namespace has no name for, who would lose them (capabilities(7)).
var setupCaps = []uintptr{unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SETPCAP, unix.CAP_SYS_ADMIN,
	unix.CAP_SYS_RESOURCE}

func (s *Sandbox) attributes(pl plan, uid int, pidfd *int) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL, PidFD: pidfd}
	if pl.Plain {
		return a
	}
	gid := uid
	if uid < 0 {
		uid, gid = os.Geteuid(), os.Getegid()
	}
	a.Cloneflags = namespaces
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
	a.GidMappingsEnableSetgroups = pl.OwnUID
	a.AmbientCaps = setupCaps
	return a
}

// forkError explains the refusals an operator can do something about.
func forkError(err error) error {
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("the kernel refuses the namespaces (see `atoll doctor`): %w", err)
	}
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("no user namespace left (sysctl user.max_user_namespaces): %w", err)
	}
	return err
}

// planFile puts the plan where only the child can read it: arguments and environment are visible to others.
func planFile(pl plan) (*os.File, error) {
	b, err := json.Marshal(pl)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("plan", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create plan file: %w", err)
	}
	f := os.NewFile(uintptr(fd), "plan")
	if _, err := f.Write(b); err != nil {
		f.Close()
		return nil, fmt.Errorf("write plan: %w", err)
	}
	return f, nil
}
