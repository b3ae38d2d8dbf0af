package examples_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDemo runs what "make demo" runs, looks at the platform, and ends it by Ctrl-C; then once more on the same data, as
// on a machine that has nothing but a shell, node and the demo's few other programs.
func TestDemo(t *testing.T) {
	t.Parallel()
	dir := clone(t)
	for _, path := range []string{os.Getenv("PATH"), bareMachine(t)} {
		var logs lockedBuffer
		t.Cleanup(func() {
			if t.Failed() {
				t.Log(logs.String())
			}
		})
		cmd := exec.Command("scripts/demo.sh")
		cmd.Dir, cmd.Stderr = dir, &logs
		cmd.Env = append(os.Environ(), "ATOLL_EDGE=127.0.0.1:0", "ATOLL_API=127.0.0.1:0", "PATH="+path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		n := &node{t: t, dir: dir}
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			line := lines.Text()
			logs.Write([]byte(line + "\n"))
			if _, rest, ok := strings.Cut(line, "atoll: ready edge="); ok {
				n.edge, _, _ = strings.Cut(rest, " ")
			}
			if strings.HasPrefix(line, "Ctrl-C") {
				break
			}
		}
		if n.edge == "" || lines.Err() != nil {
			t.Errorf("the demo has ended early: %v", lines.Err())
		} else {
			n.answers("alice.atoll.localhost", "/", 200, "Hello from alice")
			n.answers("bob.atoll.localhost", "/add/2/3", 200, `{"sum":5}`)
			n.answers("carol.atoll.localhost", "/", 200, "You are visitor number")
			n.answers("nobody.atoll.localhost", "/", 404, "nobody")
			n.answers("atoll.localhost", "/", 200, "carol.atoll.localhost")
		}
		rest := make(chan struct{})
		go func() { // Wait would close the pipe under a writer
			defer close(rest)
			for lines.Scan() {
				logs.Write([]byte(lines.Text() + "\n"))
			}
		}()
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil { // as a terminal does
			t.Error(err)
		}
		<-rest
		if err := cmd.Wait(); err != nil {
			t.Errorf("the demo: %v", err)
		}
		if !strings.Contains(logs.String(), "The node has stopped") {
			t.Error("the demo does not say that the node has stopped")
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "atoll-demo/api-token")); err != nil {
		t.Error(err)
	}
}

// bareMachine returns a PATH of programs that Debian calls essential, and node. There is no curl on it.
func bareMachine(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"node", "sh", "cat", "cut", "dirname", "grep", "head", "mktemp", "rm", "sed", "sleep", "tail", "tr"} {
		path, err := exec.LookPath(name)
		if err != nil {
			skip(t, "there is no "+name)
		}
		link(t, path, filepath.Join(dir, name))
	}
	return dir
}

// TestDemoSaysWhatIsWrong starts the demo where its address is taken.
func TestDemoSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir := clone(t)
	n := start(t, dir, "bin/atoll serve")
	cmd := exec.Command("scripts/demo.sh")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "ATOLL_EDGE="+strings.TrimPrefix(n.edge, "http://"), "ATOLL_API=127.0.0.1:0")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "the node did not start") || !strings.Contains(string(out), "another program listens there") {
		t.Errorf("%v\n%s", err, out)
	}
}
