package sandbox

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "rewrite the list of system calls in testdata")

// TestSyscallList holds what a program may ask of the kernel: a change to it is a decision, to be seen in review.
func TestSyscallList(t *testing.T) {
	var b strings.Builder
	for _, r := range allRules(false) {
		fmt.Fprintf(&b, "%s", r.name)
		switch {
		case r.errno != 0 && r.when == nil:
			fmt.Fprintf(&b, " never: %s", unix.ErrnoName(r.errno))
		case r.errno != 0:
			fmt.Fprintf(&b, " sometimes, or %s", unix.ErrnoName(r.errno))
		case r.when != nil:
			fmt.Fprint(&b, " sometimes, or dies")
		}
		fmt.Fprintln(&b)
	}
	golden := filepath.Join("testdata", "syscalls_"+runtime.GOARCH+".txt")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("the list changed (-want +got); rewrite it with -update:\n%s", diff)
	}
}

func TestSyscallRules(t *testing.T) {
	seen := map[uint32]string{}
	for _, r := range allRules(true) {
		if other, ok := seen[r.number]; ok {
			t.Errorf("%s and %s have one number", r.name, other)
		}
		seen[r.number] = r.name
		if n := len(r.body()); n > 255 {
			t.Errorf("%s takes %d instructions, more than can be jumped over", r.name, n)
		}
	}
	if n := len(filter(allRules(true))); n > unix.BPF_MAXINSNS {
		t.Errorf("%d instructions", n)
	}
}

// run interprets f for one system call as the kernel would (the opcodes that package seccomp emits).
func run(t *testing.T, f []unix.SockFilter, arch, nr uint32, args ...uint64) uint32 {
	t.Helper()
	var data [64]byte
	binary.LittleEndian.PutUint32(data[offNumber:], nr)
	binary.LittleEndian.PutUint32(data[offArch:], arch)
	for i, a := range args {
		binary.LittleEndian.PutUint64(data[offArgs+8*i:], a)
	}
	var acc uint32
	for pc := 0; pc < len(f); pc++ {
		switch i := f[pc]; i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			acc = binary.LittleEndian.Uint32(data[i.K:])
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= i.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			if acc == i.K {
				pc += int(i.Jt)
			} else {
				pc += int(i.Jf)
			}
		case unix.BPF_RET | unix.BPF_K:
			return i.K
		default:
			t.Fatalf("instruction %d is unknown: %+v", pc, i)
		}
	}
	t.Fatal("ran off the end")
	return 0
}

func TestFilter(t *testing.T) {
	const (
		ok   = unix.SECCOMP_RET_ALLOW
		dies = unix.SECCOMP_RET_KILL_PROCESS
	)
	no := func(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }
	f := filter(allRules(false))
	const thread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SETTLS
	for _, c := range []struct {
		name string
		want uint32
		arch uint32
		nr   uint32
		args []uint64
	}{
		{"read", ok, auditArch, unix.SYS_READ, nil},
		{"another-architecture", dies, auditArch ^ 1, unix.SYS_READ, nil},
		{"x32", dies, auditArch, unix.SYS_READ | 1<<30, nil},
		{"no-rule", dies, auditArch, unix.SYS_PTRACE, nil},
		{"beyond-the-table", dies, auditArch, 5000, nil},
		{"refused", no(unix.ENOSYS), auditArch, unix.SYS_CLONE3, nil},
		{"unix-socket", ok, auditArch, unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_STREAM}},
		{"unix-socket-high-bits", ok, auditArch, unix.SYS_SOCKET, []uint64{1<<32 | unix.AF_UNIX}}, // the kernel takes an int
		{"inet-socket", no(unix.EAFNOSUPPORT), auditArch, unix.SYS_SOCKET, []uint64{unix.AF_INET}},
		{"inet-socket-high-bits", no(unix.EAFNOSUPPORT), auditArch, unix.SYS_SOCKET, []uint64{1<<32 | unix.AF_INET}},
		{"argument-equal-to-a-number", no(unix.EAFNOSUPPORT), auditArch, unix.SYS_SOCKET, []uint64{unix.SYS_FCNTL, unix.F_GETFL}},
		{"argument-equal-to-read", no(unix.EINVAL), auditArch, unix.SYS_FCNTL, []uint64{0, unix.SYS_PTRACE}},
		{"thread", ok, auditArch, unix.SYS_CLONE, []uint64{thread}},
		{"thread-and-signal", ok, auditArch, unix.SYS_CLONE, []uint64{thread | 17}},
		{"process", dies, auditArch, unix.SYS_CLONE, []uint64{17}},
		{"thread-in-namespace", dies, auditArch, unix.SYS_CLONE, []uint64{thread | unix.CLONE_NEWUSER}},
		{"thread-in-time-namespace", dies, auditArch, unix.SYS_CLONE, []uint64{thread | unix.CLONE_NEWTIME}},
		{"read-limit", ok, auditArch, unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_STACK, 0, 1}},
		{"set-limit", no(unix.EPERM), auditArch, unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_STACK, 1}},
		{"set-limit-high-pointer", no(unix.EPERM), auditArch, unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_STACK, 1 << 32}},
		{"terminal-input", no(unix.ENOTTY), auditArch, unix.SYS_IOCTL, []uint64{0, unix.TIOCSTI}},
		{"own-signal", no(unix.EINVAL), auditArch, unix.SYS_FCNTL, []uint64{0, unix.F_SETOWN}},
		{"name-thread", ok, auditArch, unix.SYS_PRCTL, []uint64{unix.PR_SET_NAME}},
		{"keep-caps", no(unix.EINVAL), auditArch, unix.SYS_PRCTL, []uint64{unix.PR_SET_KEEPCAPS}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := run(t, f, c.arch, c.nr, c.args...); got != c.want {
				t.Errorf("got %#x, want %#x", got, c.want)
			}
		})
	}
}

// TestAlternatives has tests fail one by one: the next alternative must be looked at, and nothing beyond the rule.
func TestAlternatives(t *testing.T) {
	f := filter([]rule{
		allowIf("a", 1, unix.EINVAL,
			[]test{{arg: 0, mask: 0xf0, value: 0x10}, {arg: 1, mask: ^uint32(0), value: 5, wide: true}},
			[]test{{arg: 2, mask: ^uint32(0), value: 7}}),
		allow("b", 0x10),
	})
	bad := uint32(unix.SECCOMP_RET_ERRNO | unix.EINVAL)
	for _, c := range []struct {
		name string
		want uint32
		args []uint64
	}{
		{"first", unix.SECCOMP_RET_ALLOW, []uint64{0x1f, 5, 0}},
		{"first-but-high-word", bad, []uint64{0x1f, 1<<32 | 5, 0}},
		{"first-but-mask", bad, []uint64{0x2f, 5, 0}},
		{"second", unix.SECCOMP_RET_ALLOW, []uint64{0x2f, 5, 7}},
		{"second-after-half-of-the-first", unix.SECCOMP_RET_ALLOW, []uint64{0x1f, 6, 7}},
		{"neither", bad, []uint64{0x10, 0x10, 0x10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := run(t, f, auditArch, 1, c.args...); got != c.want {
				t.Errorf("got %#x, want %#x", got, c.want)
			}
		})
	}
}

func TestFilterWithoutNewCode(t *testing.T) {
	f := filter(allRules(true))
	const no = unix.SECCOMP_RET_ERRNO | uint32(unix.EACCES)
	const r, w, x = unix.PROT_READ, unix.PROT_WRITE, unix.PROT_EXEC
	for _, c := range []struct {
		name string
		want uint32
		nr   uint32
		args []uint64
	}{
		{"memory", unix.SECCOMP_RET_ALLOW, unix.SYS_MMAP, []uint64{0, 1, r | w, unix.MAP_ANONYMOUS}},
		{"library", unix.SECCOMP_RET_ALLOW, unix.SYS_MMAP, []uint64{0, 1, r | x, unix.MAP_PRIVATE}},
		{"writable-library", no, unix.SYS_MMAP, []uint64{0, 1, r | w | x, unix.MAP_PRIVATE}},
		{"code-page", no, unix.SYS_MMAP, []uint64{0, 1, r | x, unix.MAP_ANONYMOUS}},
		{"protect", unix.SECCOMP_RET_ALLOW, unix.SYS_MPROTECT, []uint64{0, 1, r}},
		{"make-executable", no, unix.SYS_MPROTECT, []uint64{0, 1, x}},
		{"make-executable-by-key", no, unix.SYS_PKEY_MPROTECT, []uint64{0, 1, r | x, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := run(t, f, auditArch, c.nr, c.args...); got != c.want {
				t.Errorf("got %#x, want %#x", got, c.want)
			}
		})
	}
}
