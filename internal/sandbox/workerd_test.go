package sandbox

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"atoll.dev/atoll/internal/workerd/workerdtest"
)

// workerd is the binary under test, from $WORKERD or the npm package.
func workerd(t *testing.T) string {
	t.Helper()
	if p := os.Getenv("WORKERD"); p != "" {
		return p
	}
	found, _ := filepath.Glob("../../engine/node_modules/@cloudflare/workerd-linux-*/bin/workerd")
	if len(found) == 0 {
		t.Skip("no workerd: make build, or set WORKERD")
	}
	p, err := filepath.Abs(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// served is a workerd that runs one of the configs of testdata.
type served struct {
	proc   *Process
	client *http.Client
	stderr *os.File
}

// compile makes the binary form of a config of testdata, in which at names where /run/out.sock is.
func compile(t *testing.T, config, at string) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, config)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), "/run/out.sock", at)), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := exec.Command(workerd(t), "compile", "--config-only", path, "config").Output()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func serve(t *testing.T, s *Sandbox, config string, binds ...Bind) served {
	t.Helper()
	return serveCommand(t, s, config, Command{Binds: binds})
}

// serveCommand is serve with what else cmd says.
func serveCommand(t *testing.T, s *Sandbox, config string, cmd Command) served {
	t.Helper()
	dir := t.TempDir()
	outSock := Bind{Host: filepath.Join(dir, "out.sock"), Guest: "/run/out.sock"}
	answer(t, outSock.Host, "from the node")
	message := compile(t, config, s.Guest(outSock))
	inSock := filepath.Join(dir, "in.sock")
	inFile := workerdtest.Listen(t, inSock)
	defer inFile.Close()
	stdin, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stderr, err := os.Create(filepath.Join(dir, "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stderr.Close() })
	cmd.Path, cmd.Args = workerd(t), []string{"serve", "--binary", "-", "--experimental", "--socket-fd", "http=3"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stderr, stderr
	cmd.Files, cmd.Binds = []*os.File{inFile}, append(cmd.Binds, outSock)
	p, err := s.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Kill()
		<-p.Done()
	})
	if _, err := feed.Write(message); err != nil {
		t.Fatal(err)
	}
	feed.Close()
	tr := &http.Transport{MaxIdleConnsPerHost: 100, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", inSock)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return served{p, &http.Client{Transport: tr, Timeout: 20 * time.Second}, stderr}
}

// get is the body of a request to the Worker, with workerd's own words where there is none.
func (s served) get(t *testing.T, path string) string {
	t.Helper()
	resp, err := s.client.Get("http://worker" + path)
	if err != nil {
		said, _ := os.ReadFile(s.stderr.Name())
		_ = s.proc.Kill()
		t.Fatalf("%v; %v; workerd said: %s", err, s.proc.ExitState(), said)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// answer serves body on a Unix socket that anybody may connect to.
func answer(t *testing.T, path, body string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, body)
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
}

func TestWorkerdAnswers(t *testing.T) {
	for _, insecure := range []bool{false, true} {
		t.Run(map[bool]string{false: "confined", true: "insecure"}[insecure], func(t *testing.T) {
			w := serve(t, newSandbox(t, Options{Insecure: insecure}), "hello.capnp")
			if got, want := w.get(t, "/"), "hello from the node"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if cpu, err := w.proc.CPUTime(); err != nil || cpu <= 0 {
				t.Errorf("CPU time %v, %v", cpu, err)
			}
			if err := w.proc.Kill(); err != nil {
				t.Error(err)
			}
			if got := w.proc.ExitState(); got.Signal != syscall.SIGKILL || got.CPU <= 0 {
				t.Errorf("ended by %v after %v", got, got.CPU)
			}
			if err := w.proc.Kill(); err != nil {
				t.Errorf("kill after the end: %v", err)
			}
		})
	}
}

// TestVariedLoad makes workerd do what Workers make it do, Durable Objects on a disk among it. A system call that the
// list lacks would kill the process.
func TestVariedLoad(t *testing.T) {
	data := Bind{Host: t.TempDir(), Guest: "/data", Writable: true}
	w := serve(t, newSandbox(t, Options{}), "load.capnp", data)
	var found map[string]any
	if err := json.Unmarshal([]byte(w.get(t, "/")), &found); err != nil {
		t.Fatal(err)
	}
	for task, got := range found {
		if s, ok := got.(string); ok && strings.HasPrefix(s, "threw") {
			t.Errorf("%s: %s", task, s)
		}
		t.Logf("%s: %v", task, got)
	}
	if got := w.get(t, "/"); !strings.Contains(got, "hibernate") {
		t.Errorf("second answer: %s", got)
	}
	if err := w.proc.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := w.proc.ExitState(); got.Code != 0 {
		t.Errorf("asked to stop, it ended by %v", got)
	}
}

func TestWorkerdWithoutNewCode(t *testing.T) {
	s := newSandbox(t, Options{})
	w := serveCommand(t, s, "jitless.capnp", Command{NoNewCode: true})
	if got, want := w.get(t, "/"), "hello from the node"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	w = serveCommand(t, s, "hello.capnp", Command{NoNewCode: true})
	if resp, err := w.client.Get("http://worker/"); err == nil {
		resp.Body.Close()
		t.Errorf("V8 compiles: %s", resp.Status)
	}
}
