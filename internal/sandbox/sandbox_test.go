package sandbox

import (
	"context"
	"fmt"
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
)

// TestMain lets the test binary be what cmd/atoll is in earnest: the program that sets its children up.
func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

// workerd is the binary under test, from $WORKERD or the npm package.
func workerd(t *testing.T) string {
	t.Helper()
	if p := os.Getenv("WORKERD"); p != "" {
		return p
	}
	found, _ := filepath.Glob("../../node_modules/@cloudflare/workerd-linux-*/bin/workerd")
	if len(found) == 0 {
		t.Skip("no workerd: npm ci, or set WORKERD")
	}
	p, err := filepath.Abs(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return p
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

// helloConfig is a Worker that answers, with what lies behind its way out.
const helloConfig = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "main.js", esModule = "export default { async fetch(r) { return new Response('hello ' + await (await fetch('http://out/')).text()) } }")],
      compatibilityDate = "2026-01-01", globalOutbound = "internet")),
    (name = "internet", external = (address = "unix:%s", http = (style = host)))],
  sockets = [(name = "http", address = "*:0", http = (), service = "main")]);`

// served is a workerd that runs helloConfig in s.
type served struct {
	proc   *Process
	client *http.Client
	stderr *os.File
}

func serve(t *testing.T, s *Sandbox) served {
	t.Helper()
	binary, dir := workerd(t), t.TempDir()
	outSock := Bind{Host: filepath.Join(dir, "out.sock"), Guest: "/run/out.sock"}
	answer(t, outSock.Host, "from the node")

	text := filepath.Join(dir, "hello.capnp")
	if err := os.WriteFile(text, fmt.Appendf(nil, helloConfig, s.Guest(outSock)), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := exec.Command(binary, "compile", "--config-only", text, "config").Output()
	if err != nil {
		t.Fatal(err)
	}
	in, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "in.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	in.SetUnlinkOnClose(false)
	inFile, err := in.File()
	if err != nil {
		t.Fatal(err)
	}
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
	p, err := s.Start(Command{
		Path:  binary,
		Args:  []string{"serve", "--binary", "-", "--socket-fd", "http=3"},
		Stdin: stdin, Stdout: stderr, Stderr: stderr,
		Files: []*os.File{inFile},
		Binds: []Bind{outSock},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Kill()
		<-p.Done()
	})
	if _, err := feed.Write(config); err != nil {
		t.Fatal(err)
	}
	feed.Close()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", in.Addr().String())
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return served{p, &http.Client{Transport: tr, Timeout: 20 * time.Second}, stderr}
}

// get is the body of a request to the Worker, with workerd's own words where there is none.
func (s served) get(t *testing.T) string {
	t.Helper()
	resp, err := s.client.Get("http://worker/")
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
			w := serve(t, newSandbox(t, Options{Insecure: insecure}))
			if got, want := w.get(t), "hello from the node"; got != want {
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
