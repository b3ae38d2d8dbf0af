package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets the test binary be what cmd/atoll is in earnest: the program that sets its children up.
func TestMain(m *testing.M) {
	Main()
	if os.Getenv("ATOLL_TEST_ORPHAN") != "" {
		leaveOrphan()
	}
	os.Exit(m.Run())
}

func newSandbox(t *testing.T, opts Options) *Sandbox {
	t.Helper()
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStartTellsWhatFailed(t *testing.T) {
	s := newSandbox(t, Options{})
	_, err := s.Start(Command{Path: "/bin/true", Binds: []Bind{{Host: "/nowhere", Guest: "/x"}}})
	if err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("got %v", err)
	}
	p, err := s.Start(Command{Path: "/bin/false"})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.ExitState(); got.Code != 1 {
		t.Errorf("got %v", got)
	}
}

// leaveOrphan is a node that has a child, tells its pid, and waits to be killed.
func leaveOrphan() {
	s, err := New(Options{})
	if err != nil {
		panic(err)
	}
	in, _, err := os.Pipe() // whose write end this process holds, so that the child would wait for ever
	if err != nil {
		panic(err)
	}
	p, err := s.Start(Command{Path: "/bin/cat", Stdin: in})
	if err != nil {
		panic(err)
	}
	fmt.Println(p.Pid())
	select {}
}

func TestChildDiesWithNode(t *testing.T) {
	node := exec.Command("/proc/self/exe")
	node.Env = append(os.Environ(), "ATOLL_TEST_ORPHAN=1")
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(line, &pid); err != nil {
		t.Fatal(err)
	}
	child, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	if err := node.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = node.Wait()
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(child), Events: unix.POLLIN}}, 10_000)
	if n != 1 || err != nil {
		t.Errorf("the child is still there: %d, %v", n, err)
	}
}

// TestChildOutlivesThread starts from goroutines that end with their threads: the parent death signal must not follow.
func TestChildOutlivesThread(t *testing.T) {
	s := newSandbox(t, Options{})
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	started := make(chan *Process)
	go func() {
		runtime.LockOSThread()
		p, err := s.Start(Command{Path: "/bin/cat", Stdin: in})
		if err != nil {
			t.Error(err)
		}
		started <- p
	}()
	p := <-started
	if p == nil {
		return
	}
	out.Close() // cat ends by itself
	if got := p.ExitState(); got.Code != 0 {
		t.Errorf("ended by %v", got)
	}
}

func TestNothingLeaks(t *testing.T) {
	count := func() (fds, routines int) {
		d, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(d), runtime.NumGoroutine()
	}
	use := func() {
		s, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				c := Command{Path: "/bin/true"}
				if i%3 == 0 {
					c.Binds = []Bind{{Host: "/nowhere", Guest: "/x"}}
				}
				p, err := s.Start(c)
				if (err != nil) != (i%3 == 0) {
					t.Error(err)
				} else if err == nil && i%2 == 0 {
					<-p.Done() // the others are left to Close
				}
			})
		}
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if n := len(s.uids.used); n != 0 {
			t.Errorf("%d user ids are still taken", n)
		}
	}
	use() // the runtime's own poller, the first time
	fds, routines := count()
	use()
	deadline := time.Now().Add(5 * time.Second)
	for {
		f, r := count()
		if f <= fds && r <= routines {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("descriptors %d, were %d; goroutines %d, were %d", f, fds, r, routines)
		}
		runtime.Gosched()
	}
}

func TestClose(t *testing.T) {
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	p, err := s.Start(Command{Path: "/bin/cat", Stdin: in})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := p.ExitState(); got.Signal != syscall.SIGKILL {
		t.Errorf("ended by %v", got)
	}
	if _, err := s.Start(Command{Path: "/bin/cat"}); !errors.Is(err, ErrClosed) {
		t.Errorf("start after close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestForkerIsReplaced kills the forker: the next start must have another.
func TestForkerIsReplaced(t *testing.T) {
	s := newSandbox(t, Options{})
	for range 2 {
		p, err := s.Start(Command{Path: "/bin/true"})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.ExitState(); got.Code != 0 {
			t.Errorf("ended by %v", got)
		}
		forker := findForker(t)
		if err := unix.Kill(forker, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
}

func findForker(t *testing.T) int {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, stat := range procs {
		args, err := os.ReadFile(filepath.Join(filepath.Dir(stat), "cmdline"))
		if err != nil || string(args) != argv0+"\x00"+forkerArg+"\x00" {
			continue
		}
		b, err := os.ReadFile(stat)
		var pid, ppid int
		var name, state string
		if err == nil {
			_, err = fmt.Sscan(string(b), &pid, &name, &state, &ppid)
		}
		if err == nil && ppid == os.Getpid() {
			return pid
		}
	}
	t.Fatal("there is no forker")
	return 0
}
