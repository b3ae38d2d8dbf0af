package examples_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// node is a running "atoll serve" in a clone.
type node struct {
	t    *testing.T
	dir  string // the clone
	edge string // URL
	api  string // URL
}

// start runs a command that is to become a node, on free ports, and waits for its ready line.
func start(t *testing.T, dir string, command string) *node {
	t.Helper()
	var logs lockedBuffer
	cmd := exec.Command("bash", "-c", "exec "+command)
	cmd.Dir, cmd.Stderr = dir, &logs
	cmd.Env = append(os.Environ(), "ATOLL_EDGE=127.0.0.1:0", "ATOLL_API=127.0.0.1:0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop(t, cmd, cmd.Process.Pid, syscall.SIGTERM)
		if t.Failed() {
			t.Logf("the node's log:\n%s", logs.String())
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "atoll: ready ") {
		t.Fatalf("%s was not ready: %q, %v", command, line, err)
	}
	n := &node{t: t, dir: dir}
	for _, field := range strings.Fields(line) {
		switch name, value, _ := strings.Cut(field, "="); name {
		case "edge":
			n.edge = value
		case "api":
			n.api = value
		}
	}
	return n
}

// stop signals a process (or a group, with a negative pid) and waits until cmd has ended well.
func stop(t *testing.T, cmd *exec.Cmd, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Errorf("signal %d: %v", pid, err)
	}
	late := time.AfterFunc(40*time.Second, func() { cmd.Process.Kill() })
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v", cmd, err)
	}
	if !late.Stop() {
		t.Errorf("%s did not stop within 40 s of the signal", cmd)
	}
}

// atoll runs a command of the program.
func (n *node) atoll(args ...string) string {
	n.t.Helper()
	cmd := exec.Command(filepath.Join(n.dir, "bin/atoll"), args...)
	cmd.Dir = n.dir
	cmd.Env = append(os.Environ(), "ATOLL_API="+n.api)
	out, err := cmd.CombinedOutput()
	if err != nil {
		n.t.Fatalf("atoll %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// get asks the edge for a path of a host, with headers in pairs, and returns the status and the body.
func (n *node) get(host, path string, headers ...string) (int, string) {
	n.t.Helper()
	req, err := http.NewRequest(http.MethodGet, n.edge+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	req.Host = host
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// answers checks what a host answers.
func (n *node) answers(host, path string, status int, body string, headers ...string) {
	n.t.Helper()
	gotStatus, got := n.get(host, path, headers...)
	if gotStatus != status || !strings.Contains(got, body) {
		n.t.Errorf("GET %s%s: %d %q, want %d %q", host, path, gotStatus, got, status, body)
	}
}

// lockedBuffer is a bytes.Buffer that a process may write while a test reads.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
