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
	Threads   uint64 // RLIMIT_NPROC, and pids.max of its cgroup; 64
	Data      uint64 // RLIMIT_DATA in bytes; no limit
	TmpBytes  uint64 // size of the private /tmp; 16 MiB
	OOMScore  int    // oom_score_adj; 500, so that the kernel ends a tenant before the node
	FileBytes uint64 // RLIMIT_FSIZE; no limit
	Memory    uint64 // memory.max of its cgroup, where the node has one to give; no limit
	CPUWeight uint64 // cpu.weight of its cgroup, 1 to 10000; the kernel's 100
}

// Command is one program to run.
type Command struct {
	Path   string   // of an executable; bound into the root with the libraries it names
	Args   []string // after the program's name; visible to whoever can list processes
	Stdin  *os.File // nil is /dev/null, here and below
	Stdout *os.File
	Stderr *os.File
	Files  []*os.File // become descriptors 3, 4, ...; they are set to blocking, as package os/exec does
	Binds  []Bind
	Limits Limits
	// NoNewCode forbids memory that can be executed and is not a file's: no just-in-time compiler, no WebAssembly. V8 starts
	// so only with its flag --jitless.
	NoNewCode bool
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

// grant is what the node lends a process for its life.
type grant struct {
	uid   int     // on the host; -1: the node's own
	group *cgroup // nil where there are none
}

func (s *Sandbox) lend(cmd Command, pl *plan) (g grant, err error) {
	g.uid = -1
	if pl.Plain {
		return g, nil
	}
	if s.groups != nil {
		if g.group, err = s.groups.make(cmd.Limits); err != nil {
			return g, err
		}
	}
	g.uid, pl.OwnUID = s.uids.get()
	if err := give(cmd.Binds, g.uid); err != nil {
		s.takeBack(g)
		return g, err
	}
	return g, nil
}

func (s *Sandbox) takeBack(g grant) {
	s.uids.put(g.uid)
	if err := g.group.remove(); err != nil {
		s.lg.Warn("cgroup stays behind", "err", err)
	}
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
func (s *Sandbox) spawn(cmd Command, pl plan) (*Process, error) {
	g, err := s.lend(cmd, &pl)
	if err != nil {
		return nil, err
	}
	p, err := s.fork(cmd, pl, g)
	if err != nil {
		s.takeBack(g)
		return nil, err
	}
	return p, nil
}

func (s *Sandbox) fork(cmd Command, pl plan, g grant) (*Process, error) {
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
	if len(files) >= maxFiles {
		status.Close()
		return nil, fmt.Errorf("%d files are more than can be passed", len(files))
	}
	fds := make([]uintptr, len(files), len(files)+1)
	for i, f := range files {
		fds[i] = f.Fd()
	}
	o := newOrder(pl, g)
	o.Argv = []string{argv0, strconv.Itoa(3 + len(cmd.Files))}
	if o.Cgroup {
		fds = append(fds, g.group.fd.Fd())
	}
	pid, err := s.order(o, fds)
	runtime.KeepAlive(files)
	if err != nil {
		status.Close()
		return nil, forkError(err)
	}
	return s.newProcess(pid, g, status)
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

func newOrder(pl plan, g grant) order {
	o := order{UID: g.uid, GID: g.uid, Setgroups: pl.OwnUID, Cgroup: g.group != nil}
	if g.uid < 0 {
		o.UID, o.GID = os.Geteuid(), os.Getegid()
	}
	if !pl.Plain {
		o.Namespaces = namespaces
	}
	return o
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
