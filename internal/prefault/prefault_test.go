package prefault

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain is also the other process of the tests: the test's own program, which waits for standard input to end.
func TestMain(m *testing.M) {
	if os.Getenv("PREFAULT_TEST_CHILD") != "" {
		var b [1]byte
		_, _ = unix.Read(0, b[:])
		return
	}
	os.Exit(m.Run())
}

// child starts the other process and returns once it waits.
func child(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"PREFAULT_TEST_CHILD=1", "GODEBUG="}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// held counts the pages of files that a process has in its page tables.
func held(t *testing.T, pid int) (n int) {
	t.Helper()
	p, err := Learn(pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, touched := range p.touched {
		n += len(touched)
	}
	return n
}

// What this process has touched, another of the same program has mapped afterwards, without having done anything.
func TestMap(t *testing.T) {
	pages, err := Learn(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	pid := child(t)
	before := held(t, pid)
	faults, err := pages.Map(pid)
	if err != nil {
		t.Fatal(err)
	}
	if faults == 0 {
		t.Fatal("no fault is spared")
	}
	theirs, err := Learn(pid)
	if err != nil {
		t.Fatal(err)
	}
	for f, touched := range pages.touched {
		has := map[uintptr]bool{}
		for _, at := range theirs.touched[f] {
			has[at] = true
		}
		if len(has) == 0 {
			continue // of a library or another file that it does not have
		}
		// One page a window is asked for; the kernel need not enter its neighbours.
		if len(has) < len(touched)/int(window/uintptr(os.Getpagesize())) {
			t.Errorf("of %d pages of %v it has %d", len(touched), f, len(has))
		}
	}
	if after := held(t, pid); after <= before {
		t.Errorf("it has %d pages, and had %d", after, before)
	}
}

func TestWaiting(t *testing.T) {
	sleep := exec.Command("sleep", "1000")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	defer sleep.Wait()
	defer sleep.Process.Kill()
	// A Go program may read on any of its threads; cat has one.
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close()
	for end := time.Now().Add(10 * time.Second); ; {
		waiting, err := Waiting(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		if waiting {
			break
		}
		if time.Now().After(end) {
			b, _ := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/syscall")
			t.Fatalf("cat does not wait for its input, but is in %s", b)
		}
	}
	// By now sleep sleeps.
	if waiting, err := Waiting(sleep.Process.Pid); err != nil || waiting {
		t.Errorf("a process that sleeps waits for input: %v, %v", waiting, err)
	}
}

func TestGone(t *testing.T) {
	pages, err := Learn(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const nobody = 1<<22 + 1 // above PID_MAX_LIMIT, proc_sys_kernel(5)
	if _, err := pages.Map(nobody); err == nil {
		t.Error("no error of a process that does not exist")
	}
	if _, err := Learn(nobody); err == nil {
		t.Error("no error of a process that does not exist")
	}
	if _, err := Waiting(nobody); err == nil {
		t.Error("no error of a process that does not exist")
	}
}

// A window's beginning depends on where the mapping is.
func TestWanted(t *testing.T) {
	f := file{inode: "1"}
	p := &Pages{touched: map[file][]uintptr{f: {0, 0x1000, 0xf000, 0x10000, 0x30000, 0x90000}}}
	for _, c := range []struct {
		name     string
		from, to uintptr
		want     []uintptr
	}{
		{"aligned", 0x100000, 0x200000, []uintptr{0x100000, 0x110000, 0x130000, 0x190000}},
		{"in-the-middle-of-a-window", 0x108000, 0x208000, []uintptr{0x108000, 0x117000, 0x138000, 0x198000}},
		{"shorter", 0x100000, 0x130000, []uintptr{0x100000, 0x110000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := p.wanted(mapping{f, c.from, c.to})
			if len(got) != len(c.want) {
				t.Fatalf("%d addresses, want %d: %v", len(got), len(c.want), got)
			}
			for i, v := range got {
				if v.Base != c.want[i] {
					t.Errorf("address %d is %#x, want %#x", i, v.Base, c.want[i])
				}
			}
		})
	}
}

func TestParseMappings(t *testing.T) {
	const text = `55d0c0000000-55d0c2539000 r--p 00000000 fe:00 326752                     /usr/lib/a b (deleted)
55d0c2539000-55d0c6d00000 r-xp 02539000 fe:00 326752                     /usr/lib/a b (deleted)
2d5240000000-2d527fe00000 ---p 00000000 00:00 0
7f8ace4a5000-7f8ace4a6000 ---p 00001000 fe:00 12                         /usr/lib/c
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
`
	list, err := parseMappings(strings.NewReader(text))
	if err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	want := mapping{file{"fe:00", "326752", "02539000", "r-xp"}, 0x55d0c2539000, 0x55d0c6d00000}
	if list[1] != want {
		t.Errorf("%+v, want %+v", list[1], want)
	}
	for _, damaged := range []string{"1-2 r--p", "x r--p 0 fe:00 1", "2-1 r--p 0 fe:00 1"} {
		if _, err := parseMappings(strings.NewReader(damaged)); err == nil {
			t.Errorf("%q is taken for a mapping", damaged)
		}
	}
}
