package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// refused is what testdata/escape exits with where an attempt met an error.
const refused = 10

// crashed is what Go exits with where it cannot go on, as without the thread that it needs.
const crashed = 2

// jail is where the attempts of testdata/escape are made: a sandbox as workerd gets it, and things beside it to reach.
type jail struct {
	box     *Sandbox
	binary  string
	binds   []Bind
	outside string // a socket of the node's, by file name and in the abstract namespace
}

func newJail(t *testing.T, opts Options) jail {
	t.Helper()
	dir := t.TempDir()
	binary := os.Getenv("ATOLL_TEST_ESCAPE") // TestAsOrdinaryUser has built it
	if binary == "" {
		binary = filepath.Join(dir, "escape")
		buildEscape(t, binary)
	}
	given := filepath.Join(dir, "given")
	if err := os.Mkdir(given, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(given, "file"), []byte("#!/bin/sh\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(given, "link")); err != nil {
		t.Fatal(err)
	}
	// The bound socket and the two that are not.
	outSock, outside := filepath.Join(dir, "out.sock"), filepath.Join(dir, "node.sock")
	answer(t, outSock, "from the node")
	answer(t, outside, "from the node")
	abstract, err := net.Listen("unix", "@"+outside)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { abstract.Close() })
	return jail{newSandbox(t, opts), binary, []Bind{{Host: outSock, Guest: "/run/out.sock"}, {Host: given, Guest: "/given"}}, outside}
}

// buildEscape builds testdata/escape as a static program: there are no libraries where it goes.
func buildEscape(t *testing.T, to string) {
	t.Helper()
	build := exec.Command("go", "build", "-o", to, "./testdata/escape")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// try makes one attempt and returns what the program said.
func (j jail) try(t *testing.T, attempt string) (ExitState, string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := j.box.Start(Command{Path: j.binary, Args: []string{attempt, j.outside}, Stdout: w, Stderr: w, Binds: j.binds})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(io.LimitReader(r, 1<<16))
	if err != nil {
		t.Fatal(err)
	}
	return p.ExitState(), string(bytes.TrimSpace(said))
}

func (j jail) attempts(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command(j.binary, "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

// TestEscape makes every attempt of testdata/escape, a process each: it must be told no, or be killed.
func TestEscape(t *testing.T) {
	j := newJail(t, Options{})
	if state, said := j.try(t, "control"); state.Code != 0 {
		t.Fatalf("what must work does not: %v: %s", state, said)
	}
	for _, attempt := range j.attempts(t) {
		t.Run(attempt, func(t *testing.T) {
			state, said := j.try(t, attempt)
			t.Logf("%v: %s", state, strings.SplitN(said, "\n", 2)[0])
			if !isRefusal(attempt, state) {
				t.Errorf("not refused")
			}
		})
	}
}

func isRefusal(attempt string, s ExitState) bool {
	return s.Code == refused || s.Signal == syscall.SIGSYS || attempt == "many-threads" && s.Code == crashed
}

// filtered are the attempts that the system call filter alone stands against: they concern the kernel's own defects,
// or what is the process's or its namespaces' anyway.
var filtered = map[string]bool{
	"watch-files": true, "watch-mounts": true, "tcp": true, "tcp6": true, "udp": true, "icmp": true, "netlink": true, "vsock": true,
	"crypto-socket": true, "bluetooth": true, "fork": true, "clone3": true, "ptrace-self": true, "read-memory-of-another": true,
	"write-memory-of-another": true, "signal-parent": true, "signal-everybody": true, "pidfd": true, "compare-kernel-objects": true,
	"move-pages": true, "unshare-files": true, "aio": true, "io-uring": true, "keyctl": true, "add-key": true,
	"userfaultfd": true, "shared-memory": true, "message-queue": true, "semaphores": true, "posix-message-queue": true,
	"secret-memory": true, "numa": true, "second-filter": true, "landlock": true, "perf": true, "bpf": true,
	"system-calls-of-i386": true, "system-calls-of-x32": true, "become-root": true, "outlive-the-node": true,
	"let-others-trace": true, "personality": true, "choose-cpu": true,
}

// TestEscapeUnfiltered leaves the system call filter out. What is left must still hold everything that would lead out of
// the namespaces.
func TestEscapeUnfiltered(t *testing.T) {
	j := newJail(t, Options{})
	j.box.filter = []unix.SockFilter{verdict(unix.SECCOMP_RET_ALLOW)}
	for _, attempt := range j.attempts(t) {
		t.Run(attempt, func(t *testing.T) {
			if state, said := j.try(t, attempt); !isRefusal(attempt, state) && !filtered[attempt] {
				t.Errorf("%v: %s", state, said)
			}
		})
	}
}

// TestEscapeWithoutSandbox shows that the attempts are in earnest: without the sandbox these succeed.
func TestEscapeWithoutSandbox(t *testing.T) {
	j := newJail(t, Options{Insecure: true})
	for _, attempt := range []string{
		"read-host-file", "read-own-proc", "execute-shell", "watch-files", "tcp", "udp", "netlink",
		"socket-of-the-node", "abstract-socket-of-the-node", "ptrace-self", "pidfd", "unshare-files",
		"see-parent", "signal-parent", "shared-memory", "second-filter", "read-host-name", "personality",
	} {
		t.Run(attempt, func(t *testing.T) {
			if state, said := j.try(t, attempt); state.Code != 0 {
				t.Errorf("%v: %s", state, said)
			}
		})
	}
}

// TestNetworkIsEmpty looks at the child's network from outside: one loopback interface, which is down, and so without
// an address.
func TestNetworkIsEmpty(t *testing.T) {
	w := serve(t, newSandbox(t, Options{}), "hello.capnp")
	read := func(name string) string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", w.proc.Pid(), name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	lines := strings.Split(read("dev"), "\n")
	if len(lines) != 3 || !strings.HasPrefix(strings.TrimSpace(lines[2]), "lo:") {
		t.Errorf("interfaces:\n%s", strings.Join(lines, "\n"))
	}
	if got := read("if_inet6"); got != "" {
		t.Errorf("IPv6 addresses: %s", got)
	}
	if got := read("fib_trie"); strings.Contains(got, "LOCAL") {
		t.Errorf("IPv4 addresses: %s", got)
	}
}

// TestLandlockAlone tries what no other layer forbids: making a pipe in /tmp, which is the child's to write.
func TestLandlockAlone(t *testing.T) {
	if landlockABI() == 0 {
		t.Skip("this kernel has no Landlock")
	}
	j := newJail(t, Options{})
	j.box.filter = []unix.SockFilter{verdict(unix.SECCOMP_RET_ALLOW)}
	if state, said := j.try(t, "make-pipe"); state.Code != refused || said != "permission denied" {
		t.Errorf("%v: %s", state, said)
	}
}

// TestAsOrdinaryUser runs the tests again as one, if this is root: a sandbox of an ordinary user's is made by other means.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: the other tests were it")
	}
	dir, err := os.MkdirTemp("", "ordinary") // not t.TempDir, which is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, escape, tmp := filepath.Join(dir, "test"), filepath.Join(dir, "escape"), filepath.Join(dir, "tmp")
	buildEscape(t, escape)
	engine := workerd(t)
	copyFile(t, "/proc/self/exe", self)
	if err := errors.Join(os.Chmod(dir, 0o755), os.CopyFS(filepath.Join(dir, "testdata"), os.DirFS("testdata")),
		os.Mkdir(tmp, 0o755), os.Chown(tmp, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, "-test.v", "-test.run", "Workerd|Varied|Escape|Network|Child|Leaks|Probe|Close|Start")
	c.Dir = dir
	c.Env = []string{"WORKERD=" + readable(t, engine, dir), "ATOLL_TEST_ESCAPE=" + escape, "TMPDIR=" + tmp, "PATH=" + os.Getenv("PATH")}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Errorf("skipped:\n%s", out)
	}
}

const nobody = 65534

// readable is a path of the file at which anybody can read it.
func readable(t *testing.T, file, dir string) string {
	t.Helper()
	c := exec.Command("test", "-r", file, "-a", "-x", file)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if c.Run() == nil {
		return file
	}
	to := filepath.Join(dir, filepath.Base(file))
	copyFile(t, file, to)
	return to
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
