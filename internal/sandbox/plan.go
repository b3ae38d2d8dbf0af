package sandbox

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// plan is what the first program of a child is told to do. It travels as JSON in a memory file.
type plan struct {
	Plain    bool // no namespaces: Insecure
	OwnUID   bool // the namespace's user 0 is not the node's user
	Probe    bool // wait to be looked at instead of executing the program
	Argv     []string
	Path     string // inside
	Mounts   []mount
	Links    map[string]string // symbolic links of the root
	Filter   []byte            // an array of struct sock_filter
	Rlimits  []rlimit
	OOMScore int
	TmpBytes uint64
}

// mount is one thing bound into the child's root.
type mount struct {
	Host, Guest string
	Writable    bool
	Exec        bool // may be mapped as code
	Run         bool // may be executed as a program
	Device      bool
	Optional    bool // left out where the host has none
}

type rlimit struct {
	Resource int
	Value    uint64
}

// programDir is where the program is bound; its name there is its own.
const programDir = "/bin"

// devices are the nodes of the child's /dev; BoringSSL in workerd opens urandom.
var devices = []string{"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"}

const (
	defaultFiles    = 4096
	defaultThreads  = 64
	defaultTmpBytes = 16 << 20
	defaultOOMScore = 500
)

func (s *Sandbox) plan(cmd Command) (plan, error) {
	if !filepath.IsAbs(cmd.Path) {
		return plan{}, fmt.Errorf("program path %q is not absolute", cmd.Path)
	}
	pl := plan{
		Plain:    s.opts.Insecure,
		Argv:     append([]string{filepath.Base(cmd.Path)}, cmd.Args...),
		Path:     cmd.Path,
		Rlimits:  s.rlimits(cmd.Limits),
		OOMScore: cmp.Or(cmd.Limits.OOMScore, defaultOOMScore),
		TmpBytes: cmp.Or(cmd.Limits.TmpBytes, defaultTmpBytes),
	}
	if pl.Plain {
		return pl, nil
	}
	pl.Path = filepath.Join(programDir, filepath.Base(cmd.Path))
	libs, err := s.elf.libraries(cmd.Path)
	if err != nil {
		return plan{}, err
	}
	pl.Mounts = append(pl.Mounts, mount{Host: cmd.Path, Guest: pl.Path, Exec: true, Run: true})
	pl.Mounts = append(pl.Mounts, libs...)
	pl.Filter = filterBytes(s.filter)
	if cmd.NoNewCode {
		pl.Filter = filterBytes(s.frozen)
	}
	// There is no /proc, but workerd looks there for its own file, and says so at each start if it finds none.
	pl.Links = map[string]string{"/proc/self/exe": pl.Path}
	for _, d := range devices {
		pl.Mounts = append(pl.Mounts, mount{Host: d, Guest: d, Writable: true, Device: true})
	}
	for _, b := range cmd.Binds {
		for _, m := range pl.Mounts {
			if within(b.Guest, m.Guest) || within(m.Guest, b.Guest) || within(b.Guest, "/tmp") {
				return plan{}, fmt.Errorf("bind at %q lies in another, %q", b.Guest, m.Guest)
			}
		}
		if !filepath.IsAbs(b.Host) || !filepath.IsAbs(b.Guest) || filepath.Clean(b.Guest) != b.Guest || b.Guest == "/" {
			return plan{}, fmt.Errorf("bind %q at %q: paths must be absolute and clean", b.Host, b.Guest)
		}
		pl.Mounts = append(pl.Mounts, mount{Host: b.Host, Guest: b.Guest, Writable: b.Writable})
	}
	return pl, nil
}

// within tells whether a path is dir or below it. Nothing is bound inside a directory that a tenant may have filled: a
// symbolic link there would lead the set-up astray.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// rlimits are the hard limits of l. RLIMIT_CORE is 1 and not 0: at 1 the kernel neither writes a file, which must hold a
// page at least, nor runs the host's core_pattern program, which it does at 0 (fs/coredump.c).
func (s *Sandbox) rlimits(l Limits) []rlimit {
	r := []rlimit{
		{unix.RLIMIT_CORE, 1},
		{unix.RLIMIT_NOFILE, cmp.Or(l.Files, defaultFiles)},
		{unix.RLIMIT_MEMLOCK, 0},
		{unix.RLIMIT_MSGQUEUE, 0},
		{unix.RLIMIT_RTPRIO, 0},
		{unix.RLIMIT_NICE, 0},
		{unix.RLIMIT_SIGPENDING, 1024},
	}
	if s.threadsCounted {
		r = append(r, rlimit{unix.RLIMIT_NPROC, cmp.Or(l.Threads, defaultThreads)})
	}
	if l.Data > 0 {
		r = append(r, rlimit{unix.RLIMIT_DATA, l.Data})
	}
	if l.FileBytes > 0 {
		r = append(r, rlimit{unix.RLIMIT_FSIZE, l.FileBytes})
	}
	return r
}

// countsThreads tells whether RLIMIT_NPROC counts a child's threads alone: where the child's user is its own, or the kernel
// counts by user namespace, as Linux does from 5.14 on (user_namespaces(7)). Else it would count all that the node's user
// runs.
func countsThreads(insecure bool, uids *uidPool) bool {
	if insecure {
		return false
	}
	if uids.rng.Count > 0 {
		return true
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return false
	}
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	return err == nil && (major > 5 || major == 5 && minor >= 14)
}
